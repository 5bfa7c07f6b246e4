"""How far a job is: written by the thread that works on it, read by the one that tells of it."""

from __future__ import annotations

from typing import Protocol


class Arriving(Protocol):
    """A file on its way; any thread may ask."""

    #: What an earlier attempt left, and this one goes on from.
    resumed_bytes: int

    def present_bytes(self) -> int:
        """Return how much of it is there."""


class Meter:
    """The file that a job is at, and the bytes that it moved by now.

    `size_bytes` 0: unknown. `attempt` counts from 1; 0: no file is begun.
    """

    def __init__(self) -> None:
        self.name = ""
        self.attempt = 0
        self.size_bytes = 0
        self._part: Arriving | None = None
        self._moved_bytes = 0

    def begin(self, name: str, size_bytes: int, part: Arriving) -> None:
        """Note that an attempt at a file begins."""
        self.attempt = self.attempt + 1 if name == self.name else 1
        self.name, self.size_bytes, self._part = name, size_bytes, part

    def end(self) -> None:
        """Note that the attempt ends, while the part still knows what came."""
        part, self._part = self._part, None
        if part is not None:
            self._moved_bytes += _moved(part)

    def present_bytes(self) -> int:
        """Return how much of the file is there; 0: nothing, or no attempt runs."""
        part = self._part
        return 0 if part is None else part.present_bytes()

    def moved_bytes(self) -> int:
        """Return how many bytes came in all attempts at all files."""
        part = self._part
        return self._moved_bytes + (0 if part is None else _moved(part))


def _moved(part: Arriving) -> int:
    return max(part.present_bytes() - part.resumed_bytes, 0)
