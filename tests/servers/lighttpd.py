"""A lighttpd of its own: one folder of documents, listed by mod_dirlisting."""

from __future__ import annotations

from tests.servers.process import Server

CONFIG = """\
server.modules = ("mod_dirlisting")
server.document-root = "{server.root}"
server.bind = "{server.host}"
server.port = {server.port}
server.errorlog = "{server.folder}/error.log"
dir-listing.activate = "enable"
"""


class LighttpdServer(Server):
    """lighttpd; `root` is its documents."""

    program = "lighttpd"
    package = "lighttpd"

    def __init__(self) -> None:
        super().__init__()
        self.root = self.folder / "root"
        self.root.mkdir()
        (self.folder / "lighttpd.conf").write_text(CONFIG.format(server=self))

    def command(self) -> list[str]:
        return [self.program_path, "-D", "-f", str(self.folder / "lighttpd.conf")]
