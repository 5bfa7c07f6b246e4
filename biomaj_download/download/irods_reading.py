"""The bytes of a data object of iRODS: small ones in one go, large ones in parts side by side.

The client's own ways (`get`, buffered reads) may wait for ever where a connection is cut, so its
messages are read one by one here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Event
from typing import Any, Protocol

from irods.exception import NetworkException

from biomaj_download.cancellation import Cancellation
from biomaj_download.disk import on_disk
from biomaj_download.errors import Cancelled, TimedOut, Truncated
from biomaj_download.transfer.partial import Part

#: The client joins bytes: longer reads cost more than they save.
_CHUNK_BYTES = 1024 * 1024
#: A larger object is read in parts, side by side.
PARALLEL_FROM_BYTES = 32 * 1024 * 1024
PARTS = 4


class Lender(Protocol):
    """What is needed of a downloader."""

    cancellation: Cancellation

    def lent_session(self, subject: str) -> AbstractContextManager[Any]:
        """Lend the session, for one connection; errors of iRODS come out as ours."""

    def seconds_left(self) -> float:
        """Return how long one transfer may take."""


class Reading:
    """Reads one data object into a part: small ones in one go, large ones in parts."""

    def __init__(self, downloader: Lender, path: str, part: Part) -> None:
        self._downloader = downloader
        self._path = path
        self._part = part
        self._deadline = time.monotonic() + downloader.seconds_left()
        self._failed = Event()

    def read(self, size_bytes: int) -> None:
        """Read all.

        Raises:
            DownloadError: of the first part that failed; the others stop.
        """
        if size_bytes < PARALLEL_FROM_BYTES:
            self._read_range(range(size_bytes), self._part.write)
            return
        step = -(-size_bytes // PARTS)
        ranges = [range(at, min(at + step, size_bytes)) for at in range(0, size_bytes, step)]
        with ThreadPoolExecutor(PARTS, thread_name_prefix="irods") as pool:
            futures = [pool.submit(self._read_part, wanted) for wanted in ranges]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, Cancelled):
                raise error
        for error in errors:
            raise error

    def _read_part(self, wanted: range) -> None:
        offset = wanted.start

        def write(chunk: bytes) -> None:
            nonlocal offset
            self._part.write_at(chunk, offset)
            offset += len(chunk)

        try:
            self._read_range(wanted, write)
        except BaseException:
            self._failed.set()
            raise

    def _read_range(self, wanted: range, write: Callable[[bytes], object]) -> None:
        with (
            self._downloader.lent_session(self._path) as session,
            _opened(session, self._path) as source,
        ):
            source.seek(wanted.start)
            missing_bytes = len(wanted)
            while missing_bytes:
                self._check_time()
                chunk = source.conn.read_file(source.desc, min(missing_bytes, _CHUNK_BYTES))
                if not chunk:
                    raise Truncated(f"{self._path}: ended {missing_bytes} bytes early")
                with on_disk(self._part.path):
                    write(chunk)
                missing_bytes -= len(chunk)

    def _check_time(self) -> None:
        self._downloader.cancellation.check()
        if self._failed.is_set():
            raise Cancelled(f"{self._path}: another part of it failed")
        if time.monotonic() > self._deadline:
            raise TimedOut(f"{self._path}: the bank's time is up")


@contextmanager
def _opened(session: Any, path: str) -> Iterator[Any]:
    """Open an object, without the client's own buffer: that one waits for ever for a cut message.

    After an error of the connection it is closed on this side alone: the server is not there.
    """
    how = {} if session.is_sent_on else {"allow_redirect": False}
    source = session.data_objects.open(path, "r", **how).detach()
    try:
        yield source
    except (NetworkException, OSError):
        source.conn.socket.close()
        io.RawIOBase.close(source)
        raise
    except BaseException:
        source.close()
        raise
    source.close()
