"""One large file over several connections, where that helps.

In: the request that would bring it over one.  Out: a whole part, or the error of one stream.

The first stream is an ordinary one, from the first hole to the end. If its answer turns out to be
long, of a version that can be told from others, of a server that sends ranges, and from so far or
so slow that the network is what limits it, then it is told to stop early, and what lies behind
comes in pieces over further connections: from low to high, so that who reads along can. Pieces take
only places that nobody else waits for, and each must be of the first answer's version.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pycurl

from biomaj_download.cancellation import Cancellation
from biomaj_download.errors import TransferError, Truncated
from biomaj_download.transfer.answer import OK, PARTIAL, Answer
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.outcome import redact_url
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.ranges import Range
from biomaj_download.transfer.request import TransferRequest, TransferResult
from biomaj_download.transfer.resume import Continuation, Stream, range_options

#: No file gets more connections, whatever its host allows.
MOST_STREAMS = 16
#: A stream that is so fast is limited by this machine, and more of them would not help.
FAST_BYTES_A_SECOND = 200_000_000
#: A file that so many streams bring has those of other processes only where each is so slow.
FEW_STREAMS = 4
SLOW_BYTES_A_SECOND = 5_000_000
#: So long after it has begun, the speed of a stream tells something.
_SETTLED_SECONDS = 1
#: A server whose answer takes so long is far away, and one stream to it slow to begin with.
FAR_SECONDS = 0.02
_LEAST_RELIEF_SECONDS = 0.2
#: The first stream's speed is looked at after so long, and free places so often.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class _PieceKind:
    """How long pieces are: each stream's share of what is left, within bounds.

    Long enough that what lies between two of them costs little, and short enough that the file
    grows from its beginning: `most_tested_bytes`, where a test reads along that takes about as long
    as the transfer, and would have much to do when the last hole is filled. `worth_starts`: a
    stream is relieved of what another one can bring sooner, if it has to go on for so many times as
    long as a piece takes to begin.
    """

    least_bytes: int
    most_bytes: int
    most_tested_bytes: int
    worth_starts: int = 3


_MIB = 1024 * 1024
_PIECES = {
    "http": _PieceKind(2 * _MIB, 16 * _MIB, most_tested_bytes=4 * _MIB),
    # A piece costs a new connection: libcurl would end it by ABOR, and wait for the reply.
    "ftp": _PieceKind(64 * _MIB, 256 * _MIB, most_tested_bytes=256 * _MIB, worth_starts=5),
    # libssh2 has asked for some MiB behind a piece's end by then, and they come.
    "sftp": _PieceKind(32 * _MIB, 256 * _MIB, most_tested_bytes=256 * _MIB),
}


class Piece(Stream):
    """Brings a range of the version that the first answer told."""

    def __init__(
        self,
        part: Part,
        request: TransferRequest,
        version: Validators,
        wanted: Range,
        *,
        told: Validators | None,
    ) -> None:
        super().__init__(part, Answer(request, told=told), position=wanted[0], end=wanted[1])
        self.first = wanted[0]
        self._wanted = wanted
        self._version = version
        self._scheme = request.url.partition(":")[0]
        #: An FTP server is only told where to begin.
        self.is_open = self._scheme.startswith("ftp") and wanted[1] != version.size_bytes
        #: It began when no other ran.
        self.is_alone = False
        #: The file is another one: what came of it is of no use.
        self.has_changed = False

    def libcurl_options(self) -> dict[int, object]:
        """Return what asks for the range alone."""
        if self._scheme.startswith("ftp"):
            return {pycurl.RESUME_FROM_LARGE: self.first}
        wanted = f"{self.first}-{(self.end or 0) - 1}"
        if self._scheme == "sftp":
            return {pycurl.RANGE: wanted}
        return range_options(self._version, wanted)

    @property
    def has_begun(self) -> bool:
        """Say whether anything came of it."""
        return self.position > self.first

    def _begin(self) -> TransferError | None:
        self.has_changed = not self._is_same_version()
        if self.has_changed:
            return TransferError("the file has changed while its pieces came")
        if not self.answer.status:
            return None
        if self.answer.status != PARTIAL:
            return TransferError(f"expected a piece, got HTTP status {self.answer.status}")
        told = self.answer.range()
        if told is None or told[:2] != self._wanted:
            return TransferError("expected the bytes {}-{}, got others".format(*self._wanted))
        return None

    def _is_same_version(self) -> bool:
        told, known = self.answer.validators(), self._version
        return told.may_be(known) if self.answer.status else told == known


class Segments:
    """One file on its way, on the thread of who wants it; the streams run on the engine's.

    `from_bytes`: what must be left for more than one stream; 0: never more. `told`: what an SFTP
    server said of the file.
    """

    def __init__(
        self,
        engine: Engine,
        request: TransferRequest,
        part: Part,
        first: Continuation,
        *,
        from_bytes: int,
        told: Validators | None = None,
    ) -> None:
        # Told to end where this file does, or where one stream's error ends the others.
        self._request = replace(request, cancellation=_Ending(request.cancellation))
        self._engine = engine
        self._part = part
        self._first = first
        self._from_bytes = from_bytes
        self._told = told
        self._running: dict[Future[TransferResult], Stream] = {}
        self._pieces = _PIECES[request.url.partition(":")[0].removesuffix("s")]
        self._is_split = False
        self._missing: list[Range] = []
        self._version = Validators(url="")
        self._most = MOST_STREAMS if from_bytes else 1
        self._result: TransferResult | None = None
        #: Of the stream that began last: when, and how long after it was asked for.
        self._last_start = (0.0, 0.0)
        #: What the file was announced with, where it came in pieces.
        self.size_bytes: int | None = None
        self.has_changed = False

    def fetch(self) -> TransferResult:
        """Bring all that the part lacks.

        Raises:
            DownloadError: of the stream that failed, or it was cancelled.
            Exception: what the disk said.
        """
        started = time.monotonic()
        first = self._first
        if first.size_known is not None and self._part.is_scattered:
            first.end = self._part.holes(first.size_known)[0][1]
        if self._may_begin_split():
            self._split()
        else:
            asked = {pycurl.PREREQFUNCTION: first.ask}
            self._submit(first, {**first.libcurl_options(), **asked})
        try:
            self._start_more()
            while self._running:
                self._step()
        except BaseException:
            self._abandon()
            raise
        if not self._is_split and self._result is not None:
            return self._result
        return self._whole(time.monotonic() - started)

    def _submit(self, stream: Stream, options: dict[int, object]) -> None:
        request = replace(
            self._request,
            sink=stream,
            is_piece=isinstance(stream, Piece),
            on_header=stream.look,
            options={**self._request.options, **options},
        )
        stream.submitted_at = time.monotonic()
        self._running[self._engine.submit(request)] = stream

    def _step(self) -> None:
        awaited: list[Future[Any]] = list(self._running)
        begun = self._first.begun
        if not self._is_split and not begun.done():
            awaited.append(begun)
        done, _ = wait(
            awaited, _LOOK_SECONDS if self._most > 1 else None, return_when=FIRST_COMPLETED
        )
        for future in done - {begun}:
            self._end(future, self._running.pop(future))
        self._end_surplus()
        if not self._is_split and self._may_split():
            self._split()
        self._start_more()

    def _may_begin_split(self) -> bool:
        """Say whether all comes in pieces: SFTP servers tell the version ahead, and send ranges."""
        first = self._first
        is_told = self._told is not None and first.size_known is None
        return is_told and not first.offset and self._is_worth_more(first)

    def _may_split(self) -> bool:
        """Say whether the first stream, which runs alone, shall have others beside it."""
        first = self._first
        if first.began_at is None or first.refusal is not None:
            return False
        if first.end is not None:  # what lies behind its hole is there already
            return True
        return bool(self._running) and self._is_limited_by_network() and self._is_worth_more(first)

    def _is_worth_more(self, first: Continuation) -> bool:
        if self._most == 1 or not self._can_be_told(first.version()):
            return False
        left_bytes = (first.version().size_bytes or 0) - first.position
        return left_bytes >= self._from_bytes and self._free_places() > 0

    def _is_limited_by_network(self) -> bool:
        first = self._first
        if first.began_at is None or first.began_at - first.asked_at >= FAR_SECONDS:
            return True
        seconds = time.monotonic() - first.began_at
        speed = (first.position - first.offset) / seconds
        return seconds >= _LOOK_SECONDS and speed < FAST_BYTES_A_SECOND

    def _can_be_told(self, version: Validators) -> bool:
        answer = self._first.answer
        sends_ranges = answer.status in (0, PARTIAL) or (
            answer.status == OK and answer.header(b"accept-ranges").lower() == b"bytes"
        )
        is_of_its_protocol = bool(answer.status) == self._request.url.startswith("http")
        return version.can_tell() and sends_ranges and is_of_its_protocol

    def _split(self) -> None:
        """Have the first stream stop before the rest, which others bring; if it runs at all."""
        first = self._first
        self._is_split = True
        self._version = first.version()
        self.size_bytes = size_bytes = self._version.size_bytes or 0
        self._part.keep(self._version)
        stop = first.position
        missing = self._part.holes(size_bytes)
        if self._running and missing:  # it may have brought the last byte just now
            stop += self._piece_bytes(missing, 1 + self._free_places())
            first.end = stop = min(stop, missing[0][1])
        holes = self._part.holes(size_bytes)
        self._missing = [(max(begin, stop), end) for begin, end in holes if end > stop]

    def _start_more(self) -> None:
        while self._is_split and len(self._running) < self._most:
            places = self._free_places()
            if self._running and not places:  # but a file always has one stream
                return
            if not self._missing and not self._relieve_the_slowest():
                return
            self._start_next(len(self._running) + places)

    def _relieve_the_slowest(self) -> bool:
        """Have another stream bring the end of what would come last, if that is worth its start."""
        now = time.monotonic()
        start_seconds = self._start_seconds()
        worth_seconds = max(self._pieces.worth_starts * start_seconds, _LEAST_RELIEF_SECONDS)
        # One that has just begun is slow, but will not stay so.
        streams = [
            stream
            for stream in self._running.values()
            if stream.began_at is not None
            and now - stream.began_at > worth_seconds
            and stream.seconds_left(now) > worth_seconds
        ]
        if not streams:
            return False
        slowest = max(streams, key=lambda stream: stream.seconds_left(now))
        end = slowest.end or 0
        # Both shall end together, and the other one begins later.
        keeps_seconds = (slowest.seconds_left(now) + start_seconds) / 2
        stop = slowest.position + int(slowest.speed(now) * keeps_seconds)
        if stop >= end:  # it has moved on meanwhile
            return False
        slowest.end = stop
        self._missing = [(stop, end)]
        return True

    def _start_seconds(self) -> float:
        """Return how long a piece takes to begin, with its login, if it needs one."""
        streams = (self._first, *self._running.values())
        self._last_start = max(self._last_start, *map(_start, streams))
        return self._last_start[1]

    def _end_surplus(self) -> None:
        """End those pieces that run on places which another process lent and wants back."""
        surplus = self._engine.surplus(self._request.url) if self._is_split else 0
        if not surplus:
            return
        streams = [stream for future, stream in self._running.items() if future.running()]
        going = [stream for stream in streams if not stream.is_at_its_end]
        surplus -= len(streams) - len(going)  # these end already
        pieces = [stream for stream in going if isinstance(stream, Piece)]
        pieces.sort(key=lambda piece: piece.position, reverse=True)
        for piece in pieces[: max(surplus, 0)]:
            self._give_back(piece)
            piece.end = piece.position

    def _start_next(self, streams: int) -> None:
        first, end = self._missing.pop(0)
        stop = min(end, first + self._piece_bytes([(first, end), *self._missing], streams))
        if stop < end:
            self._missing.insert(0, (stop, end))
        piece = Piece(self._part, self._request, self._version, (first, stop), told=self._told)
        piece.is_alone = not self._running
        self._submit(piece, piece.libcurl_options())

    def _piece_bytes(self, missing: list[Range], streams: int) -> int:
        left_bytes = sum(end - first for first, end in missing)
        kind = self._pieces
        share_bytes = -(-left_bytes // max(streams, 1))
        most_bytes = kind.most_tested_bytes if self._part.is_tested else kind.most_bytes
        return min(max(share_bytes, kind.least_bytes), most_bytes)

    def _free_places(self) -> int:
        request = self._request
        free = self._engine.free_places(
            request.url, request.max_connections, may_borrow=self._may_borrow()
        )
        return min(free, self._most - len(self._running))

    def _may_borrow(self) -> bool:
        """Say whether connections of other processes would help: ours are few, or each is slow.

        Where many are fast, they fill the line, or what this machine can do.
        """
        streams = self._running.values()
        if len(streams) < FEW_STREAMS:
            return True
        now = time.monotonic()
        settled = [
            stream.speed(now)
            for stream in streams
            if stream.began_at is not None and now - stream.began_at > _SETTLED_SECONDS
        ]
        return sum(settled) < SLOW_BYTES_A_SECOND * len(settled)

    def _end(self, future: Future[TransferResult], stream: Stream) -> None:
        """Take a stream's end: what it brought, or what others are to bring in its place."""
        error = future.exception()
        self._last_start = max(self._last_start, _start(stream))
        if error is None:
            self._result = future.result()
        if _has_ended_well(stream, error):
            self._give_back(stream)
        elif self._may_do_without(stream, error):
            self._withdraw_waiting()
            self._most = max(len(self._running), 1)
            self._give_back(stream)
            self._extend_the_last()
        else:
            self.has_changed = isinstance(stream, Piece) and stream.has_changed
            raise stream.refusal or error or self._truncated(stream)

    def _truncated(self, stream: Stream) -> Truncated:
        url = redact_url(self._request.url)
        return Truncated(f"{url}: expected the bytes up to {stream.end}, got {stream.position}")

    def _may_do_without(self, stream: Stream, error: BaseException | None) -> bool:
        """Say whether a server refused a stream of which nothing came, for there were others.

        Then they bring its range, too, or one does that comes after them: it may allow fewer
        connections, or send no ranges after all.
        """
        if not isinstance(stream, Piece) or stream.has_begun or stream.has_changed:
            return False
        is_refused = isinstance(error, TransferError) or stream.refusal is not None
        return is_refused and (bool(self._running) or not stream.is_alone)

    def _give_back(self, stream: Stream) -> None:
        """Have others bring what a stream left out; it may have been told of more too late."""
        if stream.end is not None and stream.position < stream.end:
            self._missing = sorted([*self._missing, (stream.position, stream.end)])

    def _withdraw_waiting(self) -> None:
        """Take back pieces that have no place yet: there may be fewer places than there were."""
        for future, stream in list(self._running.items()):
            if isinstance(stream, Piece) and future.cancel():
                del self._running[future]
                self._give_back(stream)

    def _extend_the_last(self) -> None:
        """Let the only stream that is left go on, where its answer does: that needs no range."""
        streams = list(self._running.values())
        if len(streams) != 1 or not streams[0].is_open:
            return
        while self._missing and self._missing[0][0] == streams[0].end:
            streams[0].end = self._missing.pop(0)[1]

    def _abandon(self) -> None:
        """End the other streams; what came of them is kept."""
        cancellation = self._request.cancellation
        if isinstance(cancellation, _Ending):
            cancellation.end()
        for stream in self._running.values():
            stream.is_abandoned = True
        wait(self._running)

    def _whole(self, seconds: float) -> TransferResult:
        """Return the result of all streams together.

        Raises:
            TransferError: something is missing.
        """
        size_bytes = self.size_bytes or 0
        holes = self._part.holes(size_bytes)
        if holes:
            raise Truncated(f"expected all of {size_bytes} bytes, but {holes} did not come")
        result = self._result
        return TransferResult(
            status=result.status if result else PARTIAL,
            received_bytes=size_bytes,
            announced_bytes=size_bytes,
            ends_by_close=False,
            modified_at=(result.modified_at if result else None) or self._modified_at(),
            effective_url=result.effective_url if result else self._request.url,
            content_type=result.content_type if result else None,
            seconds=seconds,
        )

    def _modified_at(self) -> datetime | None:
        """Return the time in an MDTM reply, where no stream came to its own end."""
        try:
            told = f"{(self._version.modified or '')[:14]} +0000"
            return datetime.strptime(told, "%Y%m%d%H%M%S %z")
        except ValueError:
            return None


def _start(stream: Stream) -> tuple[float, float]:
    """Return when a stream began, and how long after it was asked for; zeros: it has not."""
    if stream.began_at is None:
        return 0.0, 0.0
    # The first one may have waited for a place; others are asked for where there is one.
    return stream.began_at, stream.began_at - max(stream.submitted_at, stream.asked_at)


def _has_ended_well(stream: Stream, error: BaseException | None) -> bool:
    """Say whether a stream brought all that it was to bring.

    One whose end was moved to where it stood may fail before it can tell that it has stopped.
    """
    if stream.has_stopped or not stream.is_at_its_end:
        return stream.has_stopped
    is_told_to_end = stream.end is not None and stream.refusal is None
    return error is None or (is_told_to_end and isinstance(error, TransferError))


class _Ending(Cancellation):
    """The order to end a job, or the streams of one of its files."""

    def __init__(self, job: Cancellation | None) -> None:
        super().__init__()
        self._job = job
        self._is_ended = False

    def end(self) -> None:
        """End the streams."""
        self._is_ended = True

    def is_ordered(self) -> bool:
        return self._is_ended or (self._job is not None and self._job.is_ordered())
