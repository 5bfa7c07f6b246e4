"""The crew's order: large messages somewhat earlier, and none waits for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from biomaj_download.admission import Task
from biomaj_download.broker.base import Delivery
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.crew import PLACES_A_DOUBLING, Crew
from biomaj_download.job import Job, Kind, RemoteFile
from biomaj_download.store.base import Message

LARGEST_BYTES = 2**63 - 1
WAIT_SECONDS = 30


@pytest.fixture
def order(tmp_path):
    """What tells in which order a single thread takes tasks that arrive while it is busy."""
    broker = EmbeddedBroker(tmp_path / "queue.sqlite")

    def order_of(sizes: list[int | None]) -> list[int]:
        is_busy, may_go_on = threading.Event(), threading.Event()
        taken: list[int] = []

        def handle(task: Task) -> None:
            if task.delivery.token is None:
                is_busy.set()
                may_go_on.wait(WAIT_SECONDS)
            else:
                taken.append(task.delivery.token)  # type: ignore[arg-type]

        crew = Crew(1, handle)
        crew.hand_over(task_of(broker, None, 1))
        is_busy.wait(WAIT_SECONDS)
        for number, size_bytes in enumerate(sizes):
            crew.hand_over(task_of(broker, number, size_bytes))
        crew.dismiss()
        may_go_on.set()
        assert crew.wait(WAIT_SECONDS) == 0
        return taken

    yield order_of
    broker.close()


def task_of(broker: EmbeddedBroker, token: int | None, size_bytes: int | None) -> Task:
    return Task(
        broker=broker,
        delivery=Delivery(body=b"", token=token),
        message=Message(bank="bank", session="1", key=str(token)),
        job=Job(
            kind=Kind.DOWNLOAD,
            bank="bank",
            session="1",
            local_dir=Path("/tmp"),
            protocol="http",
            server="example.org",
            remote_dir="/",
            files=(RemoteFile(name="a", size_bytes=size_bytes),),
        ),
    )


def test_the_largest_goes_first_of_what_waits(order):
    sizes = [10_000] * 30 + [10**9, 10**11]

    assert order(sizes) == [31, 30, *range(30)]


def test_messages_of_about_the_same_size_keep_their_order(order):
    sizes = [10_000, 9_000, 12_000, 11_000, 8_500]

    assert order(sizes) == [0, 1, 2, 3, 4]


def test_messages_of_unknown_size_go_last_in_their_order(order):
    assert order([None, None, 10**6]) == [2, 0, 1]


def test_no_message_is_overtaken_for_ever(order):
    most = PLACES_A_DOUBLING * LARGEST_BYTES.bit_length()

    taken = order([None] + [LARGEST_BYTES] * (2 * most))

    assert 0 < taken.index(0) < most
    assert len(taken) == 2 * most + 1
