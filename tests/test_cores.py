"""A process keeps to one core; what computes beside its threads does not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from biomaj_download.cores import Mover, OneCore, any_core, better_core

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="needs two cores: there is no other one to take"
)
CORES = sorted(os.sched_getaffinity(0))


def in_a_process(index: int) -> Iterator[object]:
    """Say what threads may use, in a process that keeps to a core."""
    kept = OneCore(index)
    yield os.sched_getaffinity(0)
    told: list[set[int]] = []

    def look() -> None:
        told.append(os.sched_getaffinity(0))
        with any_core():
            told.append(os.sched_getaffinity(0))
            command = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            told.append({int(core) for core in text.strip("{}\n").split(",")})
        told.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    yield from told
    kept.look()
    yield kept.core


def told_by_a_process(index: int) -> list[object]:
    """Run it in a process of its own: this one keeps its cores."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_all, (index,))


def _all(index: int) -> list[object]:
    return list(in_a_process(index))


@pytest.mark.parametrize("index", range(3))
def test_threads_keep_to_the_core_and_what_computes_beside_them_takes_any(index: int) -> None:
    core, all_cores = CORES[index % len(CORES)], set(CORES)
    expected = [{core}, {core}, all_cores, all_cores, {core}, core]
    assert told_by_a_process(index) == expected


def policies() -> list[int]:
    """Return how a process that keeps to a core is scheduled, and a thread that it makes."""
    OneCore(0)
    told = [os.sched_getscheduler(0)]
    thread = threading.Thread(target=lambda: told.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return told


def test_a_thread_that_is_woken_waits_for_its_turn() -> None:
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(policies) == [os.SCHED_BATCH, os.SCHED_BATCH]


def policies_of_an_idle_one() -> list[int]:
    """Return how a process is scheduled that was started to have what others leave."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    OneCore(0)
    told = [os.sched_getscheduler(0)]
    with any_core():
        told.append(os.sched_getscheduler(0))
    return [*told, os.sched_getscheduler(0)]


def test_a_process_that_was_started_as_an_idle_one_stays_so() -> None:
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(policies_of_an_idle_one) == [os.SCHED_IDLE] * 3


def policies_by_speed() -> list[int]:
    """Return how a thread is scheduled that moves little, then much, then little."""
    OneCore(0)
    mover, told = Mover(), []
    for number_bytes in (10_000, 1_000_000_000, 10_000):
        time.sleep(0.11)
        mover.moved(number_bytes)
        told.append(os.sched_getscheduler(0))
    return told


def test_a_thread_that_moves_much_goes_first() -> None:
    with get_context("spawn").Pool(1) as pool:
        told = pool.apply(policies_by_speed)
    assert told == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_BATCH]


def test_a_thread_of_a_process_that_keeps_to_no_core_is_left_alone() -> None:
    mover = Mover()
    time.sleep(0.11)
    mover.moved(1_000_000_000)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_process_that_keeps_to_none_takes_any() -> None:
    with any_core():
        assert os.sched_getaffinity(0) == set(CORES)


@pytest.mark.parametrize(
    ("used_share", "idle_shares", "better"),
    [
        (0.9, {0: 0.1, 1: 1.0}, 0),  # nobody else is there
        (0.4, {0: 0.0, 1: 0.9}, 1),  # another takes more than half, and a core is idle
        (0.4, {0: 0.0, 1: 0.5, 2: 0.8}, 2),  # the idlest one
        (0.4, {0: 0.0, 1: 0.6}, 0),  # there it would not have more
        (0.1, {0: 0.7, 1: 1.0}, 0),  # others use little
        (1.4, {0: 0.0, 1: 0.6}, 0),  # what computes beside us uses other cores
        (0.5, {}, 0),  # nobody knows
    ],
)
def test_a_process_moves_where_others_need_its_core(
    used_share: float, idle_shares: dict[int, float], better: int
) -> None:
    assert better_core(0, used_share, idle_shares) == better


def moved() -> tuple[set[int], ...]:
    """Return the cores of a thread, of one that computes beside, and of this, after a move.

    And those of the one that computed beside, when it is through.
    """
    kept = OneCore(0)
    ready, done = threading.Barrier(3), threading.Event()
    afterwards: list[set[int]] = []

    def wait() -> None:
        ready.wait()
        done.wait()

    def compute() -> None:
        with any_core():
            wait()
        afterwards.append(os.sched_getaffinity(0))

    threads = [threading.Thread(target=wait), threading.Thread(target=compute)]
    for thread in threads:
        thread.start()
    ready.wait()
    kept.move(CORES[1])
    identifiers = [thread.native_id or 0 for thread in threads]
    cores = [os.sched_getaffinity(identifier) for identifier in (*identifiers, 0)]
    done.set()
    threads[1].join()
    return (*cores, *afterwards)


def test_a_move_takes_the_threads_along_but_those_that_take_any() -> None:
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(moved) == ({CORES[1]}, set(CORES), {CORES[1]}, {CORES[1]})


def test_a_host_that_lets_no_process_choose_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_process: int, _cores: set[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pytest.raises(PermissionError):
        OneCore(0)
    with any_core():
        assert os.sched_getaffinity(0) == set(CORES)
