"""What the routes answer, as models: the document is made of them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from biomaj_download.store.activity import (
    BUCKET_SECONDS,
    Consumer,
    EndedFile,
    HostState,
    RunningFile,
    Session,
    Shown,
)


class Said(Shown):
    """A short answer."""

    msg: str


class Probe(Shown):
    """The state of a probe; each check is `ok` or `failing`."""

    status: str
    checks: dict[str, str]


class Opened(Shown):
    """The id of a new session."""

    session: str


class Settled(Shown):
    """How many messages are settled and how many failed; -1: none yet."""

    progress: int
    errors: int
    open: bool


class ErrorTexts(Shown):
    """Error texts, oldest first."""

    error: list[str]


class ListStatus(Shown):
    """Whether a LIST is answered."""

    status: bool


class ListedFiles(Shown):
    """A serialized FileList in base64."""

    files: str


class Accepted(Said):
    """A request that is on the queue."""

    message_id: str


class SeenSession(Session):
    """A session, with what its consumers are at; `seconds_left` None: unknown."""

    waiting: int
    running: int
    bytes_per_second: float
    seconds_left: float | None


class SessionDetail(SeenSession):
    """A session and its files on their way."""

    running_files: list[RunningFile]


class Sessions(Shown):
    """A page of sessions."""

    sessions: list[SeenSession]
    total: int


class Files(Shown):
    """A page of files that ended; `total` None: a search does not count."""

    files: list[EndedFile]
    total: int | None
    next_offset: int | None


class Errors(Shown):
    """A page of files that failed; `total` None: a search does not count."""

    errors: list[EndedFile]
    total: int | None
    next_offset: int | None


class QueueState(Shown):
    """The queue, as the broker tells it; None: it cannot be asked, and `error` says why."""

    messages: int | None = None
    consumers: int | None = None
    dead_letters: int | None = None
    error: str | None = None


class DeadLetterSummary(Shown):
    """A request that can never be worked on; None where it does not tell."""

    id: str
    died_at: str | None
    reason: str
    message_id: str | None
    size_bytes: int
    type: str | None
    bank: str | None
    session: str | None
    protocol: str | None
    server: str | None
    files: list[str | None]
    file_count: int


class Dead(Shown):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterSummary]
    total: int


class Requeued(Shown):
    """The letter that was put back."""

    requeued: str


class Speed(Shown):
    """The bytes that came in each step of the last hour, oldest first."""

    bucket_seconds: int = BUCKET_SECONDS
    bytes: list[int]


class Overview(Shown):
    """All that the page shows."""

    time: datetime
    sessions: list[SeenSession]
    sessions_total: int
    running: list[RunningFile]
    running_total: int
    hosts: list[HostState]
    consumers: list[Consumer]
    errors: list[EndedFile] = Field(description="The newest of all open sessions.")
    queue: QueueState
    speed: Speed
