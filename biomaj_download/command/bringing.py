"""Fetches brought home while somebody looks on, until they are here or a signal ends it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from biomaj_download.command.attending import stop_signals
from biomaj_download.command.fetching import Fetch, Fetching
from biomaj_download.command.pace import Pace
from biomaj_download.command.telling import Look, Teller, sum_of_sizes
from biomaj_download.errors import Cancelled

_LOOK_SECONDS = 0.1


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
        if isinstance(fetch.error, Cancelled):  # we asked for its end
            return
        self._ended += 1
        if fetch.is_there:
            size_bytes = fetch.size_bytes or 0
            self._present_bytes += size_bytes
            self._moved_bytes += max(0, size_bytes - fetch.left_bytes)
        else:
            self._failed += 1
        self._teller.ended(fetch)
