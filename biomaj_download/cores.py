"""A core for each process: its threads take turns there, and none has to be woken for it elsewhere.

Of Python's threads one computes at a time, and each system call passes that right on. Where Linux
spreads them over the cores, passing it on wakes a core each time, which costs a small file more
than all else. What computes beside them (digests, archive tests, other programs) takes `any_core`.

On one core, Linux lets a thread that is woken go first; ours would find that the one which woke it
still has the right to compute, and sleep again. SCHED_BATCH (sched(7)) lets it wait for its turn.
A thread that moves large files has more to do for the kernel than in Python: others of the system
are not to go before it (`Mover`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: How often to look whether others need the core.
LOOK_SECONDS = 2.0
#: Others need it where they use so much of it, and another is idle for as much beside our own use.
OTHERS_SHARE = 0.3
#: /proc/stat, after the name of a core (proc(5)): its time without work, and waiting for a disk.
_IDLE = slice(3, 5)

#: Of a thread that moves so much, most of the time is the kernel's.
_MUCH_BYTES_A_SECOND = 50_000_000
#: Its speed is looked at so often.
_PACE_SECONDS = 0.1

#: Where this process keeps to, if it keeps to one core.
_mine: OneCore | None = None


@contextmanager
def any_core() -> Iterator[None]:
    """Let this thread, and what it starts, run on every core that this process may use."""
    if _mine is None:
        yield
        return
    _take(_mine.allowed)
    _schedule(os.SCHED_OTHER)
    try:
        yield
    finally:
        _take({_mine.core})  # the process may have moved meanwhile
        _schedule(os.SCHED_BATCH)


class Mover:
    """Lets the thread that moves bytes go first when it is woken, while it moves much."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._moved_bytes = 0
        self._goes_first = False

    def moved(self, number_bytes: int) -> None:
        """Count bytes that this thread has moved."""
        self._moved_bytes += number_bytes
        seconds = time.monotonic() - self._since
        if seconds < _PACE_SECONDS:
            return
        moves_much = self._moved_bytes >= _MUCH_BYTES_A_SECOND * seconds
        self._since, self._moved_bytes = self._since + seconds, 0
        if moves_much is not self._goes_first:
            self._goes_first = moves_much
            _schedule(os.SCHED_OTHER if moves_much else os.SCHED_BATCH)


def _take(cores: Iterable[int], thread: int = 0) -> None:
    """Have a thread run on these cores, if they and it are still there; 0: this thread."""
    with suppress(OSError):
        os.sched_setaffinity(thread, cores)


def _schedule(policy: int) -> None:
    """Have this thread scheduled so, where its process keeps to a core and the host allows it.

    Whoever started the process in another way than usual wants it so.
    """
    if _mine is not None and _mine.is_scheduled_as_usual:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, os.sched_param(0))


class OneCore:
    """Keeps this process to one core, and moves it where others need that one more.

    `index`: of this process among those of its service, which take different cores. To be made by
    the first thread: others inherit the core from it.

    Raises:
        OSError: this host does not let a process choose (systemd's SystemCallFilter, a sandbox).
    """

    def __init__(self, index: int) -> None:
        global _mine  # noqa: PLW0603  # cores are the process's
        self.allowed = sorted(os.sched_getaffinity(0))
        self.core = self.allowed[index % len(self.allowed)]
        os.sched_setaffinity(0, {self.core})
        self.is_scheduled_as_usual = os.sched_getscheduler(0) == os.SCHED_OTHER
        _mine = self
        _schedule(os.SCHED_BATCH)
        self._looked_at = time.monotonic()
        self._used_seconds = time.process_time()
        self._idle_seconds = _idle_seconds(self.allowed)

    def look(self) -> None:
        """Move, if others need the core and another one is idle; to be called often."""
        now = time.monotonic()
        seconds = now - self._looked_at
        if seconds < LOOK_SECONDS:
            return
        used_seconds, idle_seconds = time.process_time(), _idle_seconds(self.allowed)
        used_share = (used_seconds - self._used_seconds) / seconds
        idle_shares = {
            core: (idle_seconds.get(core, 0) - before) / seconds
            for core, before in self._idle_seconds.items()
        }
        self._looked_at, self._used_seconds, self._idle_seconds = now, used_seconds, idle_seconds
        core = better_core(self.core, used_share, idle_shares)
        if core != self.core:
            self.move(core)

    def move(self, core: int) -> None:
        """Take the threads that keep to our core to another one."""
        left, self.core = self.core, core
        for thread in _threads():
            with suppress(OSError):  # it has ended
                if os.sched_getaffinity(thread) == {left}:
                    _take({core}, thread)


def better_core(core: int, used_share: float, idle_shares: Mapping[int, float]) -> int:
    """Return where a process is better off; `core`: where it is.

    `used_share`: of its time on a core; `idle_shares`: of each core's time, by its number.
    """
    others_share = 1 - idle_shares.get(core, 1) - used_share
    idlest = max(idle_shares, key=lambda number: idle_shares[number], default=core)
    if others_share > OTHERS_SHARE and idle_shares[idlest] > used_share + OTHERS_SHARE:
        return idlest
    return core


def _threads() -> list[int]:
    """Return this process's threads, if they are told (proc(5))."""
    with suppress(OSError):
        return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    return []


def _idle_seconds(cores: Collection[int]) -> dict[int, float]:
    """Return how long each of these cores was idle since the machine started, if told."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    ticks = os.sysconf("SC_CLK_TCK")
    idle_seconds = {}
    for line in lines:
        name, _, numbers = line.partition(" ")
        core = name.removeprefix("cpu")
        if core.isdigit() and int(core) in cores:
            idle_seconds[int(core)] = sum(map(int, numbers.split()[_IDLE])) / ticks
    return idle_seconds
