"""Servers to download from: the same files by HTTP, HTTPS with HTTP/2, FTP and SFTP."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from biomaj_download.message import downmessage_pb2 as wire
from tests.servers.nginx import NginxServer
from tests.servers.sshd import SshServer
from tests.servers.vsftpd import VsftpdServer

WIRE = {
    "http": wire.DownloadFile.HTTP,
    "https": wire.DownloadFile.HTTPS,
    "ftp": wire.DownloadFile.FTP,
    "sftp": wire.DownloadFile.SFTP,
}


class Origin:
    """nginx, vsftpd and sshd at one place; what is filled in can be had from each."""

    def __init__(self, stack: ExitStack) -> None:
        """Start them, to be stopped by the stack."""
        self.nginx = stack.enter_context(NginxServer())
        self.ftp = stack.enter_context(VsftpdServer())
        self.ssh = stack.enter_context(SshServer())
        self._folders = itertools.count(1)

    def new_folder(self) -> str:
        """Return the name of a folder that there is not yet."""
        return f"folder-{next(self._folders)}"

    def fill(self, folder: str, bodies: Mapping[str, bytes]) -> None:
        """Serve these files, by their paths below a folder."""
        for name, body in bodies.items():
            path = self.new_path(folder, name)
            path.write_bytes(body)
            self.share(folder, name)

    def new_path(self, folder: str, name: str) -> Path:
        """Return where to write a file, which `share` then serves."""
        path = self.nginx.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def share(self, folder: str, name: str) -> None:
        """Serve a file that was written to its `new_path`."""
        path = self.nginx.root / folder / name
        path.chmod(0o644)
        for server in (self.ftp, self.ssh):
            other = server.root / folder / name
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)

    def forget(self, folder: str) -> None:
        """Remove a folder from all."""
        for server in (self.nginx, self.ftp, self.ssh):
            shutil.rmtree(server.root / folder, ignore_errors=True)

    def server(self, protocol: str) -> str:
        """Return `host:port`."""
        port = {
            "http": self.nginx.port,
            "https": self.nginx.https_port,
            "ftp": self.ftp.port,
            "sftp": self.ssh.port,
        }[protocol]
        return f"{self.nginx.host}:{port}"

    def directory(self, protocol: str, folder: str) -> str:
        """Return a folder's path on the server, which begins and ends with a slash."""
        return f"{self.ssh.root}/{folder}/" if protocol == "sftp" else f"/{folder}/"

    def url(self, protocol: str, folder: str) -> str:
        """Return a folder's URL, with its last slash."""
        return f"{protocol}://{self.server(protocol)}{self.directory(protocol, folder)}"
