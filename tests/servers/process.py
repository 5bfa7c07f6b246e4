"""A real server program on a free loopback port, in a folder of its own, stopped for sure."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from typing_extensions import Self

#: Where Debian keeps servers that are not on a user's PATH. RabbitMQ's true script stands before
#: the one on the PATH, which changes user and leaves our environment behind.
PROGRAM_FOLDERS = ("/usr/lib/rabbitmq/bin", *os.get_exec_path(), "/usr/sbin", "/usr/local/sbin")

START_SECONDS = 60
STOP_SECONDS = 20


class MissingServer(Exception):
    """A server cannot run here; the text says what to install or to change."""


def find_program(name: str, package: str) -> str:
    """Return the path of a program.

    Raises:
        MissingServer: it is not installed.
    """
    path = shutil.which(name, path=os.pathsep.join(PROGRAM_FOLDERS))
    if path is None:
        raise MissingServer(f"{name} is not installed (apt-get install {package})")
    return path


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started and that have not ended."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


#: Ports that are given out: a server that is stopped for a while finds its own again.
_given_ports: set[int] = set()
#: Test processes that run side by side have ports of their own (pytest-xdist names them gw0...).
_SIDE_BY_SIDE = 8


def free_port() -> int:
    """Return a loopback port that nobody listens on now, and that nobody else here is given.

    It lies below those that the kernel gives to clients: a server that is stopped for a while
    would else find its port taken, even by a client that tries to reach it.
    """
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = first_of_clients // 2 + process % _SIDE_BY_SIDE
    while True:
        port = random.randrange(first, first_of_clients, _SIDE_BY_SIDE)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in _given_ports:
                _given_ports.add(port)
                return port


def poll(seconds: float) -> Iterator[None]:
    """Come round every 20 ms until the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


@dataclass(frozen=True)
class Place:
    """Where servers run: the address that they listen on, and what their commands begin with."""

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


_place = Place()


@contextmanager
def serving_at(place: Place) -> Iterator[None]:
    """Give the servers that are made within another place, such as a network namespace."""
    global _place  # noqa: PLW0603 - put back at the end
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before


class Server:
    """One server program; `start` and `stop` keep its port and its folder, `close` does not.

    It is its own process group, which dies with its starter, however that one ends.
    """

    program: ClassVar[str]
    package: ClassVar[str]
    needs_root: ClassVar[bool] = False

    def __init__(self) -> None:
        name = type(self).__name__
        if self.needs_root and os.geteuid() != 0:
            raise MissingServer(f"{name} must be started by root")
        self.program_path = find_program(self.program, self.package)
        self.host = _place.host
        self._prefix = _place.prefix
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"biomaj-test-{self.program}-"))
        self.folder.chmod(0o755)  # servers that drop root's rights must still get in
        self._process: subprocess.Popen[bytes] | None = None
        #: What the last stopped process ended with; None: it had to be killed.
        self.last_exit_code: int | None = None
        self._on_close = ExitStack()
        self._on_close.callback(shutil.rmtree, self.folder, ignore_errors=True)
        atexit.register(self.close)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what the server's environment has more than ours."""
        return {}

    def is_ready(self) -> bool:
        """Say whether the server answers."""
        return self.answers(b"", b"")

    def answers(self, question: bytes, answer: bytes) -> bool:
        """Say whether the server's first bytes after `question` are `answer`."""
        with (
            suppress(OSError),
            socket.create_connection((self.host, self.port), timeout=1) as connection,
        ):
            connection.sendall(question)
            return connection.recv(len(answer)) == answer if answer else True
        return False

    @property
    def is_running(self) -> bool:
        """Say whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, unless it runs, and return when it answers."""
        if self.is_running:
            return
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_parent(), *self._prefix, *self.command()],
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in poll(START_SECONDS):
            if not self.is_running or self.is_ready():
                break
        if not self.is_running or not self.is_ready():
            self.kill()
            raise RuntimeError(f"{self.program} did not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """Stop the server as a service manager would, and return when it is gone."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            self.last_exit_code = None
            with suppress(subprocess.TimeoutExpired):
                self.last_exit_code = self._process.wait(STOP_SECONDS)
        self.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server alone, and not to its children."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the server and all its children at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop the server and remove all that it left."""
        self.stop()
        self._on_close.close()
        atexit.unregister(self.close)

    def log(self) -> str:
        """Return what the server printed so far."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.folder / "output.log"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
