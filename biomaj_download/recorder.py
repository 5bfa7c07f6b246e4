"""Record outcomes: many in one round trip to the store, and each message acknowledged after.

In: what each message came to, from any thread.  Out: small files published, many at a time;
outcomes in the store, counted exactly once; and then, last of all, the acknowledgements.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from biomaj_download.activity import Teller
from biomaj_download.admission import Task
from biomaj_download.errors import PublishError, StoreError
from biomaj_download.flush import MOST_AT_ONCE, Flusher
from biomaj_download.outbox import Outbox
from biomaj_download.publish import sync_directories
from biomaj_download.reporting import Reporter
from biomaj_download.result import Result, failure
from biomaj_download.store.base import Outcome, Store
from biomaj_download.store.patience import Stopped, patiently
from biomaj_download.verified import publish_all
from biomaj_download.watch import Watch

log = logging.getLogger("biomaj.download.recorder")

#: An outcome waits so long for others to share its round trip; longer where many came together.
GATHER_SECONDS = 0.005
GATHER_MANY_SECONDS = 0.03
MANY = 5


class Ended(NamedTuple):
    """A message that was worked on, and what it came to."""

    task: Task
    result: Result

    def outcome(self) -> Outcome:
        """Return what the store is told."""
        error = self.result.error
        return Outcome(
            message=self.task.message,
            error=None if error is None else str(error),
            files=self.result.file_list,
        )


class Recorder:
    """Publishes what is not yet, stores outcomes, acknowledges their messages; on its own thread.

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
        self._flusher = Flusher()
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, ended: Ended) -> None:
        """Have an outcome stored and its message acknowledged, soon."""
        self._ended.put(ended)

    def has_room(self) -> bool:
        """Say whether a file may be left unpublished: it keeps two descriptors."""
        return self._ended.qsize() < MOST_AT_ONCE

    def tell(self, ended: Ended) -> None:
        """Tell what became of a job."""
        task, result = ended
        if task.job is not None:
            self._reporter.ended(task.job, result.files, result.error)
            self._teller.end(task.message.holder, task.job, result.files, result.error)

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
            batch = self._published(batch)
            batch = _synced(batch)
            for ended in batch:
                self.tell(ended)
            outcomes = [ended.outcome() for ended in batch]
            self._watch.let_go(outcome.message for outcome in outcomes)
            self._settle(outcomes)
        except Stopped:
            self._give_back(batch)
        except Exception:  # the thread must not end: no message would be settled any more
            log.exception("outcomes not stored, messages given back number=%d", len(batch))
            self._give_back(batch)
        else:
            for ended in batch:
                ended.task.broker.accept(ended.task.delivery)
        self._on_recorded()

    def _published(self, batch: list[Ended]) -> list[Ended]:
        """Publish what is not yet; return what came to an end, and give back what may not."""
        unpublished = {
            place: ended.result.unpublished
            for place, ended in enumerate(batch)
            if ended.result.unpublished is not None
        }
        errors = dict(
            zip(
                unpublished,
                publish_all([*unpublished.values()], self._flusher),
                strict=True,
            )
        )
        came_to_an_end: list[Ended] = []
        to_give_back: list[Ended] = []
        for place, ended in enumerate(batch):
            error, job = errors.get(place), ended.task.job
            if error is None or job is None:
                came_to_an_end.append(ended)
                continue
            try:
                result = failure(job, error, unpublished[place].cancellation.why)
            except Stopped:
                to_give_back.append(ended)
            else:
                came_to_an_end.append(Ended(ended.task, result))
        if to_give_back:
            self._give_back(to_give_back)
        return came_to_an_end

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
        for ended in batch:
            self._teller.give_up(ended.task.message.holder)
        self._watch.free([ended.task.message for ended in batch])
        for ended in batch:
            ended.task.broker.requeue(ended.task.delivery)


def _synced(batch: list[Ended]) -> list[Ended]:
    """Have the new names outlive a power cut; what the disk does not keep has failed.

    Each directory is synced once: after an error, a second time may well say that all is there.

    Raises:
        PublishError: this process could not ask the disk.
    """
    failed: dict[Path, PublishError] = {}
    for path in frozenset().union(*(ended.result.changed_directories for ended in batch)):
        try:
            sync_directories([path])
        except PublishError as error:
            if getattr(error.__cause__, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise
            log.error("directory not synced error=%s", error)
            failed[path] = error
    return [_judged(ended, failed) for ended in batch] if failed else batch


def _judged(ended: Ended, failed: Mapping[Path, PublishError]) -> Ended:
    errors = [failed[path] for path in ended.result.changed_directories if path in failed]
    return Ended(ended.task, Result(error=errors[0])) if errors else ended
