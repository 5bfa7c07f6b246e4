"""Publish what small messages brought, many at a time, on a thread for each file system.

In: what each message came to, from any thread.  Out: its file under its final name, and the names
synced; then it is recorded. A file system that hangs, as one of NFS may, keeps its own line waiting
and no other.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from biomaj_download.admission import Task
from biomaj_download.batches import batches
from biomaj_download.errors import PublishError
from biomaj_download.flush import MOST_AT_ONCE, Flusher
from biomaj_download.publish import sync_directories
from biomaj_download.result import Ended, Result, failure
from biomaj_download.store.patience import Stopped
from biomaj_download.verified import publish_all

log = logging.getLogger("biomaj.download.publication")

#: Files that may wait: each keeps its part and its directory open.
MOST_WAITING = MOST_AT_ONCE
#: More file systems than this share the last line.
MOST_LINES = 32
_UNKNOWN_DEVICE = 0
#: After a fault of ours, messages go back so late: they come again at once.
_AGAIN_SECONDS = 1.0


class Publication:
    """Publishes on threads of its own; may be called from any thread.

    `record` is given what came to an end, `give_back` the messages of what did not.
    """

    def __init__(
        self, record: Callable[[Ended], object], give_back: Callable[[Sequence[Task]], object]
    ) -> None:
        self._record = record
        self._give_back = give_back
        self._lock = threading.Lock()
        self._lines: dict[int, SimpleQueue[Ended | None]] = {}
        self._threads: list[threading.Thread] = []
        self._waiting = 0

    def has_room(self) -> bool:
        """Say whether one more file may wait."""
        return self._waiting < MOST_WAITING

    def publish(self, ended: Ended) -> None:
        """Have what a message brought published, and recorded; at once, where it brought nothing.

        Raises:
            RuntimeError: there is no thread more for this user.
        """
        device = _device_of(ended.result)
        if device is None:
            self._record(ended)
            return
        try:
            with self._lock:
                line = self._lines.get(device) or self._line_for(device)
                self._waiting += 1
        except RuntimeError:
            _let_go([ended])
            raise
        line.put(ended)

    def close(self, seconds: float) -> None:
        """Publish what is left; what hangs longer stays, and its message comes again."""
        deadline = time.monotonic() + seconds
        with self._lock:
            lines, threads = list(self._lines.values()), self._threads
            self._lines, self._threads = {}, []
        for line in lines:
            line.put(None)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _line_for(self, device: int) -> SimpleQueue[Ended | None]:
        """Return a new line, if there may be one more; the lock is held."""
        if len(self._threads) == MOST_LINES:
            return list(self._lines.values())[-1]
        line: SimpleQueue[Ended | None] = SimpleQueue()
        thread = threading.Thread(
            target=self._run, args=(line,), name=f"publication-{len(self._threads)}", daemon=True
        )
        thread.start()
        self._threads.append(thread)
        self._lines[device] = line
        return line

    def _run(self, line: SimpleQueue[Ended | None]) -> None:
        flusher = Flusher()
        for batch in batches(line):
            self.publish_batch(batch, flusher)
            with self._lock:
                self._waiting -= len(batch)

    def publish_batch(self, batch: Sequence[Ended], flusher: Flusher) -> None:
        """Publish, and record or give back; never raises."""
        came: Sequence[Ended] = ()
        taken = batch
        try:
            came, taken = _published(batch, flusher)
            came = _synced(came)
        except Exception:  # the thread must not end: nothing would be published any more
            log.exception("not published, messages given back number=%d", len(batch))
            came, taken = (), batch
            _let_go(batch)
            time.sleep(_AGAIN_SECONDS)
        for ended in came:
            self._record(ended)
        if not taken:
            return
        try:
            self._give_back([ended.task for ended in taken])
        except Exception:
            log.exception("messages not given back number=%d", len(taken))


def _let_go(batch: Sequence[Ended]) -> None:
    for ended in batch:
        if ended.result.unpublished is not None:
            with suppress(Exception):  # one that is let go of already needs nothing
                ended.result.unpublished.close()


def _device_of(result: Result) -> int | None:
    """Return the file system on which there is something to do; None: on none."""
    try:
        if result.unpublished is not None:
            return os.fstat(result.unpublished.part.fileno()).st_dev
        for path in result.changed_directories:
            with suppress(FileNotFoundError):  # what is gone needs nothing
                return path.stat().st_dev
    except OSError:  # who publishes will say so
        return _UNKNOWN_DEVICE
    return None


def _published(batch: Sequence[Ended], flusher: Flusher) -> tuple[Sequence[Ended], Sequence[Ended]]:
    """Publish what is not yet; return what came to an end, and what another consumer has."""
    files = [ended.result.unpublished for ended in batch]
    errors = iter(publish_all([file for file in files if file is not None], flusher))
    came: list[Ended] = []
    taken: list[Ended] = []
    for ended, file in zip(batch, files, strict=True):
        error = None if file is None else next(errors)
        if file is None or error is None:
            came.append(ended)
            continue
        try:
            came.append(Ended(ended.task, failure(ended.task.job, error, file.cancellation.why)))
        except Stopped:
            taken.append(ended)
    return came, taken


def _synced(batch: Sequence[Ended]) -> Sequence[Ended]:
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
