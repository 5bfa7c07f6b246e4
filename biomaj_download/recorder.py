"""Record outcomes: many in one round trip to the store, and each message acknowledged after.

In: what each message came to, from any thread.  Out: outcomes in the store, counted exactly once,
and then, last of all, the acknowledgements.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from biomaj_download.broker.base import Broker, Delivery
from biomaj_download.publish import sync_directories
from biomaj_download.store.base import Outcome, Store
from biomaj_download.store.patience import Stopped, patiently

log = logging.getLogger("biomaj.download.recorder")

#: An outcome waits so long for others to share its round trip; longer where many came together.
GATHER_SECONDS = 0.005
GATHER_MANY_SECONDS = 0.02
MANY = 5


class Ended(NamedTuple):
    """A message that was worked on, what it came to, and where its files were published."""

    broker: Broker
    delivery: Delivery
    outcome: Outcome
    changed_directories: frozenset[Path]


class Recorder:
    """Stores outcomes and acknowledges their messages, on a thread of its own.

    `record` may be called from any thread, and returns at once.
    """

    def __init__(self, store: Store, stopping: threading.Event) -> None:
        self._store = store
        self._stopping = stopping
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, ended: Ended) -> None:
        """Have an outcome stored and its message acknowledged, soon."""
        self._ended.put(ended)

    def close(self) -> None:
        """Record what is left; return when it is stored, or given back while stopping."""
        self._ended.put(None)
        self._thread.join()

    def _run(self) -> None:
        batch: list[Ended] = []
        while (first := self._ended.get()) is not None:
            time.sleep(GATHER_SECONDS if len(batch) < MANY else GATHER_MANY_SECONDS)
            batch = [first]
            with suppress(Empty):
                while (ended := self._ended.get_nowait()) is not None:
                    batch.append(ended)
                self._ended.put(None)  # closing: seen again after this batch
            self._record(batch)

    def _record(self, batch: list[Ended]) -> None:
        outcomes = [ended.outcome for ended in batch]
        try:
            sync_directories(frozenset().union(*(ended.changed_directories for ended in batch)))
            patiently(lambda: self._store.settle_many(outcomes), self._stopping)
        except Stopped:
            _give_back(batch)
        except Exception:  # the thread must not end: no message would be settled any more
            log.exception("outcomes not stored, messages given back number=%d", len(batch))
            _give_back(batch)
        else:
            for ended in batch:
                ended.broker.accept(ended.delivery)


def _give_back(batch: list[Ended]) -> None:
    for ended in batch:
        ended.broker.requeue(ended.delivery)
