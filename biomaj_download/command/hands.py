"""Many small files brought home by several processes: they take Python's work, more than bytes.

In: fetches.  Out: as of `Fetching`, whose face this has; each process runs one, by fork, and tells
how far it is.  Together they keep the limits per host, as a consumer's processes do.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

import click

from biomaj_download.command.fetching import Fetch, Fetching, largest_first
from biomaj_download.command.retelling import retell
from biomaj_download.errors import DownloadError
from biomaj_download.meter import Meter
from biomaj_download.settings import Settings
from biomaj_download.sharing import kept_to_a_core, processes, share
from biomaj_download.signals import STOP_SIGNALS
from biomaj_download.transfer import shared
from biomaj_download.transfer.places import Common

#: So many files of less than so many bytes are worth further processes.
FROM_FILES = 500
SMALL_BYTES = 1024**2

_TELL_SECONDS = 0.1
_END_SECONDS = 10.0
_NUMBER_BYTES = 4


def fetching_of(fetches: Sequence[Fetch], settings: Settings, *, slots: int) -> Fetching | Hands:
    """Return what brings fetches home: in this process, or in several where that is quicker."""
    small = sum(not fetch.is_larger_than(SMALL_BYTES) for fetch in fetches)
    settings = settings.model_copy(update={"transfer": shared.settings()})
    number = processes(settings, cores=len(os.sched_getaffinity(0)))
    if small < FROM_FILES or number == 1:
        return Fetching(fetches, slots=slots)
    shared.close()
    if threading.active_count() > 1:  # one could hold a lock, for which a child would wait for ever
        return Fetching(fetches, slots=slots)
    return Hands(fetches, settings, number, slots=slots)


@dataclass(frozen=True, kw_only=True)
class _News:
    """What one process tells: of fetches by their number, and what is to be said to the user."""

    running: Sequence[tuple[int, int | None, int, int]]
    ended: Sequence[tuple[int, int | None, int, float, DownloadError | None]]
    said: Sequence[str] = ()
    failure: DownloadError | None = None


class _Told(Meter):
    """What another process said of a file."""

    def __init__(self, present_bytes: int, moved_bytes: int) -> None:
        super().__init__()
        self._present_bytes, self._moved_bytes = present_bytes, moved_bytes

    def present_bytes(self) -> int:
        """Return how much of it was there."""
        return self._present_bytes


class Hands:
    """Processes that take the next file, the largest first, from one pipe of numbers.

    A pipe, for no lock is lost with a process that is killed. To be made by the only thread.
    """

    def __init__(
        self, fetches: Sequence[Fetch], settings: Settings, number: int, *, slots: int
    ) -> None:
        self.fetches = fetches
        self._number_of = {id(fetch): number for number, fetch in enumerate(fetches)}
        self._settings = settings
        self._number = number
        self._slots = max(slots // number, 1)
        self._running: dict[Connection, list[Fetch]] = {}
        self._ended: deque[Fetch] = deque()
        self._failure: DownloadError | None = None
        self._is_stopping = False
        self._children: list[ForkProcess] = []
        self._common = Common(settings.transfer, number)
        self._takes, self._gives = os.pipe()
        gc.freeze()  # the children share it all
        context = multiprocessing.get_context("fork")
        for index in range(number):
            ours, theirs = context.Pipe()
            self._running[ours] = []
            child = context.Process(target=self._work, args=(index, theirs), daemon=True)
            self._begin(child)
            theirs.close()
            self._children.append(child)
        gc.unfreeze()
        os.close(self._takes)

    def _begin(self, child: ForkProcess) -> None:
        """Start a child, or none at all: who waits for the pipe's numbers would never end."""
        try:
            child.start()
        except OSError as error:
            for begun in self._children:
                begun.kill()
            raise DownloadError(f"expected to start {self._number} processes: {error}") from error

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._feed, name="feed", daemon=True).start()

    def stop(self) -> None:
        """End what runs; its parts stay, and what waits never begins."""
        self._is_stopping = True
        for connection in self._running:
            with suppress(OSError):
                connection.send(True)

    def running(self) -> list[Fetch]:
        """Return what was being worked on a moment ago."""
        return [fetch for fetches in self._running.values() for fetch in fetches]

    def take_ended(self) -> list[Fetch]:
        """Return what ended since the last call."""
        for connection in list(self._running):
            self._hear(connection)
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def is_at_work(self) -> bool:
        """Say whether a process still works."""
        return any(child.is_alive() for child in self._children)

    def close(self) -> None:
        """See that all was told, and that the new names outlive a power cut.

        Raises:
            DownloadError: the disk failed, or a process ended before its time.
        """
        for child in self._children:
            child.join()
        if self._failure is not None:
            raise self._failure
        if any(child.exitcode for child in self._children) and not self._is_stopping:
            raise DownloadError("a process of this command was killed: give the command again")

    def _feed(self) -> None:
        numbers = [self._number_of[id(fetch)] for fetch in largest_first(self.fetches)]
        with suppress(BrokenPipeError), os.fdopen(self._gives, "wb", buffering=0) as pipe:
            for number in numbers:
                pipe.write(number.to_bytes(_NUMBER_BYTES, sys.byteorder))

    def _hear(self, connection: Connection) -> None:
        try:
            while connection.poll():
                self._note(connection, connection.recv())
        except (EOFError, OSError):  # it has ended
            self._running.pop(connection)
            connection.close()

    def _note(self, connection: Connection, news: _News) -> None:
        self._running[connection] = []
        for number, size_bytes, present_bytes, moved_bytes in news.running:
            fetch = self.fetches[number]
            fetch.size_bytes, fetch.meter = size_bytes, _Told(present_bytes, moved_bytes)
            self._running[connection].append(fetch)
        for number, size_bytes, moved_bytes, seconds, error in news.ended:
            fetch = self.fetches[number]
            fetch.size_bytes, fetch.meter = size_bytes, _Told(0, moved_bytes)
            fetch.seconds, fetch.error = seconds, error
            fetch.is_there, fetch.is_ended = error is None, True
            self._ended.append(fetch)
        self._failure = self._failure or news.failure
        for text in news.said:
            click.echo(text, err=True)

    # All below runs in a child.

    def _work(self, index: int, connection: Connection) -> None:
        """Bring what the pipe gives, and tell of it until it is empty."""
        for number in STOP_SIGNALS:  # the one that started us says what they mean
            signal.signal(number, signal.SIG_IGN)
        os.close(self._gives)
        for ours in self._running:  # of ours and of older children: who keeps one hears no end
            ours.close()
        settings = share(self._settings, self._number, index)
        shared.set_up(settings.transfer)
        shared.join(self._common, index)
        look = kept_to_a_core(settings, index)
        said: deque[str] = deque()
        retell(said.append)
        fetching = Fetching(self.fetches, slots=self._slots, take=self._take)
        fetching.start()
        failure: DownloadError | None = None
        try:
            while fetching.is_at_work():
                look()
                if connection.poll(_TELL_SECONDS):
                    _stop(fetching, connection)
                connection.send(self._news(fetching, said))
            try:
                fetching.close()
            except DownloadError as error:
                failure = error
            connection.send(self._news(fetching, said, failure))
        except BrokenPipeError:  # who started us is gone
            _end(fetching)

    def _take(self) -> Fetch:
        number = os.read(self._takes, _NUMBER_BYTES)
        if not number:
            raise IndexError
        return self.fetches[int.from_bytes(number, sys.byteorder)]

    def _news(
        self, fetching: Fetching, said: deque[str], failure: DownloadError | None = None
    ) -> _News:
        number_of = self._number_of
        return _News(
            ended=[
                (number_of[id(each)], each.size_bytes, each.moved_bytes(), each.seconds, each.error)
                for each in fetching.take_ended()
            ],
            running=[
                (number_of[id(each)], each.size_bytes, each.present_bytes(), each.moved_bytes())
                for each in fetching.running()
            ],
            said=[said.popleft() for _ in range(len(said))],
            failure=failure,
        )


def _end(fetching: Fetching) -> None:
    """Stop, and let programs end that write beside us (rsync)."""
    fetching.stop()
    deadline = time.monotonic() + _END_SECONDS
    while fetching.is_at_work() and time.monotonic() < deadline:
        time.sleep(_TELL_SECONDS)


def _stop(fetching: Fetching, connection: Connection) -> None:
    """Stop as told, or since nobody is there who could tell."""
    with suppress(EOFError, OSError):
        connection.recv()
    fetching.stop()
