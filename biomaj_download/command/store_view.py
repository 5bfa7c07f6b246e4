"""Sessions as the store knows them: where the web interface is away, or too old to tell.

Answers as the web interface does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from biomaj_download.broker.opening import open_dead_letters
from biomaj_download.errors import BrokerError, OptionError
from biomaj_download.settings import Settings
from biomaj_download.store.activity import Activity, Pulse, Session
from biomaj_download.store.opening import open_activity, open_store

Facts = dict[str, Any]

_PAGE_ENTRIES = 100


class StoreView:
    """The sessions of the settings' store; for one thread.

    Raises:
        StoreError: from any method, when the store cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._activity: Activity = open_activity(settings)

    def close(self) -> None:
        """Let go of connections."""
        self._activity.close()

    def overview(self) -> Facts:
        """Return all at once, but the number of requests that wait: the store does not know it."""
        found, total = self._activity.sessions(None, offset=0, limit=_PAGE_ENTRIES)
        pulses = self._activity.pulses()
        return {
            "sessions": _joined(found, pulses),
            "sessions_total": total,
            "running_total": sum(pulse.consumer.running for pulse in pulses),
            "consumers": [pulse.consumer.model_dump(mode="json") for pulse in pulses],
            "hosts": [host.model_dump(mode="json") for pulse in pulses for host in pulse.hosts],
            "queue": self.queue(),
        }

    def queue(self) -> Facts:
        """Return the number of dead letters; that of requests the store does not know."""
        try:
            dead_letters: int | None = open_dead_letters(self._settings).count()
            error = None
        except BrokerError as problem:
            dead_letters, error = None, str(problem)
        return {"messages": None, "dead_letters": dead_letters, "error": error}

    def sessions(self, bank: str | None = None) -> list[Facts]:
        """Return the open sessions, newest first."""
        found, _ = self._activity.sessions(bank, offset=0, limit=_PAGE_ENTRIES)
        return _joined(found, self._activity.pulses())

    def session(self, bank: str, session: str) -> Facts:
        """Return one session, with what runs of it.

        Raises:
            OptionError: it is not open.
        """
        found = self._activity.session(bank, session)
        if found is None:
            raise OptionError(f"{bank}/{session}: expected an open session, got none")
        pulses = self._activity.pulses()
        running = [
            file.model_dump(mode="json")
            for pulse in pulses
            for file in pulse.running
            if (file.bank, file.session) == (bank, session)
        ]
        return {**_joined([found], pulses)[0], "running_files": running}

    def failures(self, bank: str, session: str) -> list[Facts]:
        """Return the files that failed, newest first."""
        page = self._activity.files(
            bank, session, state="failed", search="", offset=0, limit=_PAGE_ENTRIES
        )
        return [file.model_dump(mode="json") for file in page.files]

    def cancel(self, bank: str, session: str) -> None:
        """End a session: what runs ends within seconds, what waits never begins."""
        self.session(bank, session)  # an error where there is none
        store = open_store(self._settings)
        try:
            store.delete_session(bank, session)
        finally:
            store.close()


def _joined(sessions: Sequence[Session], pulses: Sequence[Pulse]) -> list[Facts]:
    """Join sessions with what their consumers say."""
    waiting: Counter[tuple[str, str]] = Counter()
    running: Counter[tuple[str, str]] = Counter()
    speed: Counter[tuple[str, str]] = Counter()
    for pulse in pulses:
        for queued in pulse.queued:
            waiting[queued.bank, queued.session] += queued.waiting
            running[queued.bank, queued.session] += queued.running
        for file in pulse.running:
            speed[file.bank, file.session] += round(file.bytes_per_second)
    return [
        session.model_dump(mode="json")
        | {
            "waiting": waiting[session.bank, session.session],
            "running": running[session.bank, session.session],
            "bytes_per_second": speed[session.bank, session.session],
        }
        for session in sessions
    ]
