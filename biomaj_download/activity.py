"""Tell what this process is at, about once a second: for people who look on.

In: jobs, as they begin and end, from any thread.  Out: a pulse, the files that ended and
the bytes that moved, for the store; and events, where somebody wants them.
A store that is away costs what was to be told, and nothing else: the road does not wait for it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from operator import attrgetter

from biomaj_download.download.filedict import FileDict, target_name
from biomaj_download.errors import DownloadError, StoreError
from biomaj_download.job import Job, Kind
from biomaj_download.meter import Meter
from biomaj_download.store.activity import (
    Activity,
    Consumer,
    EndedFile,
    HostState,
    Pulse,
    Queued,
    RunningFile,
    SessionKey,
)
from biomaj_download.store.base import Message
from biomaj_download.text import readable, without_account
from biomaj_download.transfer import shared
from biomaj_download.transfer.hosts import Host
from biomaj_download.transfer.outcome import redact

log = logging.getLogger("biomaj.download.activity")

TELL_SECONDS = 1.0
#: So many files, hosts and sessions are told of at once, and so many ended files are kept while
#: the store is away.
MOST_RUNNING = 200
MOST_HOSTS = 100
MOST_QUEUED = 200
MOST_KEPT = 20_000
#: What is told last may take so long.
LAST_SECONDS = 3.0
#: The speed of a file is that of about so many seconds.
_SMOOTHING_SECONDS = 5.0


@dataclass(eq=False, kw_only=True)
class Run:
    """A job on its way; all but `job` and `meter` is the telling thread's.

    `is_told`: its beginning is not news any more.
    """

    job: Job
    meter: Meter = field(default_factory=Meter)
    begun_at: float = field(default_factory=time.time)
    is_told: bool = False
    told_bytes: int = 0
    bytes_per_second: float = 0.0

    def news(self, seconds: float) -> int:
        """Return how many bytes moved since the last time, so many seconds ago."""
        moved = self.meter.moved_bytes()
        new, self.told_bytes = max(moved - self.told_bytes, 0), moved
        weight = min(seconds / _SMOOTHING_SECONDS, 1) if self.bytes_per_second else 1
        self.bytes_per_second += (new / seconds - self.bytes_per_second) * weight
        return new


OnFiles = Callable[[Sequence[RunningFile], Sequence[RunningFile], Sequence[EndedFile]], object]


class Teller:
    """Hears of jobs, from any thread; this one tells nobody."""

    def begin(self, holder: str, job: Job, meter: Meter) -> None:
        """Hear that a job begins; `holder` names its delivery."""

    def end(
        self, holder: str, job: Job, files: Sequence[FileDict], error: DownloadError | None
    ) -> None:
        """Hear what became of a job, which may never have begun."""

    def give_up(self, holder: str) -> None:
        """Hear that a job's message goes back to the queue."""

    def close(self) -> None:
        """Hear that no more comes."""


class ActivityTeller(Teller):
    """Tells on a thread of its own.

    `held`: returns the messages at hand. `on_files`: is given, each time, the files of jobs that
    began since the last time, the running ones that are known by now, and the ended ones.
    """

    def __init__(
        self,
        activity: Activity,
        *,
        slots: int,
        held: Callable[[], Iterable[Message]],
        on_files: OnFiles | None = None,
    ) -> None:
        self._activity = activity
        self._slots = slots
        self._held = held
        self._on_files = on_files
        self._host = socket.gethostname()
        self.name = f"{self._host}:{os.getpid()}"
        self._started_at = _now()
        self._runs: dict[str, Run] = {}
        self._ended: deque[tuple[Run, EndedFile]] = deque(maxlen=MOST_KEPT)
        self._untold: deque[EndedFile] = deque(maxlen=MOST_KEPT)
        self._moved: Counter[SessionKey] = Counter()
        self._told_at = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="activity", daemon=True)
        self._thread.start()

    def begin(self, holder: str, job: Job, meter: Meter) -> None:
        """Tell of a job from now on."""
        self._runs[holder] = Run(job=job, meter=meter)

    def end(
        self, holder: str, job: Job, files: Sequence[FileDict], error: DownloadError | None
    ) -> None:
        """Tell what became of a job."""
        run = self._runs.pop(holder, None) or Run(job=job, is_told=True)
        for file in _ended_files(job, run, files, error):
            self._ended.append((run, file))

    def give_up(self, holder: str) -> None:
        """Tell of a job no more."""
        self._runs.pop(holder, None)

    def close(self) -> None:
        """Tell what is left, and that this process ends; a store that is away is not waited for."""
        self._closing.set()
        self._thread.join(LAST_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(TELL_SECONDS):
            self._tell_safely()
        self._tell_safely()
        with suppress(StoreError):
            self._activity.forget_consumer(self.name)

    def _tell_safely(self) -> None:
        try:
            self._tell()
        except StoreError as error:  # whoever needs the store says so
            log.debug("activity not told error=%s", error)
        except Exception:  # the thread must not end: nobody would see anything any more
            log.exception("activity not told")

    def _tell(self) -> None:
        now = time.monotonic()
        seconds, self._told_at = max(now - self._told_at, 0.001), now
        runs = list(self._runs.items())
        files = [self._ended.popleft() for _ in range(len(self._ended))]
        moving = {id(run): run for run in (*map(_first, files), *map(_run_of, runs))}.values()
        for run in moving:
            moved = run.news(seconds)
            if moved:
                self._moved[run.job.bank, run.job.session] += moved
        ended = [file for _, file in files]
        self._untold.extend(ended)
        running = [(run, self._running(run)) for _, run in islice(runs, MOST_RUNNING)]
        if self._on_files is not None:
            begun = [self._running(run) for run in moving if not run.is_told]
            self._on_files(begun, [file for run, file in running if run.is_told], ended)
            for run in moving:
                run.is_told = True
        told = tuple(self._untold)
        pulse = Pulse(
            consumer=Consumer(
                name=self.name,
                host=self._host,
                process_id=os.getpid(),
                slots=self._slots,
                running=len(runs),
                started_at=self._started_at,
                seen_at=_now(),
            ),
            running=tuple(file for _, file in running),
            hosts=tuple(self._hosts()),
            queued=tuple(self._queued(dict(runs))),
        )
        self._activity.tell(pulse, told, self._moved)
        self._untold.clear()
        self._moved.clear()

    def _running(self, run: Run) -> RunningFile:
        job, meter = run.job, run.meter
        return RunningFile(
            bank=job.bank,
            session=job.session,
            name=_text(_shown(job, meter.name) or _name_of(job)),
            host=_host_of(job),
            protocol=job.protocol,
            attempt=max(meter.attempt, 1),
            received_bytes=meter.present_bytes(),
            size_bytes=meter.size_bytes or None,
            bytes_per_second=round(run.bytes_per_second),
            begun_at=datetime.fromtimestamp(run.begun_at, timezone.utc),
            consumer=self.name,
        )

    def _hosts(self) -> list[HostState]:
        """Return the busiest servers."""
        states = [_state(host, self.name) for host in shared.hosts()]
        states.sort(key=attrgetter("connections", "waiting", "paused_seconds"), reverse=True)
        return states[:MOST_HOSTS]

    def _queued(self, runs: dict[str, Run]) -> Iterable[Queued]:
        """Count what is at hand and not begun, and what runs, by session."""
        running = Counter((run.job.bank, run.job.session) for run in runs.values())
        waiting = Counter(
            (message.bank, message.session)
            for message in self._held()
            if message.holder not in runs
        )
        for bank, session in islice(running | waiting, MOST_QUEUED):
            key = (bank, session)
            yield Queued(bank=bank, session=session, waiting=waiting[key], running=running[key])


def _ended_files(
    job: Job, run: Run, files: Sequence[FileDict], error: DownloadError | None
) -> Iterable[EndedFile]:
    """Return what is told of a job that ended: each file, or its one failure."""
    if error is None and job.kind is Kind.DOWNLOAD:
        for file in files:
            yield _ended(
                job, _shown(job, _told_name(job, file)), file["size"] or 0, file["download_time"]
            )
        return
    seconds = time.time() - run.begun_at
    name = _shown(job, run.meter.name) or _name_of(job)
    if error is None:
        yield _ended(job, name, 0, seconds)
    else:
        yield _ended(job, name, 0, seconds, error=error)


def _ended(
    job: Job, name: str, size_bytes: int, seconds: float, *, error: DownloadError | None = None
) -> EndedFile:
    # Not validated: this stands on the road of each message.
    return EndedFile.model_construct(
        bank=job.bank,
        session=job.session,
        name=_text(name),
        host=_host_of(job),
        state="done" if error is None else "failed",
        size_bytes=size_bytes,
        seconds=round(seconds, 3),
        ended_at=_now(),
        code=None if error is None else error.code,
        error=None if error is None else _text(str(error)),
    )


def _state(host: Host, consumer: str) -> HostState:
    return HostState(
        name=_text(host.name),
        consumer=consumer,
        limit=host.limit,
        configured=host.configured_limit,
        connections=host.connections,
        waiting=len(host.waiting),
        paused_seconds=round(max(host.paused_until - time.monotonic(), 0), 1),
    )


def _host_of(job: Job) -> str:
    """Return a server as the engine names it, and never with an account."""
    server = without_account(job.server)
    return _text(f"{job.protocol.removeprefix('direct')}://{server.rpartition('://')[2]}")


def _name_of(job: Job) -> str:
    if job.kind is Kind.LIST:
        return f"list {job.remote_dir}"
    return _shown(job, job.files[0].name) if job.files else job.remote_dir


def _told_name(job: Job, file: FileDict) -> str:
    """Return what a file is called: by its path, or, where that may be but a question, as here."""
    return target_name(file) if job.protocol.startswith("directhttp") else str(file["name"])


def _shown(job: Job, name: str) -> str:
    """Return a file's name without the query that a web address ends with: it may be a secret."""
    return name.partition("?")[0] if job.protocol.startswith("directhttp") else name


def _text(text: str) -> str:
    """Return text that can be stored, and shown: a file name may be none, or hold an account."""
    return readable(redact(text))


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _run_of(item: tuple[str, Run]) -> Run:
    return item[1]


def _first(item: tuple[Run, EndedFile]) -> Run:
    return item[0]
