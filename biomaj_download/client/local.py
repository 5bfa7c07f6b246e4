"""Download in this process, with a few threads.

In: operations.  Out: files in their directories, and whether one failed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Thread
from uuid import uuid4

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.client.base import Downloads
from biomaj_download.client.cancelling import CancelFlag
from biomaj_download.errors import Cancelled, DownloadError
from biomaj_download.job import Job
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import job_of
from biomaj_download.store.base import Progress
from biomaj_download.worker import open_downloader

log = logging.getLogger("biomaj.download.client")

#: The cancel flag is looked at so often, and after each file.
LOOK_SECONDS = 1.0


class LocalDownloads(Downloads):
    """Files that this process downloads; who calls is not one of the threads that do.

    Those threads do not keep a process alive: what they were at stays behind as `.part` files.
    """

    def __init__(self, cancel_flag: CancelFlag, *, at_once: int | None = None) -> None:
        super().__init__(at_once=at_once)
        self._cancel_flag = cancel_flag
        self._bank = ""
        self._forget()

    def open(self, bank: str, url: str | None) -> str:
        """Begin a session of this process."""
        self._forget()
        self._bank = bank
        return str(uuid4())

    def submit(self, operations: Sequence[wire.Operation]) -> None:
        """Keep requests for `wait`."""
        self._waiting.extend([job_of(operation) for operation in operations])
        self._submitted += len(operations)

    def progress(self) -> Progress:
        """Return how many files are done, and how many of them failed."""
        return Progress(self._done, self._errors)

    def wait(self) -> bool:
        """Download what waits, with `at_once` threads."""
        number = min(self.at_once or len(self._waiting), len(self._waiting))
        work = (self._waiting, self._running, self._outcomes)
        try:
            for _ in range(number):
                Thread(target=_download_all, args=work, name="download", daemon=True).start()
            while self._done < self._submitted:
                self._cancel_flag.check(self._bank)
                self._take_note()
        except Cancelled:
            self._waiting.clear()  # before a thread that is ended takes the next one
            for cancellation in list(self._running):
                cancellation.order(Why.UNWANTED)
            raise
        finally:
            self._waiting.clear()
        return self._errors > 0

    def clean(self) -> None:
        """Forget what has not started."""
        self._forget()

    def close(self) -> None:
        """Forget what has not started; a file that is under way may still arrive."""
        self._forget()

    def _forget(self) -> None:
        self._running: set[Cancellation] = set()
        self._waiting: deque[Job] = deque()
        self._outcomes: SimpleQueue[bool] = SimpleQueue()
        self._submitted = 0
        self._done = 0
        self._errors = 0

    def _take_note(self) -> None:
        try:
            is_there = self._outcomes.get(timeout=LOOK_SECONDS)
        except Empty:
            return
        self._done += 1
        self._errors += not is_there


def _download_all(
    waiting: deque[Job], running: set[Cancellation], outcomes: SimpleQueue[bool]
) -> None:
    """Download until nothing waits; runs in a thread of its own."""
    while True:
        try:
            job = waiting.popleft()
        except IndexError:
            return
        outcomes.put(_download(job, running))


def _download(job: Job, running: set[Cancellation]) -> bool:
    """Download the files of a request; say whether they are there."""
    try:
        with closing(open_downloader(job)) as downloader:
            running.add(downloader.cancellation)
            try:
                downloader.download(str(job.local_dir))
            finally:
                running.discard(downloader.cancellation)
    except DownloadError as error:
        log.error("download failed bank=%s: %s", job.bank, error)
        return False
    except Exception:  # a downloader may be anybody's; its file failed, and BioMAJ waits for it
        log.exception("download failed bank=%s: unexpectedly", job.bank)
        return False
    return True
