"""An OpenSSH server of its own, for SFTP, and for commands where a test wants them."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from tests.servers.pam import PamService
from tests.servers.process import Server, find_program

CONFIG = """\
Port {server.port}
ListenAddress {server.host}
HostKey {server.folder}/host_ed25519
HostKey {server.folder}/host_ecdsa
HostKey {server.folder}/host_rsa
PidFile none
AuthorizedKeysFile {server.folder}/user_key.pub
StrictModes no
PermitRootLogin yes
PasswordAuthentication {with_password}
KbdInteractiveAuthentication no
UsePAM {with_password}
UseDNS no
MaxStartups 500
MaxSessions 500
Subsystem sftp internal-sftp
{forced}
"""


class SshServer(Server):
    """sshd; the user is who runs the tests, logged in by key, or by password where root runs them.

    `runs_commands`: it runs any command, not only SFTP.
    Remote paths are those of this host: what is served lies under `root`, and `url` names it.
    """

    program = "sshd"
    package = "openssh-server"

    def __init__(self, *, runs_commands: bool = False) -> None:
        super().__init__()
        self.root = self.folder / "root"
        self.root.mkdir()
        self.user = getpass.getuser()
        self.password = "ssh-secret" if os.geteuid() == 0 else None
        self.key_file = self._make_key("user_key", "ed25519")
        self.known_hosts_file = self.folder / "known_hosts"
        self.known_hosts_file.write_text(
            "".join(
                f"[{self.host}]:{self.port} {self._make_public_key(f'host_{kind}', kind)}"
                for kind in ("ed25519", "ecdsa", "rsa")
            )
        )
        self._config_path = self.folder / "sshd_config"
        self._config_path.write_text(
            CONFIG.format(
                server=self,
                with_password="yes" if self.password else "no",
                forced="" if runs_commands else "ForceCommand internal-sftp",
            )
        )
        service = f"biomaj-test-sshd-{self.port}"
        self._named_program = self.folder / service
        self._named_program.symlink_to(self.program_path)
        if self.password:
            Path("/run/sshd").mkdir(exist_ok=True)
            self._name_pam_service(service)
            pam = PamService(service, self.folder, user=self.user, password=self.password)
            self._on_close.callback(pam.close)

    @property
    def url(self) -> str:
        """Return the URL of `root`, without a last slash."""
        return f"sftp://{self.host}:{self.port}{self.root}"

    def command(self) -> list[str]:
        return [str(self._named_program), "-D", "-e", "-f", str(self._config_path)]

    def is_ready(self) -> bool:
        return self.answers(b"", b"SSH-2.0")

    def _name_pam_service(self, service: str) -> None:
        """Use this PAM service, not the host's: from OpenSSH 9.8 on there is an option for it.

        Before, the service has the name that the program was started by.
        """
        text = self._config_path.read_text()
        self._config_path.write_text(f"{text}PAMServiceName {service}\n")
        check = [self.program_path, "-t", "-f", str(self._config_path)]
        if subprocess.run(check, capture_output=True, timeout=60, check=False).returncode:
            self._config_path.write_text(text)

    def _make_key(self, name: str, kind: str) -> Path:
        path = self.folder / name
        keygen = find_program("ssh-keygen", "openssh-client")
        command = [keygen, "-q", "-t", kind, "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, timeout=60)
        return path

    def _make_public_key(self, name: str, kind: str) -> str:
        return self._make_key(name, kind).with_suffix(".pub").read_text()
