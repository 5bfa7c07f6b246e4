"""How fast files come, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from time import monotonic

#: Speed is that of the last seconds: long enough not to jump, short enough to notice a change.
WINDOW_SECONDS = 15.0
FEWEST_SECONDS = 0.3


class Pace:
    """Bytes that came, looked at again and again."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    def look(self, moved_bytes: int) -> None:
        """Note how much came by now, in all."""
        now = monotonic()
        self._looks.append((now, moved_bytes))
        while len(self._looks) > 2 and self._looks[1][0] < now - WINDOW_SECONDS:  # noqa: PLR2004 - first and last
            self._looks.popleft()

    def bytes_per_second(self) -> float:
        """Return the speed of the last seconds; 0 too early to say."""
        (first, before), (last, after) = self._looks[0], self._looks[-1]
        if last - first < FEWEST_SECONDS:
            return 0.0
        return max(0, after - before) / (last - first)

    def seconds_left(self, left_bytes: int | None) -> float | None:
        """Return how long so many bytes will take; None: nobody knows."""
        speed = self.bytes_per_second()
        return left_bytes / speed if left_bytes is not None and speed else None
