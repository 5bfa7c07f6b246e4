"""The threads that walk messages down the road, each one message at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from biomaj_download.admission import Task


class Crew:
    """A fixed number of threads; `hand_over` may be called from any thread and returns at once.

    They do not keep a process alive: a message whose thread is stuck goes back to the queue.
    """

    def __init__(self, number: int, handle: Callable[[Task], None]) -> None:
        self._handle = handle
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def hand_over(self, task: Task) -> None:
        """Have a message worked on by the next free thread."""
        self._tasks.put(task)

    def dismiss(self) -> None:
        """Let each thread end after what was handed over before."""
        for _ in self._threads:
            self._tasks.put(None)

    def wait(self, timeout_seconds: float) -> int:
        """Wait until all have ended, but not longer; return how many have not."""
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return sum(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._handle(task)
