"""How many requests may keep their thread for long, so that there is always one for all else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore


class Seats:
    """Places for requests that keep their thread for long."""

    def __init__(self, number: int) -> None:
        self._free = BoundedSemaphore(number)

    def take(self) -> bool:
        """Take a place; False: there is none."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Leave a place that was taken."""
        self._free.release()

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Take a place for a while, and say whether there was one."""
        is_seated = self.take()
        try:
            yield is_seated
        finally:
            if is_seated:
                self.give_back()
