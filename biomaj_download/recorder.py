"""Record outcomes: many in one round trip to the store, and each message acknowledged after.

In: what each message came to, from any thread.  Out: outcomes in the store, counted exactly once,
and then, last of all, the acknowledgements.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from biomaj_download.activity import Teller
from biomaj_download.admission import Task
from biomaj_download.batches import batches
from biomaj_download.errors import StoreError
from biomaj_download.outbox import Outbox
from biomaj_download.reporting import Reporter
from biomaj_download.result import Ended
from biomaj_download.store.base import Outcome, Store
from biomaj_download.store.patience import Stopped, patiently
from biomaj_download.watch import Watch

log = logging.getLogger("biomaj.download.recorder")


class Recorder:
    """Stores outcomes and acknowledges their messages, on a thread of its own.

    `record` may be called from any thread, and returns at once. `on_recorded` is called after each
    round: files are free that were leased. While the store is away outcomes are in the outbox too:
    what an earlier process could not store is stored first.
    """

    def __init__(
        self,
        store: Store,
        watch: Watch,
        outbox: Outbox,
        stopping: threading.Event,
        *,
        reporter: Reporter,
        teller: Teller,
        on_recorded: Callable[[], None],
    ) -> None:
        self._store = store
        self._watch = watch
        self._outbox = outbox
        self._stopping = stopping
        self._reporter = reporter
        self._teller = teller
        self._on_recorded = on_recorded
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, ended: Ended) -> None:
        """Have an outcome stored and its message acknowledged, soon."""
        self._ended.put(ended)

    def tell(self, ended: Ended) -> None:
        """Tell what became of a job; who cannot be told keeps no message from its end."""
        task, result = ended
        if task.job is None:
            return
        try:
            self._reporter.ended(task.job, result.files, result.error)
            self._teller.end(task.message.holder, task.job, result.files, result.error)
        except Exception:
            log.exception("not told bank=%s", task.job.bank)

    def close(self) -> None:
        """Record what is left; return when it is stored, or given back while stopping."""
        self._ended.put(None)
        self._thread.join()

    def _run(self) -> None:
        self._store_what_is_left()
        for batch in batches(self._ended):
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
            for ended in batch:
                self.tell(ended)
            outcomes = [ended.outcome() for ended in batch]
            self._watch.let_go(outcome.message for outcome in outcomes)
            self._settle(outcomes)
        except Stopped:
            self.give_back([ended.task for ended in batch])
        except Exception:  # the thread must not end: no message would be settled any more
            log.exception("outcomes not stored, messages given back number=%d", len(batch))
            self.give_back([ended.task for ended in batch])
        else:
            for ended in batch:
                ended.task.broker.accept(ended.task.delivery)
        self._on_recorded()

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes; those that cannot be stored now are kept, should the process end."""
        try:
            self._store.settle_many(outcomes)
        except StoreError:
            self._outbox.put(outcomes)
            patiently(lambda: self._store.settle_many(outcomes), self._stopping)
            self._outbox.remove(outcomes)

    def give_back(self, tasks: Sequence[Task]) -> None:
        """Put messages back on the queue, and free their files for who gets them next."""
        for task in tasks:
            self._teller.give_up(task.message.holder)
        self._watch.free([task.message for task in tasks])
        for task in tasks:
            task.broker.requeue(task.delivery)
