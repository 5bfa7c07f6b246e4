"""How the processes of a consumer show each other that they live, and have their broker."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import MutableSequence


class Beats:
    """When each process started and its loop last turned, by the clock that they share.

    0: it did not. A lock could be lost with a process that dies: they share plain memory.
    """

    def __init__(
        self,
        started_at: MutableSequence[float],
        turned_at: MutableSequence[float],
        connected: MutableSequence[int],
    ) -> None:
        self._started_at = started_at
        self._turned_at = turned_at
        self._connected = connected

    @classmethod
    def of_one(cls) -> Beats:
        """Return those of a single process."""
        return cls([0.0], [0.0], [0])

    @classmethod
    def shared(cls, number: int) -> Beats:
        """Return those of so many processes, which the one that calls forks."""
        context = multiprocessing.get_context("fork")
        return cls(
            context.RawArray("d", number),
            context.RawArray("d", number),
            context.RawArray("b", number),
        )

    def beat(self, index: int, *, is_connected: bool) -> None:
        """Note that a process lives."""
        self._turned_at[index] = time.monotonic()
        self._connected[index] = is_connected

    def forget(self, index: int) -> None:
        """Note that a process starts."""
        self._started_at[index] = time.monotonic()
        self._turned_at[index] = self._connected[index] = 0

    def has_begun(self, index: int) -> bool:
        """Say whether a process has shown that it lives."""
        return bool(self._turned_at[index])

    def all_have_begun(self) -> bool:
        """Say whether each process has shown that it lives."""
        return all(self._turned_at)

    def all_are_connected(self) -> bool:
        """Say whether each process had its broker when its loop last turned."""
        return all(self._connected)

    def silent(self, seconds: float) -> dict[int, float]:
        """Return the processes that have shown nothing for longer, and for how many seconds.

        One whose loop has not turned yet is silent since it started.
        """
        now = time.monotonic()
        shown_at = map(max, self._started_at, self._turned_at)
        silent = {index: now - at for index, at in enumerate(shown_at) if at}
        return {index: since for index, since in silent.items() if since > seconds}
