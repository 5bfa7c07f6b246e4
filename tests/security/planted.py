"""Passwords of every kind, wherever one may stand, and how they may be spelt.

Downloads are asked for with accounts in messages, URLs, parameters, proxies and names of files; ssh
keys are locked by a pass phrase.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from tests.servers.process import find_program, free_port

#: An account that is nobody's.
USER_ID = 54_321
#: It may read what root may: the interpreter of a test may lie in root's home.
AS_USER = (
    *("setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
SECRET = "planted"
ONCE = {"stop_condition": "stop_after_attempt(1)", "verify": "off", "ssh_new_host": "accept"}


def spellings(secret: str) -> set[str]:
    """Return how a secret may be written down."""
    return {
        secret,
        quote(secret),
        *(base64.b64encode(secret.encode()[n:])[:8].decode() for n in (0, 1, 2)),
    }


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A download of one file, with what it may be asked for with; `save_as`: the file comes."""

    protocol: str
    server: str
    remote_dir: str = "/"
    name: str = "a.dat"
    account: str = f"me:{SECRET}-account"
    parameters: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    save_as: str | None = None


def locked_key(folder: Path, pass_phrase: str) -> Path:
    """Make a key of ssh that a pass phrase opens."""
    path = folder / "locked-key"
    keygen = find_program("ssh-keygen", "openssh-client")
    subprocess.run(
        [keygen, "-q", "-t", "ed25519", "-N", pass_phrase, "-f", str(path)], check=True, timeout=60
    )
    return path


def askings(http_server, ftp_server, ssh_server, rsync_server, key_file: Path) -> Sequence[Asked]:
    """Return what to ask for by each protocol, with passwords wherever a message may have some."""
    dead = f"127.0.0.1:{free_port()}"
    http = f"{http_server.host}:{http_server.port}"
    ftp = f"{ftp_server.host}:{ftp_server.port}"
    ssh = f"{ssh_server.host}:{ssh_server.port}"
    form = {"token": f"{SECRET}-token"}
    irods = {"user": "me", "password": f"{SECRET}-irods"}
    locked = {"ssh_key_file": str(key_file)}
    phrase = f"{ssh_server.user}:{SECRET}-phrase"
    right = {
        server: f"{server.user}:{server.password}"
        for server in (ftp_server, ssh_server, rsync_server)
    }
    there = "there.dat"
    return (
        Asked(protocol="HTTP", server=http),
        Asked(protocol="HTTP", server=http, name="denied.dat"),
        Asked(protocol="HTTP", server=f"me:{SECRET}-url@{http}"),
        Asked(protocol="HTTP", server=f"me:{SECRET}-url@{dead}"),
        Asked(protocol="HTTPS", server=dead),
        Asked(protocol="DIRECTHTTP", server=http, remote_dir="/form", parameters=form),
        Asked(protocol="DIRECTHTTP", server=http, remote_dir="/denied.dat", parameters=form),
        Asked(protocol="DIRECTHTTP", server=http, remote_dir=f"/denied.dat?token={SECRET}-query"),
        Asked(protocol="FTP", server=ftp),
        Asked(protocol="FTP", server=dead),
        Asked(protocol="FTP", server=ftp, name=there, account=right[ftp_server], save_as="ftp"),
        Asked(protocol="SFTP", server=ssh),
        Asked(protocol="SFTP", server=ssh, account=phrase, options=locked),
        Asked(
            protocol="SFTP",
            server=ssh,
            remote_dir=f"{ssh_server.root}/",
            name=there,
            account=right[ssh_server],
            save_as="sftp",
        ),
        Asked(protocol="RSYNC", server=rsync_server.url),
        Asked(protocol="RSYNC", server=rsync_server.host, remote_dir="/nowhere"),
        Asked(protocol="RSYNC", server=ssh, account=phrase, options=locked),
        Asked(
            protocol="RSYNC",
            server=rsync_server.url,
            name=there,
            account=right[rsync_server],
            save_as="rsync",
        ),
        Asked(protocol="IRODS", server=dead, remote_dir="/zone/", parameters=irods),
        Asked(protocol="LOCAL", server="localhost", remote_dir="/nowhere"),
    )


def messages(asked: Sequence[Asked], session: str, folder: Path) -> Iterator[bytes]:
    """Return two messages for each, one of which goes by a proxy that is not there."""
    proxy = f"http://me:{SECRET}-proxy@127.0.0.1:{free_port()}"
    for number, each in enumerate(asked):
        for by_proxy in (False, True):
            operation = new_operation(
                Kind.DOWNLOAD, bank="bank", session=session, local_dir=str(folder)
            )
            download = operation.download
            download.options.update({**ONCE, **each.options})
            remote_file = download.remote_file
            remote_file.protocol = wire.DownloadFile.Protocol.Value(each.protocol)
            remote_file.server, remote_file.remote_dir = each.server, each.remote_dir
            remote_file.credentials = each.account
            save_as = f"{each.save_as or number}-{'proxy' if by_proxy else 'straight'}.dat"
            remote_file.files.add(name=each.name, save_as=save_as)
            for key, value in each.parameters.items():
                remote_file.param.add(name=key, value=value)
            if by_proxy:
                download.proxy.proxy, download.proxy.proxy_auth = proxy, f"me:{SECRET}-proxy"
            yield operation.SerializeToString()


class CommandLines:
    """Everything that was a word of a command of that user meanwhile."""

    def __enter__(self):
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if path.stat().st_uid != USER_ID:
                        continue
                    self.seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:  # it has ended
                    continue
