"""The threads that walk messages down the road, each one message at a time.

In: tasks, in the order in which they arrived.  Out: the same ones, large ones somewhat earlier, so
that one of 100 GB does not begin when all others have ended.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from queue import SimpleQueue

from biomaj_download.admission import Task

#: A message goes ahead of so many others for each doubling of its size. A size has at most 63 of
#: them on the wire, so none is overtaken by more than 63 times as many, whatever arrives; and
#: those of about the same size keep their order.
PLACES_A_DOUBLING = 8


class Crew:
    """A fixed number of threads; `hand_over` may be called from any thread and returns at once.

    They do not keep a process alive: a message whose thread is stuck goes back to the queue.
    """

    def __init__(self, number: int, handle: Callable[[Task], None]) -> None:
        self._handle = handle
        self._numbers = itertools.count()
        #: What waits: place in the order, number of arrival, task; None: a thread is to end.
        self._waiting: list[tuple[float, int, Task | None]] = []
        self._lock = threading.Lock()
        #: One for each that waits. It wakes a thread at a lower price than a PriorityQueue does,
        #: whose conditions are written in Python.
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def hand_over(self, task: Task) -> None:
        """Have a message worked on by the next free thread."""
        number = next(self._numbers)
        self._put((number - _places_ahead(task), number, task))

    def dismiss(self) -> None:
        """Let each thread end after what was handed over before."""
        for _ in self._threads:
            self._put((inf, next(self._numbers), None))

    def wait(self, timeout_seconds: float) -> int:
        """Wait until all have ended, but not longer; return how many have not."""
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return sum(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            self._handle(task)

    def _put(self, entry: tuple[float, int, Task | None]) -> None:
        with self._lock:
            heappush(self._waiting, entry)
        self._tokens.put(None)

    def _next(self) -> Task | None:
        self._tokens.get()
        with self._lock:
            return heappop(self._waiting)[-1]


def _places_ahead(task: Task) -> int:
    """Return how many places its size lets a message go ahead; an unknown size counts as none."""
    files = task.job.files if task.job is not None else ()
    return PLACES_A_DOUBLING * sum(file.size_bytes or 0 for file in files).bit_length()
