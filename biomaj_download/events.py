"""Tell whoever listens what becomes of files: events on a topic exchange of RabbitMQ.

In: what began, runs and ended, about once a second, from the thread that tells people.  Out: JSON,
published on a thread of its own. What the broker does not take in time is dropped and counted: no
transfer and no acknowledgement waits for it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from biomaj_download.broker.amqp import server_name
from biomaj_download.broker.exchange import Event, Exchange
from biomaj_download.broker.outage import Outage
from biomaj_download.errors import BrokerError
from biomaj_download.settings import RabbitmqSettings
from biomaj_download.store.activity import EndedFile, RunningFile

log = logging.getLogger("biomaj.download.events")

#: So many events wait for the broker, and of the passing ones, which others follow, so many.
MOST_WAITING = 10_000
MOST_PASSING = 1_000
#: Events in one transaction.
BATCH_EVENTS = 500
#: Heartbeats are served so often: half of the shortest interval that can be set.
IDLE_SECONDS = 0.5
#: What waits in the end has so long.
LAST_SECONDS = 3.0
LONGEST_TEXT_CHARACTERS = 4096

STARTED, PROGRESS, FINISHED, FAILED = "started", "progress", "finished", "failed"


class EventTeller:
    """Publishes on a thread of its own; `tell` returns at once.

    `count` is told how many events were `published` or `dropped`, from either thread.
    """

    def __init__(
        self,
        settings: RabbitmqSettings,
        exchange: str,
        *,
        count: Callable[[str, int], object] = lambda _outcome, _number: None,
    ) -> None:
        self._exchange = Exchange(settings, exchange)
        self._outage = Outage(f"{server_name(settings)} exchange={exchange}")
        self._count = count
        self._waiting: deque[Event] = deque()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def tell(
        self,
        begun: Sequence[RunningFile],
        running: Sequence[RunningFile],
        ended: Sequence[EndedFile],
    ) -> None:
        """Have it published that files began, run, and ended."""
        for file in begun:
            self._put(STARTED, file)
        for file in running:
            self._put(PROGRESS, file, most=MOST_PASSING)
        for end in ended:
            self._put(FINISHED if end.error is None else FAILED, end)
        self._news.set()

    def close(self) -> None:
        """Publish what is left; a broker that is away is not waited for."""
        self._closing.set()
        self._news.set()
        self._thread.join(LAST_SECONDS)
        if self._waiting:
            log.warning("events dropped number=%d", len(self._waiting))

    def _put(self, kind: str, file: RunningFile | EndedFile, *, most: int = MOST_WAITING) -> None:
        if len(self._waiting) >= most:
            self._count("dropped", 1)
        else:
            self._waiting.append(_event(kind, file))

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._news.wait(IDLE_SECONDS):
                self._news.clear()
                self._publish_safely()
            else:
                self._exchange.serve_heartbeats()
        self._publish_safely()
        self._exchange.close()

    def _publish_safely(self) -> None:
        """Publish what waits; what the broker does not take now waits on."""
        try:
            self._publish()
        except BrokerError as error:
            self._closing.wait(self._outage.failed(error, str(error)))
            self._news.set()  # it is tried again
        except Exception:  # the thread must not end: nothing would be told any more
            log.exception("events dropped number=%d", len(self._waiting))
            self._count("dropped", len(self._waiting))
            self._waiting.clear()
            self._exchange.close()  # the next events find a new connection

    def _publish(self) -> None:
        while number := min(len(self._waiting), BATCH_EVENTS):
            self._exchange.publish([self._waiting[index] for index in range(number)])
            self._outage.over()
            for _ in range(number):
                self._waiting.popleft()
            self._count("published", number)


def _event(kind: str, file: RunningFile | EndedFile) -> Event:
    told = file.model_dump(mode="json", exclude={"state"}, exclude_none=True)
    for name in ("name", "error"):
        if name in told:
            told[name] = told[name][:LONGEST_TEXT_CHARACTERS]
    body = json.dumps({"event": kind, **told}).encode()
    return Event(file.bank, kind, body, is_lasting=kind in (FINISHED, FAILED))
