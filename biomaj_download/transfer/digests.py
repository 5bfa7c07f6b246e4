"""The digests of a file: of one that is there, or of one that grows, behind its writer's back.

A growing file is read again by a thread of its own, from the kernel's cache: hashing runs on
another core than the transfer, which never waits for it, and nothing is held in memory.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from biomaj_download.errors import MissingLibrary, VerifyError

_CHUNK_BYTES = 1024 * 1024
_SUM_SECONDS_PER_GIB = 60
_GIB = 1024**3


class GrowingDigests:
    """Digests of a file that is written from its beginning to its end.

    `grown` and `value` are called by the writer's side, from one thread at a time.
    """

    def __init__(self, path: Path, algorithms: Iterable[str]) -> None:
        self._hashes = {name: _new(name) for name in algorithms}
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._changed = threading.Condition()
        self._written_bytes = 0
        self._has_ended = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="digest", daemon=True)
        self._thread.start()

    def grown(self, written_bytes: int) -> None:
        """Tell how much is written by now."""
        with self._changed:
            self._written_bytes = written_bytes
            self._changed.notify()

    def values(self) -> Mapping[str, str]:
        """Return the digests of all that was written, when they are ready.

        Raises:
            OSError: this host cannot read the file.
        """
        self._end()
        if self._error is not None:
            raise self._error
        return {name: hash_.hexdigest() for name, hash_ in self._hashes.items()}

    def abandon(self) -> None:
        """End the thread: nobody wants the digests any more."""
        with self._changed:
            self._written_bytes = 0
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        read_bytes = 0
        try:
            while chunk := self._next(read_bytes):
                read_bytes += len(chunk)
                for hash_ in self._hashes.values():
                    hash_.update(chunk)
        except OSError as error:
            self._error = error
        finally:
            os.close(self._descriptor)

    def _next(self, offset: int) -> bytes:
        """Return the next chunk when it is written; empty: the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or self._written_bytes > offset)
            available_bytes = self._written_bytes - offset
        return os.pread(self._descriptor, min(max(available_bytes, 0), _CHUNK_BYTES), offset)


def digests_of(
    path: Path, algorithms: Iterable[str], check: Callable[[], None]
) -> Mapping[str, str]:
    """Return the digests of a file; `check` is called before each read, and may end it.

    Raises:
        OSError: this host cannot read it.
        MissingLibrary: coreutils' `sum` is not installed.
    """
    wanted = set(algorithms)
    found = {"sum": _bsd_sum(path)} if "sum" in wanted else {}
    hashes = {name: _new(name) for name in wanted - {"sum"}}
    if hashes:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                check()
                for hash_ in hashes.values():
                    hash_.update(chunk)
    return found | {name: hash_.hexdigest() for name, hash_ in hashes.items()}


def _new(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=False)


def _bsd_sum(path: Path) -> str:
    """Return BSD's checksum and the number of KiB, as coreutils' `sum -r` counts them."""
    limit_seconds = _SUM_SECONDS_PER_GIB * (1 + path.stat().st_size // _GIB)
    with path.open("rb") as file:
        try:
            done = subprocess.run(
                ["sum", "-r"],  # noqa: S607  # coreutils, wherever the PATH has them
                stdin=file,
                capture_output=True,
                timeout=limit_seconds,
                check=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise MissingLibrary(
                "checksum: needs the program `sum`: apt-get install coreutils"
            ) from error
        except subprocess.SubprocessError as error:
            raise VerifyError(f"{path.name}: `sum` failed: {error}") from error
    checksum, blocks = done.stdout.split()[:2]
    return f"{int(checksum)}:{int(blocks)}"
