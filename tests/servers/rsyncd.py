"""An rsync daemon of its own: one folder, open as `data`, with a password as `private`."""

from __future__ import annotations

import os

from tests.servers.process import Server

CONFIG = """\
address = {server.host}
port = {server.port}
use chroot = no
{owner}
[data]
  path = {server.root}
  read only = yes
[private]
  path = {server.root}
  read only = yes
  auth users = {server.user}
  secrets file = {server.folder}/secrets
"""


class RsyncServer(Server):
    """rsyncd; `url` names the module that is open to all."""

    program = "rsync"
    package = "rsync"
    user = "biomaj"
    password = "rsync-secret"

    def __init__(self) -> None:
        super().__init__()
        self.root = self.folder / "root"
        self.root.mkdir()
        secrets = self.folder / "secrets"
        secrets.write_text(f"{self.user}:{self.password}\n")
        secrets.chmod(0o600)
        owner = "uid = root\ngid = root" if os.geteuid() == 0 else ""
        (self.folder / "rsyncd.conf").write_text(CONFIG.format(server=self, owner=owner))

    @property
    def url(self) -> str:
        """Return the URL of `root`, without a last slash."""
        return f"rsync://{self.host}:{self.port}/data"

    def command(self) -> list[str]:
        config = self.folder / "rsyncd.conf"
        return [self.program_path, "--daemon", "--no-detach", f"--config={config}"]

    def is_ready(self) -> bool:
        return self.answers(b"", b"@RSYNCD:")
