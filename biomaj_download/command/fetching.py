"""Bring many files home in this process: a few threads, each file down the usual road.

In: fetches.  Out: each tells how it ended; a watcher may look at any time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from biomaj_download.cancellation import Why
from biomaj_download.download.filedict import file_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import Cancelled, DownloadError
from biomaj_download.meter import Meter
from biomaj_download.publish import SafePath, sync_directories
from biomaj_download.transfer.partial import part_path

log = logging.getLogger("biomaj.download.command")


@dataclass(eq=False)
class Fetch:
    """One file on its way home.

    `open_downloader` returns a downloader that has this file to download. `size_bytes` None:
    unknown before it is there.
    """

    name: str
    local_dir: Path
    path: SafePath
    open_downloader: Callable[[], DownloadInterface]
    size_bytes: int | None = None
    is_copy: bool = False
    meter: Meter = field(default_factory=Meter)
    seconds: float = 0.0
    error: DownloadError | None = None
    is_there: bool = False
    is_ended: bool = False

    def is_larger_than(self, size_bytes: int) -> bool:
        """Say whether it is larger, or of unknown size."""
        return self.size_bytes is None or self.size_bytes > size_bytes

    def present_bytes(self) -> int:
        """Return how much of it is here; holes are left out."""
        return (self.size_bytes or 0) if self.is_there else self.meter.present_bytes()

    def moved_bytes(self) -> int:
        """Return how much of it came now, in all attempts: not what an earlier run left."""
        return self.meter.moved_bytes()

    def has_begun(self) -> bool:
        """Say whether something of it is kept for a later run."""
        return not self.is_there and part_path(self.path).exists()


class Fetching:
    """Fetches at work, `slots` at once; the limits per host hold below that.

    For one thread that starts, looks, stops and closes. `take` says which one is next, in any
    thread, and raises IndexError when there is none any more; None: the largest first.
    """

    def __init__(
        self, fetches: Sequence[Fetch], *, slots: int, take: Callable[[], Fetch] | None = None
    ) -> None:
        self.fetches = fetches
        self._take = take or deque(largest_first(fetches)).popleft
        self._lock = threading.Lock()
        self._running: dict[Fetch, DownloadInterface] = {}
        self._ended: deque[Fetch] = deque()
        self._changed_directories: set[Path] = set()
        self._is_stopping = False
        self._threads = [
            threading.Thread(target=self._work, name="fetch", daemon=True)
            for _ in range(min(slots, len(fetches)))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End what runs; its parts stay, and what waits never begins."""
        with self._lock:
            self._is_stopping = True
            for downloader in self._running.values():
                downloader.cancellation.order(Why.STOPPING)

    def running(self) -> list[Fetch]:
        """Return what is being worked on."""
        with self._lock:
            return list(self._running)

    def take_ended(self) -> list[Fetch]:
        """Return what ended since the last call."""
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def is_at_work(self) -> bool:
        """Say whether a thread still works."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Have the new names outlive a power cut.

        Raises:
            PublishError: the disk failed.
        """
        sync_directories(self._changed_directories)

    def _work(self) -> None:
        while True:
            try:
                fetch = self._take()
            except IndexError:
                return
            if self._is_stopping:
                return
            started = monotonic()
            try:
                self._bring(fetch)
            except DownloadError as error:
                fetch.error = error
            except Exception as error:  # a downloader may be anybody's: its file failed
                log.exception("fetch failed unexpectedly name=%s", fetch.name)
                fetch.error = DownloadError(f"{fetch.name}: {type(error).__name__}: {error}")
            fetch.seconds = monotonic() - started
            fetch.is_ended = True
            with self._lock:
                self._running.pop(fetch, None)
            self._ended.append(fetch)

    def _bring(self, fetch: Fetch) -> None:
        downloader = fetch.open_downloader()
        fetch.meter = downloader.meter
        with self._lock:
            self._running[fetch] = downloader
            if self._is_stopping:
                raise Cancelled(Why.STOPPING.value)
        try:
            if fetch.size_bytes is None:  # who waits wants to know for how long
                fetch.size_bytes = downloader.told_size(file_of(downloader.files_to_download[0]))
            downloader.bring_all(fetch.local_dir)
        finally:
            downloader.close()
        fetch.size_bytes = downloader.files_to_download[0]["size"]
        fetch.is_there = True
        with self._lock:
            self._changed_directories |= downloader.changed_directories


def largest_first(fetches: Sequence[Fetch]) -> list[Fetch]:
    """Return fetches in the order in which they end soonest."""
    return sorted(fetches, key=lambda fetch: -(fetch.size_bytes or 0))


def failures(fetches: Sequence[Fetch]) -> list[Fetch]:
    """Return what did not come, in its order."""
    return [fetch for fetch in fetches if not fetch.is_there]
