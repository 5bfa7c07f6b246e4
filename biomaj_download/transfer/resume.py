"""Go on where a transfer broke off, or begin again: decided by the server's answer, byte 0 or N.

In: the lines of an answer, and its body.  Out: a part that holds one version of the file, never
two. HTTP: RFC 9110, sections 13.1.5 (If-Range), 14.4 (Content-Range); FTP: RFC 3659 (MDTM, SIZE,
REST).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pycurl

from biomaj_download.errors import BadStatus, TransferError, Truncated
from biomaj_download.transfer.answer import OK, PARTIAL, Answer
from biomaj_download.transfer.kept import FROM_BYTES, Validators
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.request import TransferRequest

_RANGE_NOT_SATISFIABLE = 416
#: A stream's speed of late is that of the last one to two such times.
_MARK_SECONDS = 0.5


class Stream:
    """Takes one answer for a part: `look` at its lines, `write` its body from `position` on.

    `end` None: the body's own. A stream whose body goes on behind its end `is_open`: it refuses the
    rest, which ends the transfer; `has_stopped` says that this was why.
    """

    def __init__(self, part: Part, answer: Answer, *, position: int, end: int | None) -> None:
        self._part = part
        self.answer = answer
        self.look = answer.look
        self.position = position
        self.end = end
        self.is_open = True
        self.has_stopped = False
        #: When it was given to the engine, its server was asked, and the body began, by the
        #: monotonic clock; None: it has not.
        self.submitted_at = self.asked_at = 0.0
        self.began_at: float | None = None
        self.begun: Future[None] = Future()
        #: A moment and the position then: of one to two marks ago, and of the last one.
        self._mark = self._next_mark = (0.0, position)
        #: Why the body was not taken, where it was not.
        self.refusal: TransferError | None = None
        #: Set by another thread: take no more.
        self.is_abandoned = False

    def ask(self, *_addresses: object) -> int:
        """Note that the server is asked now (CURLOPT_PREREQFUNCTION)."""
        self.asked_at = time.monotonic()
        return pycurl.PREREQFUNC_OK

    def write(self, chunk: bytes, /) -> int:
        """Take a chunk; less than all of it ends the transfer."""
        return self.write_all((chunk,))

    def write_all(self, chunks: Sequence[bytes], /) -> int:
        """Take chunks that follow each other; less than all of them ends the transfer."""
        if self.began_at is None:
            self.refusal = self._begin()
            self.began_at = time.monotonic()
            self._mark = self._next_mark = (self.began_at, self.position)
            self.begun.set_result(None)
        if self.refusal is not None or self.is_abandoned:
            return 0
        end = self.end
        came_bytes = sum(map(len, chunks))
        room_bytes = came_bytes if end is None else max(end - self.position, 0)
        if came_bytes > room_bytes:
            chunks = (b"".join(chunks)[:room_bytes],)
        taken_bytes = self._part.place(chunks, self.position) if room_bytes else 0
        self.position += taken_bytes
        self._remember()
        self.has_stopped = end is not None and (taken_bytes < came_bytes or self._stops_at(end))
        return 0 if self.has_stopped else taken_bytes

    @property
    def is_at_its_end(self) -> bool:
        """Say whether it has all that it is to bring; as long as it has no end: whatever came."""
        return self.end is None or self.position >= self.end

    def speed(self, now: float) -> float:
        """Return the bytes a second of late; 0: nobody knows."""
        at, position = self._mark
        return (self.position - position) / (now - at) if self.began_at and now > at else 0

    def seconds_left(self, now: float) -> float:
        """Return how long it takes to its end, as fast as it was of late; 0: nobody knows."""
        if self.began_at is None or self.end is None:
            return 0
        # One that stands still has a byte a second, as it were.
        return max(self.end - self.position, 0) / max(self.speed(now), 1)

    def _remember(self) -> None:
        """Remember where it stands now and then, for its speed of late."""
        now = time.monotonic()
        if now - self._next_mark[0] >= _MARK_SECONDS:
            self._mark, self._next_mark = self._next_mark, (now, self.position)

    def _stops_at(self, end: int) -> bool:
        return self.is_open and self.position == end

    def _begin(self) -> TransferError | None:
        """Say what is wrong with the answer."""
        raise NotImplementedError


class Continuation(Stream):
    """Brings what a part lacks from its first hole on, or the whole of another version.

    `told`: what the server said of the file just now, where its answer has no such lines (SFTP).
    """

    def __init__(
        self, part: Part, request: TransferRequest, *, told: Validators | None = None
    ) -> None:
        answer = Answer(request, told=told)
        self._is_http = request.url.startswith("http")
        self._known = part.resume()
        if self._known is not None and self._known.url != answer.url_digest:
            part.restart()
            self._known = None
        self._offset = part.written_bytes
        super().__init__(part, answer, position=self._offset, end=None)

    @property
    def offset(self) -> int:
        """Return how many bytes were there before this answer."""
        return self._offset

    @property
    def size_known(self) -> int | None:
        """Return the size of the file that was begun earlier; None: none was, or nobody knows."""
        return self._known.size_bytes if self._known else None

    def version(self) -> Validators:
        """Return what tells this version of the file from others, now that its body has begun."""
        told = self.answer.validators()
        if self._known is None:
            return told
        return replace(self._known, size_bytes=self._known.size_bytes or told.size_bytes)

    def libcurl_options(self) -> dict[int, object]:
        """Return what asks for the rest alone."""
        if self._known is None or not self._offset:
            return {}
        if not self._is_http:
            return {pycurl.RESUME_FROM_LARGE: self._offset}
        return range_options(self._known, f"{self._offset}-")

    def write_all(self, chunks: Sequence[bytes], /) -> int:
        """Take chunks that follow each other; less than all of them ends the transfer."""
        taken_bytes = super().write_all(chunks)
        if not self._part.is_kept and self._part.written_bytes >= FROM_BYTES:
            self._part.keep(self.answer.validators())
        return taken_bytes

    def is_complete(self, error: TransferError) -> bool:
        """Say whether a server refused to send the rest because there is none."""
        known = self._known
        return (
            known is not None
            and error.reply == _RANGE_NOT_SATISFIABLE
            and known.size_bytes in (None, self._offset)
            and self.answer.header(b"content-range") == b"bytes */%d" % self._offset
        )

    def _begin(self) -> TransferError | None:
        """Say what is wrong with the answer; begin again where it is the whole file."""
        status = self.answer.status
        if not self._offset:
            if status == PARTIAL:
                return TransferError("expected the whole file, got a part of it")
            if self._known is not None and self._known != self.answer.validators():
                self._begin_again()
            return None
        if status == OK:
            self._begin_again()
            return None
        if status == PARTIAL:
            return self._judge_range()
        if status:
            return BadStatus(f"expected the rest of a file, got HTTP status {status}")
        return self._judge_version()

    def _begin_again(self) -> None:
        self._part.restart()
        self._known = None
        self._offset = self.position = 0
        self.end = None

    @property
    def brought_nothing(self) -> bool:
        """Say whether the answer had no body, for the part was whole already."""
        return self._offset > 0 and self.began_at is None

    def judge_end(self) -> None:
        """Say what is wrong with an answer that has come to its end.

        One without a body was not looked at before; and a server may send less of the rest than it
        was asked for (RFC 9110, section 15.3.7).

        Raises:
            TransferError: it is not the version that the server has now.
            Truncated: the file goes on behind what came, which stays.
        """
        if self.brought_nothing:
            if self._is_http and self.answer.status not in (OK, PARTIAL):
                return  # that status says all
            self.refusal = self._begin() if self._is_http else self._judge_version()
            if self.refusal is not None:
                raise self.refusal
        size_bytes, came_bytes = self.version().size_bytes, self._part.written_bytes
        if self._offset and size_bytes is not None and came_bytes != size_bytes:
            raise Truncated(f"expected {size_bytes} bytes, got {came_bytes}")

    def _judge_version(self) -> TransferError | None:
        if self._known != self.answer.validators():
            return TransferError("the file has changed since its beginning came")
        return None

    def _judge_range(self) -> TransferError | None:
        told = self.answer.range()
        if told is None or told[0] != self._offset:
            return TransferError(f"expected the bytes from {self._offset} on, got others")
        # Not all servers and caches obey If-Range.
        if self._known is not None and not self._known.may_be(self.answer.validators()):
            return TransferError("the file has changed since its beginning came")
        return None


def range_options(version: Validators, wanted: str) -> dict[int, object]:
    """Return what asks an HTTP server for a range, if it still has this version.

    A range, not an offset, for then libcurl takes a 200 as well: the whole of another version.
    """
    return {
        pycurl.RANGE: wanted,
        pycurl.HTTPHEADER: [f"If-Range: {version.etag or version.modified}".encode("latin-1")],
    }
