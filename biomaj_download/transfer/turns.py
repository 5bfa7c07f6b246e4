"""Limits per host for what libcurl does not move: rsync's programs, iRODS' connections."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets so many at once through to each host; may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def turn(self, host: str, *, most: int) -> Iterator[None]:
        """Wait until fewer than `most` others are at the host."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken[host] < most)
            self._taken[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[host] -= 1
                self._changed.notify_all()
