"""Limits per host for what libcurl does not move: rsync's programs, iRODS' connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from biomaj_download.cancellation import Cancellation

#: Who waits looks so often whether it is to wait on.
LOOK_SECONDS = 1.0


class Turns:
    """Lets so many at once through to each host; may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def turn(self, host: str, cancellation: Cancellation, *, most: int) -> Iterator[None]:
        """Wait until fewer than `most` others are at the host.

        Raises:
            Cancelled: the job ended before.
        """
        with self._changed:
            while self._taken[host] >= most:
                self._changed.wait(LOOK_SECONDS)
                cancellation.check()
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[host] -= 1
                self._changed.notify_all()
