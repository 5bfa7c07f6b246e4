"""Fetches brought home while somebody looks on, until they are here or a signal ends it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from biomaj_download.cancellation import Why
from biomaj_download.command.fetching import Fetch, Fetching
from biomaj_download.command.pace import Pace
from biomaj_download.command.telling import Look, Teller, sum_of_sizes
from biomaj_download.errors import Cancelled
from biomaj_download.signals import STOP_SIGNALS

_LOOK_SECONDS = 0.1
#: Bars hide it (ECMA-48, DECTCEM).
_SHOW_CURSOR = b"\x1b[?25h\n"


class Stop:
    """Which signal asked for the end; None: none did."""

    def __init__(self) -> None:
        self.number: int | None = None

    def is_wanted(self) -> bool:
        """Say whether a signal came."""
        return self.number is not None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Note the first stop signal; the second one ends the process at once."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.number is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os._exit(128 + number)
        stop.number = number

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bring(fetches: Sequence[Fetch], teller: Teller, *, slots: int) -> int | None:
    """Bring files home, and tell of it; return the signal that ended it, None: all have ended.

    Raises:
        PublishError: the disk could not keep the names.
    """
    fetching = Fetching(fetches, slots=slots)
    teller.begin(fetches)
    tally = _Tally(fetching, teller)
    with stop_signals() as stop:
        fetching.start()
        is_stopping = False
        while fetching.is_at_work():
            time.sleep(_LOOK_SECONDS)
            tally.look()
            if stop.number is not None and not is_stopping:
                is_stopping = True
                teller.note("stopping: what came so far is kept; once more ends at once")
                fetching.stop()
        tally.look()
        teller.close()
        fetching.close()
        return stop.number


class _Tally:
    """What came so far."""

    def __init__(self, fetching: Fetching, teller: Teller) -> None:
        self._fetching = fetching
        self._teller = teller
        self._pace = Pace()
        self._size_bytes = sum_of_sizes(fetching.fetches)
        self._ended = self._failed = 0
        self._present_bytes = self._moved_bytes = 0

    def look(self) -> None:
        """Tell of what ended, and how far the rest is."""
        for fetch in self._fetching.take_ended():
            self._count(fetch)
        running = [(fetch, fetch.present_bytes()) for fetch in self._fetching.running()]
        running = [(fetch, present_bytes) for fetch, present_bytes in running if present_bytes]
        present_bytes = self._present_bytes + sum(present for _, present in running)
        moved_bytes = sum(max(0, present - fetch.left_bytes) for fetch, present in running)
        self._pace.look(self._moved_bytes + moved_bytes)
        if self._size_bytes is None:
            self._size_bytes = sum_of_sizes(self._fetching.fetches)
        left_bytes = None if self._size_bytes is None else self._size_bytes - present_bytes
        self._teller.look(
            Look(
                files=len(self._fetching.fetches),
                ended=self._ended,
                failed=self._failed,
                present_bytes=present_bytes,
                size_bytes=self._size_bytes,
                bytes_per_second=self._pace.bytes_per_second(),
                seconds_left=self._pace.seconds_left(left_bytes),
                running=running,
            )
        )

    def _count(self, fetch: Fetch) -> None:
        self._ended += 1
        if fetch.is_there:
            size_bytes = fetch.size_bytes or 0
            self._present_bytes += size_bytes
            self._moved_bytes += max(0, size_bytes - fetch.left_bytes)
        elif isinstance(fetch.error, Cancelled) and str(fetch.error) == Why.STOPPING.value:
            return
        else:
            self._failed += 1
        self._teller.ended(fetch)
