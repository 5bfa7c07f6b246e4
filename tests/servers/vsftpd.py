"""A vsftpd of its own: one folder by FTP, with or without TLS, for anonymous and for one user."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from enum import Enum
from pathlib import Path

from tests.servers.pam import PamService
from tests.servers.process import Server
from tests.servers.tls import OLD_TLS, issue_certificate

CONFIG = """\
listen=YES
listen_address={server.host}
listen_port={server.port}
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={server.root}
local_enable=YES
local_root={server.root}
guest_enable=YES
guest_username=ftp
pam_service_name={service}
session_support=NO
chroot_local_user=YES
allow_writeable_chroot=YES
secure_chroot_dir={server.folder}/empty
pasv_address={server.host}
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
use_localtime=NO
xferlog_enable=YES
log_ftp_protocol=YES
delay_failed_login=0
anon_max_rate={rate}
max_per_ip={most}
vsftpd_log_file={server.log_path}
"""

TLS_CONFIG = """\
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
rsa_cert_file={tls.cert_file}
rsa_private_key_file={tls.key_file}
ssl_ciphers=HIGH
implicit_ssl={implicit}
"""


class Tls(Enum):
    """How a connection gets its TLS; data connections must resume its session (the default)."""

    NONE = "none"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


class VsftpdServer(Server):
    """vsftpd; what lies in `root` must be readable by all. Its listings tell UTC.

    `connections_per_address`: it turns away who has so many (421); 0: nobody.
    `only_old_tls`: TLS 1.1 and nothing newer.
    """

    program = "vsftpd"
    package = "vsftpd"
    needs_root = True
    user = "biomaj"
    password = "ftp-secret"

    def __init__(
        self,
        tls: Tls = Tls.NONE,
        *,
        bytes_a_second: int = 0,
        connections_per_address: int = 0,
        only_old_tls: bool = False,
    ) -> None:
        super().__init__()
        self.tls = tls
        self.root = self.folder / "root"
        self.root.mkdir()
        (self.folder / "empty").mkdir()
        self.log_path = self.folder / "vsftpd.log"
        certificate = issue_certificate(self.folder, self.host)
        self.ca_file = certificate.ca_file
        service = f"biomaj-test-vsftpd-{self.port}"
        config = CONFIG.format(
            server=self, service=service, rate=bytes_a_second, most=connections_per_address
        )
        if tls is not Tls.NONE:
            implicit = "YES" if tls is Tls.IMPLICIT else "NO"
            config += TLS_CONFIG.format(tls=certificate, implicit=implicit)
            if only_old_tls:
                config = config.replace("ssl_ciphers=HIGH", "ssl_ciphers=ALL:@SECLEVEL=0")
        (self.folder / "vsftpd.conf").write_text(config)
        self._openssl_conf = self.folder / "openssl.conf"
        if only_old_tls:
            self._openssl_conf.write_text(OLD_TLS)
        pam = PamService(service, self.folder, user=self.user, password=self.password)
        self._on_close.callback(pam.close)

    @property
    def url(self) -> str:
        """Return the URL of `root`, without a last slash; explicit TLS is asked for apart."""
        scheme = "ftps" if self.tls is Tls.IMPLICIT else "ftp"
        return f"{scheme}://{self.host}:{self.port}"

    def cut_sessions(self) -> None:
        """End all sessions at once, as a failing network would; the server goes on."""
        assert self._process is not None
        for child in _children_of(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        path = self._openssl_conf
        return {"OPENSSL_CONF": str(path)} if path.exists() else {}

    def command(self) -> list[str]:
        return [self.program_path, str(self.folder / "vsftpd.conf")]

    def is_ready(self) -> bool:
        return super().is_ready() if self.tls is Tls.IMPLICIT else self.answers(b"", b"220")


def _children_of(pid: int) -> list[int]:
    """Return the processes below one, the deepest first."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    below: list[int] = []
    for child in map(int, told):
        with suppress(OSError):
            below += _children_of(child)
        below.append(child)
    return below
