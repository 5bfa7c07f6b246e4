"""The order to end a job, given by one thread and obeyed by all that the job waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum

from biomaj_download.errors import Cancelled


class Why(Enum):
    """Why a job is to end; it decides what becomes of the bytes that came."""

    STOPPING = "the process is stopping"
    UNWANTED = "the download was cancelled"
    TAKEN = "another consumer writes this file"


def _nothing() -> None:
    """Order nothing."""


class Cancellation:
    """An order to end that may come at any time; usable from any thread."""

    def __init__(self) -> None:
        self._ordered = threading.Event()
        self._why = Why.STOPPING
        self._is_taken = False
        #: Asked once before a file is published: may order the end.
        self.look: Callable[[], object] = _nothing

    def order(self, why: Why) -> None:
        """Have the job end; the first order counts, unless another one has the file by now."""
        if why is Why.TAKEN:
            self._is_taken = True
            self._ordered.set()
        elif not self._ordered.is_set():
            self._why = why
            self._ordered.set()

    def is_ordered(self) -> bool:
        """Say whether the job is to end."""
        return self._ordered.is_set()

    @property
    def why(self) -> Why | None:
        """Return why the job is to end; None: it goes on."""
        if not self._ordered.is_set():
            return None
        return Why.TAKEN if self._is_taken else self._why

    def check(self) -> None:
        """Return if the job goes on.

        Raises:
            Cancelled: it is to end.
        """
        if (why := self.why) is not None:
            raise Cancelled(why.value)

    def check_ours(self) -> None:
        """Return if a file that is here may still be published; to be asked after `look`.

        A process that stops may do so: it takes a moment.

        Raises:
            Cancelled: it may not.
        """
        if self.why is not Why.STOPPING:
            self.check()

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the job goes on."""
        self._ordered.wait(seconds)
