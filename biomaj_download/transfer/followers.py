"""Read a file while it is written, by threads of their own: to hash it, or to test that it unpacks.

In: a `Task`, which reads a file from its beginning to its end, and the writer's word how far the
file has come.  Out: what the task returns or raises.
The bytes are read from the kernel's cache, on another core than the transfer, which never waits
for a follower; nothing is held in memory.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from biomaj_download.cores import any_core

#: Who has to wait for bytes waits for so many: each wake-up takes time from the writer's thread.
_BATCH_BYTES = 1024 * 1024


class Readable(Protocol):
    """What a task may do with a file: reads are as long as asked for, except at its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes; none: the end."""
        ...

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with the next bytes, and return how many there are."""
        ...


#: Equal tasks are one: who asks for the outcome need not hold the very object that was followed.
Task: TypeAlias = Callable[[Any], Any]


class WatchedFile(FileIO):
    """A whole file that may not be read any more at some time: `check` is called before each read.

    What `check` raises ends the reading.
    """

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        super().__init__(path)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        self._check()
        return super().read(size) or b""

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with the next bytes."""
        self._check()
        return super().readinto(buffer) or 0


class Follower:
    """One task's way through one file that is written from its beginning on.

    `grown`, `outcome` and `abandon` are called by the writer's side, from any thread.
    """

    def __init__(self, path: Path, task: Task, check: Callable[[], None]) -> None:
        self._file = _GrowingFile(path, check)
        self._task = task
        self._outcome: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    @property
    def known_bytes(self) -> int:
        """Return how much of the file the task may know."""
        return self._file.written_bytes

    def grown(self, written_bytes: int) -> None:
        """Tell how many bytes stand there by now, without a gap, from the file's beginning."""
        self._file.grown(written_bytes)

    def outcome(self) -> Any:
        """Return what the task makes of all that was written, or raise what it raised."""
        self._file.end()
        self._thread.join()
        return self._outcome.result()

    def abandon(self) -> None:
        """End the thread: nobody wants the outcome any more."""
        self._file.abandon()
        self._thread.join()

    def _run(self) -> None:
        with any_core(), self._file:
            try:
                self._outcome.set_result(self._task(self._file))
            except BaseException as error:  # noqa: BLE001  # whatever it is, who asks is told
                self._outcome.set_exception(error)


class _Abandoned(Exception):
    """Nobody wants the outcome any more."""


class _GrowingFile(io.RawIOBase):
    """A file of which so much may be read as is written; a read waits for the rest.

    It is read by one thread, and told of its growth by others.
    """

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._position = 0
        self._changed = threading.Condition()
        self._has_ended = False
        self._is_abandoned = False
        #: The reader wants to be woken from here on; None: it does not wait.
        self._awaited_bytes: int | None = None
        self.written_bytes = 0

    def grown(self, written_bytes: int) -> None:
        """Tell how much is written by now; wakes the reader only where that is enough for it."""
        self.written_bytes = written_bytes
        # The reader says what it waits for before it looks at what is written for the last time.
        awaited_bytes = self._awaited_bytes
        if awaited_bytes is not None and written_bytes >= awaited_bytes:
            with self._changed:
                self._changed.notify()

    def end(self) -> None:
        """Tell that no more comes."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()

    def abandon(self) -> None:
        """Have the next read fail."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from any place."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set where the next read begins; nobody knows yet where the end is."""
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("seek from the end of a file that grows")
        self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes when they are written; fewer: the file has ended."""
        data = os.pread(self._descriptor, self._available(size), self._position)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with the next bytes when they are written."""
        view = memoryview(buffer)
        available_bytes = self._available(len(view))
        read_bytes = os.preadv(self._descriptor, [view[:available_bytes]], self._position)
        self._position += read_bytes
        return read_bytes

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _available(self, size: int) -> int:
        """Return how many of the next bytes may be read, when they are all there."""
        self._check()
        wanted = self._position + size
        if self.written_bytes < wanted and not self._has_ended:
            self._wait(max(wanted, self._position + _BATCH_BYTES))
        if self._is_abandoned:
            raise _Abandoned
        return max(min(size, self.written_bytes - self._position), 0)

    def _wait(self, awaited_bytes: int) -> None:
        with self._changed:
            self._awaited_bytes = awaited_bytes
            self._changed.wait_for(
                lambda: self._has_ended or self._is_abandoned or self.written_bytes >= awaited_bytes
            )
            self._awaited_bytes = None
        self._check()
