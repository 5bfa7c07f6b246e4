"""Who wants to hear how a job fares: counters and traces, which the road knows nothing of.

In: the beginning and the end of a job, its files and their attempts, on the thread that works on
them.  Out: what the observer makes of it; it never changes what becomes of a file. A small file is
verified at their end, and published a moment later, with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext


class Observer:
    """Hears of one job; this one makes nothing of it.

    The three contexts lie in each other, and an error that ends one leaves through it.
    """

    def job(self) -> AbstractContextManager[object]:
        """Return what surrounds the job."""
        return nullcontext()

    def file(self, _name: str) -> AbstractContextManager[object]:
        """Return what surrounds a file with all its attempts."""
        return nullcontext()

    def attempt(self) -> AbstractContextManager[object]:
        """Return what surrounds one attempt."""
        return nullcontext()

    def resumed(self, size_bytes: int) -> None:
        """Hear how many bytes of an earlier attempt this one went on from."""


class Observers(Observer):
    """Several observers, each of which hears all."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def job(self) -> AbstractContextManager[object]:
        """Return the surroundings of all."""
        return self._all(lambda observer: observer.job())

    def file(self, name: str) -> AbstractContextManager[object]:
        """Return the surroundings of all."""
        return self._all(lambda observer: observer.file(name))

    def attempt(self) -> AbstractContextManager[object]:
        """Return the surroundings of all."""
        return self._all(lambda observer: observer.attempt())

    def resumed(self, size_bytes: int) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.resumed(size_bytes)

    @contextmanager
    def _all(
        self, surroundings: Callable[[Observer], AbstractContextManager[object]]
    ) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._observers:
                stack.enter_context(surroundings(observer))
            yield
