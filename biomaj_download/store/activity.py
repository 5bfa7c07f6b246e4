"""What people want to see of the service: what consumers are at, and what sessions came to.

It is told about once a second, many files at a time, beside the road of the messages: what is lost
of it costs a look, never a file. All of it is bounded, and goes with its session.
Counts of settled messages are those of `Store.progress`; bytes and names are told here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, ConfigDict

#: A consumer that said nothing for so long is not shown any more.
PULSE_SECONDS = 10
#: The speed is kept in steps of so many seconds, for an hour.
BUCKET_SECONDS = 10
BUCKETS = 360
#: So many ended files of a session are remembered, and so many of those that failed.
MOST_ENDED = 100_000
MOST_FAILED = 10_000
#: A search looks through so many at a time, newest first.
MOST_SEARCHED = 20_000
#: Errors of all sessions are looked for in so many sessions, newest first.
MOST_SESSIONS_SEARCHED = 100

State = Literal["done", "failed"]


class Shown(BaseModel):
    """A value that travels as JSON."""

    model_config = ConfigDict(frozen=True)


class RunningFile(Shown):
    """A file on its way; `size_bytes` None: unknown."""

    bank: str
    session: str
    name: str
    host: str
    protocol: str
    attempt: int
    received_bytes: int
    size_bytes: int | None
    bytes_per_second: float
    begun_at: datetime
    consumer: str


class HostState(Shown):
    """What a consumer's process knows of a server.

    `limit`: how many connections it is given now; `configured`: while it refuses nothing.
    `paused_seconds` 0: it did not ask for a pause.
    """

    name: str
    consumer: str
    limit: int
    configured: int
    connections: int
    waiting: int
    paused_seconds: float


class Consumer(Shown):
    """A process that works on messages; `slots`: on so many at once."""

    name: str
    host: str
    process_id: int
    slots: int
    running: int
    started_at: datetime
    seen_at: datetime


class Queued(Shown):
    """How many messages of a session a consumer has at hand and has not begun."""

    bank: str
    session: str
    waiting: int
    running: int


class Pulse(Shown):
    """All that a consumer's process says of itself."""

    consumer: Consumer
    running: tuple[RunningFile, ...] = ()
    hosts: tuple[HostState, ...] = ()
    queued: tuple[Queued, ...] = ()


class EndedFile(Shown):
    """A file that came or failed; `code` and `error` None: it came."""

    bank: str
    session: str
    name: str
    host: str
    state: State
    size_bytes: int
    seconds: float
    ended_at: datetime
    code: str | None = None
    error: str | None = None

    def fits(self, search: str) -> bool:
        """Say whether a text, in any case, is part of its name, host, code or error."""
        texts = (self.name, self.host, self.code, self.error)
        return any(search.casefold() in text.casefold() for text in texts if text)


class Session(Shown):
    """An open session; `expected` None: nobody said how many files are wanted."""

    bank: str
    session: str
    opened_at: datetime | None
    changed_at: datetime | None
    expected: int | None
    done: int
    failed: int
    received_bytes: int


class Page(Shown):
    """Some of many; `total` None: a search does not count; `next_offset` None: these are the last.

    A search may return few, or none, and say where to go on.
    """

    files: tuple[EndedFile, ...]
    total: int | None
    next_offset: int | None


SessionKey = tuple[str, str]


class Activity(ABC):
    """Any thread may call any method.

    Raises:
        StoreError: from any method, when the store cannot be reached.
    """

    @abstractmethod
    def tell(
        self, pulse: Pulse, ended: Sequence[EndedFile], moved: Mapping[SessionKey, int]
    ) -> None:
        """Remember what a consumer is at, and what ended and moved (bytes) since it last told.

        What belongs to no open session counts for the speed alone.
        """

    @abstractmethod
    def forget_consumer(self, name: str) -> None:
        """Forget a consumer that ends."""

    @abstractmethod
    def expect(self, bank: str, session: str, files: int) -> None:
        """Remember how many files are wanted in an open session."""

    @abstractmethod
    def sessions(self, bank: str | None, *, offset: int, limit: int) -> tuple[list[Session], int]:
        """Return open sessions, newest first, of one bank or all, and how many there are."""

    @abstractmethod
    def session(self, bank: str, session: str) -> Session | None:
        """Return one open session."""

    @abstractmethod
    def files(
        self, bank: str, session: str, *, state: State | None, search: str, offset: int, limit: int
    ) -> Page:
        """Return ended files of a session, newest first."""

    @abstractmethod
    def errors(self, *, bank: str | None, search: str, offset: int, limit: int) -> Page:
        """Return the files that failed in all open sessions, newest first."""

    @abstractmethod
    def pulses(self) -> list[Pulse]:
        """Return what the consumers said last."""

    @abstractmethod
    def speed(self) -> list[int]:
        """Return the bytes of each bucket of the last hour, oldest first."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


def bucket_now() -> int:
    """Return the number of the running bucket."""
    return int(time.time()) // BUCKET_SECONDS


def instant(seconds: float | None) -> datetime | None:
    """Return the time of seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def page(found: Sequence[EndedFile], offset: int, limit: int) -> Page:
    """Return a page of what was all looked through."""
    more = len(found) > offset + limit
    return Page(
        files=tuple(found[offset : offset + limit]),
        total=len(found),
        next_offset=offset + limit if more else None,
    )
