"""What a job came to, and what an error makes of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from biomaj_download.admission import Task
from biomaj_download.cancellation import Why
from biomaj_download.download.filedict import FileDict
from biomaj_download.errors import Cancelled, DownloadError
from biomaj_download.job import Job
from biomaj_download.store.base import Outcome
from biomaj_download.store.patience import Stopped
from biomaj_download.text import without_account
from biomaj_download.verified import Verified

log = logging.getLogger("biomaj.download.result")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job came to."""

    files: Sequence[FileDict] = ()
    error: DownloadError | None = None
    #: What a LIST stores.
    file_list: bytes | None = None
    #: To be published before the rest.
    unpublished: Verified | None = None
    #: To be synced before the outcome is stored.
    changed_directories: frozenset[Path] = frozenset()


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


def failure(job: Job | None, error: DownloadError, why: Why | None) -> Result:
    """Return what an error makes of a job; `why`: it was to end.

    Raises:
        Stopped: its message is to go back to the queue.
    """
    bank, server = ("", "") if job is None else (job.bank, without_account(job.server))
    if not isinstance(error, Cancelled):
        log.error("failed bank=%s code=%s error=%s", bank, error.code, error)
        return Result(error=error)
    if why is not Why.UNWANTED:
        raise Stopped from error
    return Result(error=Cancelled(f"{server}: {error}"))
