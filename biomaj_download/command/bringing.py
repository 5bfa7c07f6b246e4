"""Fetches brought home while somebody looks on, until they are here or a signal ends it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from biomaj_download.command.attending import Stop, stop_signals
from biomaj_download.command.fetching import Fetch, Fetching
from biomaj_download.command.hands import Hands, fetching_of
from biomaj_download.command.pace import Pace
from biomaj_download.command.telling import Look, Teller, sum_of_sizes
from biomaj_download.errors import Cancelled
from biomaj_download.settings import Settings

_LOOK_SECONDS = 0.1
#: Of smaller files, it is their number that takes time, not their bytes.
_SMALL_BYTES = 100_000


def bring(
    fetches: Sequence[Fetch], teller: Teller, settings: Settings, *, slots: int
) -> int | None:
    """Bring files home, and tell of it; return the signal that ended it, None: all have ended.

    Raises:
        DownloadError: the disk could not keep the names, or a process was killed.
    """
    with stop_signals() as stop:
        fetching = fetching_of(fetches, settings, slots=slots)  # forks: before threads are started
        try:
            _bring(fetching, teller, stop)
        except BaseException:
            fetching.stop()
            raise
        return stop.number


def _bring(fetching: Fetching | Hands, teller: Teller, stop: Stop) -> None:
    fetching.start()  # first: what has begun can be stopped, whoever cannot be told
    teller.begin(fetching.fetches)
    tally = _Tally(fetching, teller)
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


class _Tally:
    """What came so far."""

    def __init__(self, fetching: Fetching | Hands, teller: Teller) -> None:
        self._fetching = fetching
        self._teller = teller
        self._pace, self._files_pace = Pace(), Pace()
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
        moved_bytes = sum(fetch.moved_bytes() for fetch, _ in running)
        self._pace.look(self._moved_bytes + moved_bytes)
        if self._size_bytes is None:
            self._size_bytes = sum_of_sizes(self._fetching.fetches)
        self._files_pace.look(self._ended)
        self._teller.look(
            Look(
                files=len(self._fetching.fetches),
                ended=self._ended,
                failed=self._failed,
                present_bytes=present_bytes,
                size_bytes=self._size_bytes,
                bytes_per_second=self._pace.per_second(),
                seconds_left=self._seconds_left(present_bytes),
                running=running,
            )
        )

    def _seconds_left(self, present_bytes: int) -> float | None:
        if self._size_bytes is None:
            return None
        left_bytes = self._size_bytes - present_bytes
        left_files = len(self._fetching.fetches) - self._ended
        if left_files and left_bytes / left_files < _SMALL_BYTES:
            return self._files_pace.seconds_left(left_files)
        return self._pace.seconds_left(left_bytes)

    def _count(self, fetch: Fetch) -> None:
        if isinstance(fetch.error, Cancelled):  # we asked for its end
            return
        self._ended += 1
        self._moved_bytes += fetch.moved_bytes()
        if fetch.is_there:
            self._present_bytes += fetch.size_bytes or 0
        else:
            self._failed += 1
        self._teller.ended(fetch)
