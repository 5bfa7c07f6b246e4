from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from biomaj_download.cli import main
from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import Settings, WebSettings, WorkerSettings
from biomaj_download.transfer import shared

COMMAND = (sys.executable, "-m", "biomaj_download.cli")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def run(monkeypatch, tmp_path) -> Iterator[Callable[..., Result]]:
    """Run a command in this process, for a user who has no files of his own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    before = shared.settings()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words])
    shared.set_up(before)


class Terminal:
    """A command at work on a terminal of its own."""

    def __init__(self, *words: object, environment: dict[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **(environment or {})},
        )
        os.close(theirs)
        self._bytes = b""

    @property
    def raw(self) -> str:
        """Return all that was written."""
        return self._bytes.decode(errors="replace")

    @property
    def text(self) -> str:
        """Return what was written, without orders to the terminal."""
        return _CONTROL.sub("", self.raw).replace("\r", "")

    def read_until(self, wanted: str, *, seconds: float = 30) -> str:
        """Return the text so far, as soon as it holds what is wanted, or the command ended."""
        end = time.monotonic() + seconds
        while wanted not in self.text and time.monotonic() < end:
            if not self._read():
                break
        return self.text

    def read_to_the_end(self) -> str:
        """Return all text, when the command has ended."""
        while self._read():
            pass
        self.process.wait(timeout=30)
        return self.text

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 30)
        try:
            chunk = os.read(self._ours, 65536) if ready else b""
        except OSError:  # Linux says so when the other end is closed
            chunk = b""
        self._bytes += chunk
        return bool(chunk)

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        """End the command."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., Terminal]]:
    """Start a command on a terminal."""
    started: list[Terminal] = []

    def start(*words: object, **more: dict[str, str]) -> Terminal:
        started.append(Terminal(*words, **more))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def tree(nginx) -> Path:
    """A databank of some files on a web server that lists it; `url` is where."""
    root = nginx.root / "databank"
    for name, size in (("a.dat", 10), ("sub/b.dat", 2000), ("sub/deep/c d.dat", 300)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name[-5:-4].encode() * size)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    yield root
    for path in sorted(root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.fixture
def url(nginx) -> str:
    return f"{nginx.url}/databank/"


@contextmanager
def served(data: Path, port: int = 0, **web: object) -> Iterator[str]:
    """Have an embedded service at work; its address. `web`: settings of that section."""
    settings = Settings(
        worker=WorkerSettings(shutdown_grace_seconds=0), web=WebSettings.model_validate(web)
    )
    embedded = EmbeddedService(settings, data, host="127.0.0.1", port=port)
    thread = threading.Thread(target=embedded.run)
    thread.start()
    try:
        yield embedded.url
    finally:
        embedded.stop()
        thread.join(timeout=60)


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[str]:
    """A service at work, which commands find; its address."""
    with served(tmp_path / "data") as url:
        monkeypatch.setenv("BIOMAJ_DOWNLOAD_URL", url)
        yield url
