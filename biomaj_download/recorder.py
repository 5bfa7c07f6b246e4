"""Record outcomes: many in one round trip to the store, and each message acknowledged after.

In: what each message came to, from any thread.  Out: outcomes in the store, counted exactly once,
and then, last of all, the acknowledgements.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from biomaj_download.broker.base import Broker, Delivery
from biomaj_download.errors import PublishError, StoreError
from biomaj_download.outbox import Outbox
from biomaj_download.publish import sync_directories
from biomaj_download.store.base import Outcome, Store
from biomaj_download.store.patience import Stopped, patiently
from biomaj_download.watch import Watch

log = logging.getLogger("biomaj.download.recorder")

#: An outcome waits so long for others to share its round trip; longer where many came together.
GATHER_SECONDS = 0.005
GATHER_MANY_SECONDS = 0.03
MANY = 5


class Ended(NamedTuple):
    """A message that was worked on, what it came to, and where its files were published."""

    broker: Broker
    delivery: Delivery
    outcome: Outcome
    changed_directories: frozenset[Path]


class Recorder:
    """Stores outcomes and acknowledges their messages, on a thread of its own.

    `record` may be called from any thread, and returns at once. `on_recorded` is called after each
    round: files are free that were leased. While the store is away outcomes
    are in the outbox too: what an earlier process could not store is stored first.
    """

    def __init__(
        self,
        store: Store,
        watch: Watch,
        outbox: Outbox,
        stopping: threading.Event,
        *,
        on_recorded: Callable[[], None],
    ) -> None:
        self._store = store
        self._watch = watch
        self._outbox = outbox
        self._stopping = stopping
        self._on_recorded = on_recorded
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
        self._store_what_is_left()
        batch: list[Ended] = []
        while (first := self._ended.get()) is not None:
            time.sleep(GATHER_SECONDS if len(batch) < MANY else GATHER_MANY_SECONDS)
            batch = [first]
            with suppress(Empty):
                while (ended := self._ended.get_nowait()) is not None:
                    batch.append(ended)
                self._ended.put(None)  # closing: seen again after this batch
            self._record(batch)

    def _store_what_is_left(self) -> None:
        """Store what an earlier process of this host could not."""
        outcomes = self._outbox.left()
        if not outcomes:
            return
        try:
            patiently(lambda: self._store.settle_many(outcomes), self._stopping)
        except Stopped:
            return
        except Exception:  # the thread must not end: no message would be settled any more
            log.exception("outcomes of an earlier process not stored number=%d", len(outcomes))
            return
        self._outbox.remove(outcomes)
        log.info("outcomes of an earlier process stored number=%d", len(outcomes))

    def _record(self, batch: list[Ended]) -> None:
        try:
            batch = _synced(batch)
            outcomes = [ended.outcome for ended in batch]
            self._watch.let_go(outcome.message for outcome in outcomes)
            self._settle(outcomes)
        except Stopped:
            self._give_back(batch)
        except Exception:  # the thread must not end: no message would be settled any more
            log.exception("outcomes not stored, messages given back number=%d", len(batch))
            self._give_back(batch)
        else:
            for ended in batch:
                ended.broker.accept(ended.delivery)
        self._on_recorded()

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes; those that cannot be stored now are kept, should the process end."""
        try:
            self._store.settle_many(outcomes)
        except StoreError:
            self._outbox.put(outcomes)
            patiently(lambda: self._store.settle_many(outcomes), self._stopping)
            self._outbox.remove(outcomes)

    def _give_back(self, batch: list[Ended]) -> None:
        """Put messages back on the queue, and free their files for who gets them next."""
        self._watch.free([ended.outcome.message for ended in batch])
        for ended in batch:
            ended.broker.requeue(ended.delivery)


def _synced(batch: list[Ended]) -> list[Ended]:
    """Have the new names outlive a power cut; what the disk does not keep has failed.

    Each directory is synced once: after an error, a second time may well say that all is there.

    Raises:
        PublishError: this process could not ask the disk.
    """
    failed: dict[Path, PublishError] = {}
    for path in frozenset().union(*(ended.changed_directories for ended in batch)):
        try:
            sync_directories([path])
        except PublishError as error:
            if getattr(error.__cause__, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise
            log.error("directory not synced error=%s", error)
            failed[path] = error
    return [_judged(ended, failed) for ended in batch] if failed else batch


def _judged(ended: Ended, failed: Mapping[Path, PublishError]) -> Ended:
    errors = [failed[path] for path in ended.changed_directories if path in failed]
    if not errors:
        return ended
    return ended._replace(outcome=replace(ended.outcome, error=str(errors[0])))
