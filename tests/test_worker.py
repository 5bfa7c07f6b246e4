from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from biomaj_download.broker.base import Broker, Delivery
from biomaj_download.errors import StoreError
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode_file_list
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings
from biomaj_download.store.base import Outcome, Progress
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.worker import Worker


class SettledBroker(Broker):
    """Notes how each delivery was settled."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, str]] = []
        self.tokens: set[object] = set()

    def _note(self, delivery: Delivery, what: str, reason: str = "") -> None:
        self.settled.append((what, reason))
        self.tokens.add(delivery.token)

    def accept(self, delivery: Delivery) -> None:
        self._note(delivery, "accept")

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        self._note(delivery, "reject", reason)

    def requeue(self, delivery: Delivery) -> None:
        self._note(delivery, "requeue")

    def publish(self, body, *, message_id):
        raise NotImplementedError

    def publish_many(self, messages):
        raise NotImplementedError

    def consume(self, on_delivery, *, slots):
        raise NotImplementedError

    def is_connected(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


class AbsentStore(EmbeddedStore):
    """Fails its next calls, as one whose server is away."""

    failures_left = 0

    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        if self.failures_left:
            self.failures_left -= 1
            raise StoreError("away")
        return super().settle_many(outcomes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AbsentStore]:
    store = AbsentStore(tmp_path / "sessions.sqlite")
    yield store
    store.close()


@pytest.fixture
def session(store) -> str:
    return store.create_session("bank")


@pytest.fixture
def worker(store) -> Iterator[Worker]:
    worker = Worker(store, Reporter(Settings()))
    yield worker
    worker.stop()
    worker.close()


@pytest.fixture
def broker() -> SettledBroker:
    return SettledBroker()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    origin = tmp_path / "origin"
    (origin / "sub").mkdir(parents=True)
    (origin / "one.dat").write_bytes(b"one")
    (origin / "sub" / "two.dat").write_bytes(b"two")
    return origin


@pytest.fixture
def operation(session, origin, tmp_path) -> wire.Operation:
    """A request for `one.dat`, as BioMAJ core sends it."""
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session = "bank", session
    download.local_dir = str(tmp_path / "home")
    remote = download.remote_file
    remote.protocol = wire.DownloadFile.LOCAL
    remote.server, remote.remote_dir = "localhost", str(origin)
    remote.files.add(name="one.dat", root=str(origin))
    download.options["stop_condition"] = "stop_after_attempt(1)"
    return operation


def delivery(operation: wire.Operation, **changes: object) -> Delivery:
    return Delivery(body=operation.SerializePartialToString(), token=object(), **changes)  # type: ignore[arg-type]


def handle(worker: Worker, broker: SettledBroker, delivery: Delivery) -> None:
    """Have a delivery handled, and wait until it is settled: its outcome is recorded later."""
    worker.handle(broker, delivery)
    deadline = time.monotonic() + 10
    while delivery.token not in broker.tokens:
        assert time.monotonic() < deadline, "not settled"
        time.sleep(0.001)


def test_worker_downloads_counts_and_accepts(worker, broker, store, session, operation, tmp_path):
    handle(worker, broker, delivery(operation, message_id="a"))

    assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"
    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", "")]


def test_worker_stores_the_files_that_a_list_matches(worker, broker, store, session, operation):
    operation.type = wire.Operation.LIST
    operation.download.remote_file.matches.append("**/*")

    handle(worker, broker, delivery(operation))

    files = decode_file_list(store.file_list("bank", session))
    assert {(file.name, file.size_bytes) for file in files} == {("one.dat", 3), ("/sub/two.dat", 3)}
    assert store.progress("bank", session) == Progress(1, None)


def test_worker_counts_a_failure_as_an_error_with_its_text(
    worker, broker, store, session, operation
):
    operation.download.remote_file.files[0].name = "missing.dat"

    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert "missing.dat" in store.pop_errors("bank", session)[0]
    assert broker.settled == [("accept", "")]


def test_worker_begins_no_file_that_would_use_up_the_reserve(
    store, broker, session, operation, small_disk
):
    (small_disk / "other").write_bytes(bytes(5 * 1024 * 1024))
    operation.download.local_dir = str(small_disk)
    worker = Worker(store, Reporter(Settings()), reserve_bytes=1024**4)

    handle(worker, broker, delivery(operation))

    worker.close()
    assert "storage.reserve_bytes" in store.pop_errors("bank", session)[0]
    assert [path.name for path in small_disk.iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda op: op.download.options.update(stop_condition="no_such()"), "stop_condition"),
        (lambda op: setattr(op.download.remote_file.files[0], "save_as", "../out"), "../out"),
        (lambda op: setattr(op.download, "local_dir", "relative"), "absolute"),
    ],
)
def test_worker_counts_a_wrong_value_as_an_error_that_names_it(
    worker, broker, store, session, operation, change, expected
):
    change(operation)

    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert expected in store.pop_errors("bank", session)[0]
    assert broker.settled == [("accept", "")]


def test_worker_does_not_work_twice_on_a_redelivered_message(
    worker, broker, store, session, operation, tmp_path
):
    handle(worker, broker, delivery(operation, message_id="a"))
    (tmp_path / "home" / "one.dat").unlink()

    handle(worker, broker, delivery(operation, message_id="a", redelivered=True))

    assert not (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", ""), ("accept", "")]


def test_worker_counts_a_redelivered_message_that_was_not_finished(
    worker, broker, store, session, operation, tmp_path
):
    handle(worker, broker, delivery(operation, redelivered=True))

    assert (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)


def test_worker_counts_an_old_clients_two_equal_messages_twice(
    worker, broker, store, session, operation
):
    handle(worker, broker, delivery(operation))
    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(2, None)


def test_worker_skips_a_request_whose_session_is_gone(
    worker, broker, store, session, operation, tmp_path
):
    store.delete_session("bank", session)

    handle(worker, broker, delivery(operation))

    assert not (tmp_path / "home").exists()
    assert store.progress("bank", session) == Progress(None, None)
    assert broker.settled == [("accept", "")]


def test_worker_rejects_what_is_no_message(worker, broker):
    handle(worker, broker, Delivery(body=b"\xff noise", token=1))

    ((settlement, reason),) = broker.settled
    assert settlement == "reject"
    assert "expected an Operation" in reason


@pytest.mark.parametrize(
    "spoil",
    [
        lambda op: setattr(op, "type", wire.Operation.PROCESS),
        lambda op: op.ClearField("type"),
        lambda op: op.download.ClearField("local_dir"),
        lambda op: op.download.remote_file.ClearField("files"),
        lambda op: op.download.remote_file.ClearField("protocol"),
    ],
)
def test_worker_counts_and_rejects_a_message_that_is_no_request(
    worker, broker, store, session, operation, spoil
):
    spoil(operation)

    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert broker.settled[0][0] == "reject"


def test_worker_counts_an_unknown_protocol(worker, broker, store, session, operation):
    operation.download.remote_file.protocol = wire.DownloadFile.IRODS

    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert "irods" in store.pop_errors("bank", session)[0]


def test_worker_keeps_an_outcome_while_the_store_is_away(worker, broker, store, session, operation):
    store.failures_left = 2

    handle(worker, broker, delivery(operation))

    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", "")]


def test_worker_gives_a_message_back_when_it_stops_while_the_store_is_away(
    worker, broker, store, session, operation
):
    store.failures_left = 1_000_000
    worker.stop()

    handle(worker, broker, delivery(operation))

    assert broker.settled == [("requeue", "")]


def test_worker_counts_each_of_many_messages_once(worker, broker, store, session, operation):
    deliveries = [delivery(operation, message_id=str(number % 40)) for number in range(80)]
    threads = [threading.Thread(target=handle, args=(worker, broker, one)) for one in deliveries]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.progress("bank", session) == Progress(40, None)
    assert broker.settled == [("accept", "")] * 80


def test_worker_puts_a_message_aside_that_came_back_too_often(
    worker, broker, store, session, operation, tmp_path
):
    again = {"redelivered": True, "message_id": "a"}

    handle(worker, broker, delivery(operation, headers={"x-delivery-count": 5}, **again))

    assert not (tmp_path / "home").exists()
    assert store.progress("bank", session) == Progress(1, 1)
    assert "5 times" in store.pop_errors("bank", session)[0]
    assert broker.settled[0][0] == "reject"


def test_worker_works_on_a_message_that_came_back_seldom(worker, broker, store, session, operation):
    handle(worker, broker, delivery(operation, headers={"x-delivery-count": 4}, redelivered=True))

    assert store.progress("bank", session) == Progress(1, None)
