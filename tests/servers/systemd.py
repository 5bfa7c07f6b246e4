"""What systemd is to a unit of `Type=notify`: a datagram socket that takes its news."""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

from typing_extensions import Self

PATIENCE_SECONDS = 30


class Systemd:
    """Takes a unit's news; `name` (a path, or @ and a name) stands in its environment."""

    def __init__(self, name: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="biomaj-test-systemd-")
        self.name = name or str(Path(self._folder.name) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:] if self.name.startswith("@") else self.name)

    def environment(self, *, watchdog_seconds: float = 0, pid: int | None = None) -> dict[str, str]:
        """Return what a unit's environment has more; 0 seconds: it has no watchdog."""
        environment = {"NOTIFY_SOCKET": self.name}
        if watchdog_seconds:
            environment["WATCHDOG_USEC"] = str(int(watchdog_seconds * 1_000_000))
        if pid is not None:
            environment["WATCHDOG_PID"] = str(pid)
        return environment

    def news(self) -> dict[str, str] | None:
        """Return the oldest news that waits, by name; None: there is none."""
        self._socket.setblocking(False)
        try:
            return _read(self._socket.recv(4096))
        except BlockingIOError:
            return None

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the first news with this name; those before it are dropped."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            if name in (news := _read(self._socket.recv(4096))):
                return news
        raise TimeoutError(f"no {name} from the unit")

    def hears_nothing_of(self, name: str, seconds: float) -> bool:
        """Say whether no news with this name comes in a time; others are dropped."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if name in _read(self._socket.recv(4096)):
                    return False
            except TimeoutError:
                break
        return True

    def drop_all(self) -> None:
        """Forget what waits."""
        while self.news() is not None:
            pass

    def close(self) -> None:
        """Take no more news."""
        self._socket.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(datagram: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())
