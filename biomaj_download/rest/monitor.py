"""All that people see of the service, put together of store and broker, once a second at most."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, NamedTuple

from pydantic import BaseModel

from biomaj_download.broker.depth import DepthGauge
from biomaj_download.errors import StoreError
from biomaj_download.rest.shapes import (
    Overview,
    QueueState,
    SeenSession,
    SessionDetail,
    Sessions,
    Speed,
)
from biomaj_download.store.activity import Activity, Pulse, Queued, RunningFile, Session, SessionKey

#: How much an overview holds; there are routes for the rest.
MOST_SESSIONS = 100
MOST_RUNNING = 200
MOST_ERRORS = 20
MOST_HOSTS = 100
#: So long an overview is good for all who ask.
FRESH_SECONDS = 0.9


#: What differs in an overview although nothing happened.
_OF_THE_MOMENT: Mapping[str, Any] = {"time": True, "consumers": {"__all__": {"seen_at"}}}


class Told(NamedTuple):
    """A look as text, and what of it is new when something happened."""

    text: str
    news: str


class Monitor:
    """Looks for all who ask; any thread may call.

    Raises:
        StoreError: from any method but `queue`, when the store cannot be reached.
    """

    def __init__(self, activity: Activity, gauge: DepthGauge) -> None:
        self._activity = activity
        self._gauge = gauge
        self._lock = threading.Lock()
        self._made_at = -FRESH_SECONDS
        self._overview = Told("", "")
        self._failure: str | None = None

    def overview(self) -> Told:
        """Return an overview of a moment ago."""
        with self._lock:
            if time.monotonic() - self._made_at >= FRESH_SECONDS:
                try:
                    self._overview, self._failure = _told(self._look(), _OF_THE_MOMENT), None
                except StoreError as error:  # those that wait need not each wait for the store
                    self._failure = str(error)
                self._made_at = time.monotonic()
            if self._failure is not None:
                raise StoreError(self._failure)
            return self._overview

    def session_told(self, bank: str, session: str) -> Told | None:
        """Return one session as text; None: it is not open."""
        found = self.session(bank, session)
        return None if found is None else _told(found, {})

    def queue(self) -> QueueState:
        """Return what the broker told last."""
        return QueueState(**asdict(self._gauge.latest()))

    def sessions(self, bank: str | None, *, offset: int, limit: int) -> Sessions:
        """Return a page of sessions."""
        found, total = self._activity.sessions(bank, offset=offset, limit=limit)
        return Sessions(sessions=_seen(found, self._activity.pulses()), total=total)

    def session(self, bank: str, session: str) -> SessionDetail | None:
        """Return one session; None: it is not open."""
        found = self._activity.session(bank, session)
        if found is None:
            return None
        pulses = self._activity.pulses()
        (seen,) = _seen([found], pulses)
        running = [file for file in _running(pulses) if _key(file) == (bank, session)]
        return SessionDetail(**seen.model_dump(), running_files=running)

    def _look(self) -> Overview:
        pulses = self._activity.pulses()
        found, total = self._activity.sessions(None, offset=0, limit=MOST_SESSIONS)
        running = _running(pulses)
        hosts = [host for pulse in pulses for host in pulse.hosts]
        hosts.sort(key=lambda host: (-host.connections, -host.waiting, host.name, host.consumer))
        errors = self._activity.errors(bank=None, search="", offset=0, limit=MOST_ERRORS)
        return Overview(
            time=datetime.now(timezone.utc),
            sessions=_seen(found, pulses),
            sessions_total=total,
            running=running[:MOST_RUNNING],
            running_total=sum(pulse.consumer.running for pulse in pulses),
            hosts=hosts[:MOST_HOSTS],
            consumers=[pulse.consumer for pulse in pulses],
            errors=list(errors.files),
            queue=self.queue(),
            speed=Speed(bytes=self._activity.speed()),
        )


def _told(look: BaseModel, of_the_moment: Mapping[str, Any]) -> Told:
    return Told(look.model_dump_json(), look.model_dump_json(exclude=dict(of_the_moment)))


def _key(of: RunningFile | Session | Queued) -> SessionKey:
    return (of.bank, of.session)


def _running(pulses: Sequence[Pulse]) -> list[RunningFile]:
    """Return what runs, the oldest first."""
    files = [file for pulse in pulses for file in pulse.running]
    return sorted(files, key=lambda file: (file.begun_at, file.name))


def _seen(sessions: Sequence[Session], pulses: Sequence[Pulse]) -> list[SeenSession]:
    """Join sessions with what their consumers say."""
    waiting: Counter[SessionKey] = Counter()
    running: Counter[SessionKey] = Counter()
    for queued in (each for pulse in pulses for each in pulse.queued):
        waiting[_key(queued)] += queued.waiting
        running[_key(queued)] += queued.running
    speed: Counter[SessionKey] = Counter()
    left_bytes: Counter[SessionKey] = Counter()
    for file in _running(pulses):
        key = _key(file)
        speed[key] += round(file.bytes_per_second)
        left_bytes[key] += max((file.size_bytes or 0) - file.received_bytes, 0)
    return [
        _joined(session, waiting[key], running[key], speed[key], left_bytes[key])
        for session in sessions
        for key in [_key(session)]
    ]


def _joined(
    session: Session, at_hand: int, running: int, speed: int, left_bytes: int
) -> SeenSession:
    ended = session.done + session.failed
    waiting = at_hand
    if session.expected is not None:
        waiting = max(session.expected - ended - running, at_hand)
    return SeenSession(
        **session.model_dump(),
        waiting=waiting,
        running=running,
        bytes_per_second=speed,
        seconds_left=_seconds_left(session, waiting, speed, left_bytes),
    )


def _seconds_left(session: Session, waiting: int, speed: int, left_bytes: int) -> float | None:
    """Return the longer of two guesses: files at their pace, and the rest of what runs at its own.

    None: nobody said how many files there are, or too little is known.
    """
    ended = session.done + session.failed
    if session.expected is None or session.opened_at is None or session.changed_at is None:
        return None
    if session.expected <= ended:
        return 0.0
    passed_seconds = (session.changed_at - session.opened_at).total_seconds()
    guesses = []
    if ended and passed_seconds > 0:
        guesses.append((session.expected - ended) * passed_seconds / ended)
    if speed and left_bytes:
        guesses.append(left_bytes / speed)
    return round(max(guesses), 1) if guesses and (ended or not waiting) else None
