"""A Redis server of its own."""

from __future__ import annotations

from tests.servers.process import Server


class RedisServer(Server):
    """Redis; with `appendonly`, what it holds outlives `stop` and `start`."""

    program = "redis-server"
    package = "redis-server"

    def __init__(self, *, appendonly: bool = True) -> None:
        super().__init__()
        self._appendonly = "yes" if appendonly else "no"

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            *(self.program_path, "--bind", self.host, "--port", str(self.port)),
            *("--dir", str(self.folder), "--save", "", "--appendonly", self._appendonly),
            # At the end of a link it is asked from another address than the loopback's.
            *("--protected-mode", "no"),
        ]

    def is_ready(self) -> bool:
        return self.answers(b"PING\r\n", b"+PONG")
