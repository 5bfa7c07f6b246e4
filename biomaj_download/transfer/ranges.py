"""Which bytes of a file are there: ranges that do not touch, in their order.

A range is a pair: its first byte, and the one behind its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Ranges:
    """A set of bytes, as ranges."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges: list[Range] = []
        for first, end in ranges:
            self.add(first, end)

    def add(self, first: int, end: int) -> None:
        """Add a range; one that touches others grows together with them."""
        if first >= end:
            return
        apart = []
        for known in self._ranges:
            if known[1] < first or known[0] > end:
                apart.append(known)
            else:
                first, end = min(first, known[0]), max(end, known[1])
        self._ranges = sorted([*apart, (first, end)])

    @property
    def beginning_bytes(self) -> int:
        """Return how many bytes are there before the first hole."""
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 0 else 0

    @property
    def end(self) -> int:
        """Return where the last range ends."""
        return self._ranges[-1][1] if self._ranges else 0

    @property
    def bytes_there(self) -> int:
        """Return how many bytes are there, before and behind holes."""
        return sum(end - first for first, end in self._ranges)

    @property
    def is_scattered(self) -> bool:
        """Say whether there is a hole before the last byte."""
        return self.beginning_bytes < self.end

    def holes(self, size_bytes: int) -> list[Range]:
        """Return what a file of this size lacks."""
        holes, first = [], 0
        for known in (*self._ranges, (size_bytes, size_bytes)):
            if first < min(known[0], size_bytes):
                holes.append((first, min(known[0], size_bytes)))
            first = max(first, known[1])
        return holes

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)
