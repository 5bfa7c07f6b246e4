from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from biomaj_download import admission, batches, publication, watch
from biomaj_download.broker.base import REQUEUED_HEADER, Broker, Delivery
from biomaj_download.broker.dead import identity_of
from biomaj_download.crew import Crew
from biomaj_download.errors import DiskFull, PublishError, StoreError
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode_file_list, job_of
from biomaj_download.outbox import Outbox
from biomaj_download.reporting import Reporter
from biomaj_download.settings import Settings
from biomaj_download.store.base import Answer, Claim, Message, Outcome, Progress
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.worker import Worker
from tests.servers.disk import frozen, own_disk
from tests.servers.faulty_http import Answer as Served
from tests.servers.faulty_http import FaultyHttpServer
from tests.servers.process import poll

_SAY_PROCESS = """
from biomaj_download.machine import this_process
print(this_process(), end="")
"""


class SettledBroker(Broker):
    """Notes how each delivery was settled."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, str]] = []
        self.tokens: set[object] = set()
        self.lent: list[Delivery] = []

    def _note(self, delivery: Delivery, what: str, reason: str = "") -> None:
        self.settled.append((what, reason))
        self.tokens.add(delivery.token)

    def accept(self, delivery: Delivery) -> None:
        self._note(delivery, "accept")

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        self._note(delivery, "reject", reason)

    def requeue(self, delivery: Delivery) -> None:
        self._note(delivery, "requeue")

    def lend_place(self, delivery: Delivery) -> None:
        self.lent.append(delivery)

    def publish(self, body, *, message_id):
        raise NotImplementedError

    def publish_many(self, messages):
        raise NotImplementedError

    def consume(self, on_delivery, *, slots, on_turn=lambda: None):
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
def worker(store, tmp_path) -> Iterator[Worker]:
    worker = Worker(store, Reporter(Settings()), outbox=Outbox(tmp_path / "state"))
    yield worker
    worker.stop()
    worker.close()


@pytest.fixture
def hand_over(worker, broker) -> Iterator[Callable[[Delivery], None]]:
    """Have a delivery walk down the whole road, and return at once."""
    crew = Crew(4, worker.handle)
    admission = worker.admission(broker, crew.hand_over)
    yield admission.arrive
    admission.close()
    crew.dismiss()


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


@pytest.fixture
def handle(hand_over, broker) -> Callable[[Delivery], None]:
    """Have a delivery handled, and wait until it is settled."""

    def handle(delivery: Delivery) -> None:
        hand_over(delivery)
        for _ in poll(10):
            if delivery.token in broker.tokens:
                return
        pytest.fail("not settled")

    return handle


def test_worker_downloads_counts_and_accepts(handle, broker, store, session, operation, tmp_path):
    handle(delivery(operation, message_id="a"))

    assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"
    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", "")]


def test_worker_stores_the_files_that_a_list_matches(handle, broker, store, session, operation):
    operation.type = wire.Operation.LIST
    operation.download.remote_file.matches.append("**/*")

    handle(delivery(operation))

    files = decode_file_list(store.file_list("bank", session))
    assert {(file.name, file.size_bytes) for file in files} == {("one.dat", 3), ("/sub/two.dat", 3)}
    assert store.progress("bank", session) == Progress(1, None)


def test_worker_counts_a_failure_as_an_error_with_its_text(
    handle, broker, store, session, operation
):
    operation.download.remote_file.files[0].name = "missing.dat"

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert "missing.dat" in store.pop_errors("bank", session)[0]
    assert broker.settled == [("accept", "")]


def test_worker_begins_no_file_that_would_use_up_the_reserve(
    store, operation, small_disk, tmp_path
):
    (small_disk / "other").write_bytes(bytes(5 * 1024 * 1024))
    operation.download.local_dir = str(small_disk)
    outbox = Outbox(tmp_path / "state")
    with closing(
        Worker(store, Reporter(Settings()), outbox=outbox, reserve_bytes=1024**4)
    ) as worker:
        result = worker.work(job_of(operation))

    assert isinstance(result.error, DiskFull)
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
    handle, broker, store, session, operation, change, expected
):
    change(operation)

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert expected in store.pop_errors("bank", session)[0]
    assert broker.settled == [("accept", "")]


def test_worker_does_not_work_twice_on_a_redelivered_message(
    handle, broker, store, session, operation, tmp_path
):
    handle(delivery(operation, message_id="a"))
    (tmp_path / "home" / "one.dat").unlink()

    handle(delivery(operation, message_id="a", redelivered=True))

    assert not (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", ""), ("accept", "")]


def test_worker_counts_a_redelivered_message_that_was_not_finished(
    handle, broker, store, session, operation, tmp_path
):
    handle(delivery(operation, redelivered=True))

    assert (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)


def test_worker_counts_an_old_clients_two_equal_messages_twice(
    handle, broker, store, session, operation
):
    handle(delivery(operation))
    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(2, None)


def test_worker_counts_two_equal_messages_that_are_no_requests_twice_and_each_once(
    handle, broker, store, session, operation
):
    operation.download.remote_file.ClearField("files")
    handle(delivery(operation))
    handle(delivery(operation))
    handle(delivery(operation, redelivered=True))

    assert store.progress("bank", session) == Progress(2, 2)
    assert [what for what, _ in broker.settled] == ["reject"] * 3


def test_worker_puts_aside_what_is_no_request_of_a_session_that_is_gone(
    handle, broker, store, session, operation
):
    operation.download.remote_file.ClearField("files")
    store.delete_session("bank", session)

    handle(delivery(operation))

    assert broker.settled[0][0] == "reject"


def test_worker_skips_a_request_whose_session_is_gone(
    handle, broker, store, session, operation, tmp_path
):
    store.delete_session("bank", session)

    handle(delivery(operation))

    assert not (tmp_path / "home").exists()
    assert store.progress("bank", session) == Progress(None, None, is_open=False)
    assert broker.settled == [("accept", "")]


def test_worker_rejects_what_is_no_message(handle, broker):
    handle(Delivery(body=b"\xff noise", token=1))

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
    handle, broker, store, session, operation, spoil
):
    spoil(operation)

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert broker.settled[0][0] == "reject"


def test_a_message_that_breaks_the_reader_is_put_aside_and_others_go_on(
    handle, broker, store, session, operation, monkeypatch
):
    def broken(body: bytes) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(admission, "decode", broken)
        handle(delivery(operation, message_id="a"))

    handle(delivery(operation, message_id="b"))

    assert [what for what, _ in broker.settled] == ["reject", "accept"]
    assert store.progress("bank", session) == Progress(1, None)


def test_worker_counts_an_unknown_protocol(handle, broker, store, session, operation):
    operation.download.remote_file.protocol = wire.DownloadFile.IRODS

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(1, 1)
    assert "irods" in store.pop_errors("bank", session)[0]


def test_worker_keeps_an_outcome_while_the_store_is_away(handle, broker, store, session, operation):
    store.failures_left = 2

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(1, None)
    assert broker.settled == [("accept", "")]


def test_worker_gives_a_message_back_when_it_stops_while_the_store_is_away(
    handle, worker, broker, store, session, operation
):
    store.failures_left = 1_000_000
    worker.stop()

    handle(delivery(operation))

    assert broker.settled == [("requeue", "")]


def test_worker_counts_each_of_many_messages_once(handle, broker, store, session, operation):
    deliveries = [delivery(operation, message_id=str(number % 40)) for number in range(80)]
    threads = [threading.Thread(target=handle, args=(one,)) for one in deliveries]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.progress("bank", session) == Progress(40, None)
    assert broker.settled == [("accept", "")] * 80


def begun(store, session: str, key: str, times: int) -> None:
    """Have a message begun by consumers that died of it."""
    for _ in range(times):
        store.note_start(Message(bank="bank", session=session, key=key))


def test_worker_puts_a_message_aside_that_ended_its_consumers_too_often(
    handle, broker, store, session, operation, tmp_path
):
    begun(store, session, "a", times=4)

    handle(delivery(operation, redelivered=True, message_id="a"))

    assert not (tmp_path / "home").exists()
    assert store.progress("bank", session) == Progress(1, 1)
    assert "more than 5 times" in store.pop_errors("bank", session)[0]
    assert broker.settled[0][0] == "reject"


def test_worker_works_on_a_message_that_ended_its_consumers_seldom(
    handle, store, session, operation
):
    begun(store, session, "a", times=3)

    handle(delivery(operation, redelivered=True, message_id="a"))

    assert store.progress("bank", session) == Progress(1, None)


def lease(store, session: str, target: Path, holder: str) -> Message:
    """Have another consumer write a file."""
    message = Message(
        bank="bank", session=session, key="other", targets=(str(target),), holder=holder
    )
    assert store.claim(Claim(message=message)).answer is Answer.WANTED
    return message


def test_a_message_whose_file_another_one_writes_waits_and_keeps_no_worker(
    hand_over, handle, broker, store, session, operation, tmp_path, monkeypatch
):
    monkeypatch.setattr(admission, "ASK_AGAIN_SECONDS", 0.1)
    other = lease(store, session, tmp_path / "home" / "one.dat", "elsewhere:1:1/0")
    waiting = [delivery(operation, message_id=str(number)) for number in range(6)]
    for one in waiting:
        hand_over(one)
    operation.download.remote_file.files[0].save_as = "other.dat"

    handle(delivery(operation, message_id="short"))

    assert broker.settled == [("accept", "")]
    assert broker.lent == waiting
    store.release([other])
    for _ in poll(10):
        if len(broker.settled) == 7:
            break
    assert broker.settled == [("accept", "")] * 7
    assert store.progress("bank", session) == Progress(7, None)


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_broken(
    handle, store, session, operation, tmp_path
):
    with subprocess.Popen([sys.executable, "-c", _SAY_PROCESS], stdout=subprocess.PIPE) as gone:
        process = gone.communicate()[0].decode()
    lease(store, session, tmp_path / "home" / "one.dat", f"{process}/0")

    handle(delivery(operation, message_id="a"))

    assert store.progress("bank", session) == Progress(1, None)


def test_a_finished_message_leaves_its_files_to_others(handle, store, session, operation, tmp_path):
    handle(delivery(operation, message_id="a"))

    lease(store, session, tmp_path / "home" / "one.dat", "elsewhere:1:1/0")


def test_an_old_clients_second_equal_message_is_counted_without_a_second_transfer(
    handle, store, session, operation, origin, tmp_path
):
    handle(delivery(operation))
    (origin / "one.dat").write_bytes(b"another")

    handle(delivery(operation))

    assert store.progress("bank", session) == Progress(2, None)
    assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"


def test_a_dead_letter_that_was_put_back_is_worked_on_and_not_counted_again(
    handle, store, session, operation, tmp_path
):
    handle(delivery(operation, message_id="a"))
    (tmp_path / "home" / "one.dat").unlink()

    handle(delivery(operation, message_id="a", headers={REQUEUED_HEADER: 1}))

    assert (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)


def test_an_old_clients_dead_letter_that_was_put_back_is_worked_on_and_not_counted_again(
    handle, store, session, operation, tmp_path
):
    handle(delivery(operation))
    (tmp_path / "home" / "one.dat").unlink()

    put_back = identity_of(None, delivery(operation).body)
    handle(delivery(operation, message_id=put_back, headers={REQUEUED_HEADER: 1}))

    assert (tmp_path / "home" / "one.dat").exists()
    assert store.progress("bank", session) == Progress(1, None)


def test_what_cannot_be_stored_outlives_the_process(
    worker, hand_over, broker, store, session, operation, tmp_path
):
    store.failures_left = 1_000_000
    hand_over(delivery(operation, message_id="a"))
    for _ in poll(10):
        if Outbox(tmp_path / "state").left():
            break
    worker.stop()
    worker.close()
    assert broker.settled == [("requeue", "")]
    assert store.progress("bank", session) == Progress(None, None)
    store.failures_left = 0

    next_one = Worker(store, Reporter(Settings()), outbox=Outbox(tmp_path / "state"))
    next_one.close()

    assert store.progress("bank", session) == Progress(1, None)
    assert Outbox(tmp_path / "state").left() == []


def slow(operation: wire.Operation, faulty_http: FaultyHttpServer) -> wire.Operation:
    """Make it a request for 10 MiB that come in 20 s, or after three attempts."""
    answer = Served(body=bytes(10 * 2**20), etag='"1"', pause_seconds=0.125)
    faulty_http.add("/slow/one.dat", answer)
    remote = operation.download.remote_file
    remote.protocol = wire.DownloadFile.HTTP
    remote.server, remote.remote_dir = f"127.0.0.1:{faulty_http.port}", "/slow"
    remote.files[0].root = "/slow"
    return operation


def part_bytes(home: Path) -> int:
    """Return how much of a file is here."""
    return sum(path.stat().st_size for path in home.glob(".*.part")) if home.exists() else 0


def test_a_running_transfer_ends_soon_after_its_session_is_cleaned_and_leaves_nothing(
    hand_over, broker, store, session, operation, faulty_http, tmp_path
):
    hand_over(delivery(slow(operation, faulty_http), message_id="a"))
    for _ in poll(10):
        if part_bytes(tmp_path / "home") > 2 * 2**20:
            break

    store.delete_session("bank", session)
    cleaned_at = time.monotonic()
    for _ in poll(10):
        if broker.settled:
            break

    assert time.monotonic() - cleaned_at < 5
    assert broker.settled == [("accept", "")]
    assert list((tmp_path / "home").iterdir()) == []


def test_a_wait_between_two_attempts_ends_soon_after_the_session_is_cleaned(
    hand_over, broker, store, session, operation
):
    operation.download.remote_file.files[0].name = "missing.dat"
    operation.download.options["stop_condition"] = "stop_after_attempt(2)"
    operation.download.options["wait_policy"] = "wait_fixed(60)"
    hand_over(delivery(operation, message_id="a"))
    time.sleep(0.5)

    store.delete_session("bank", session)
    for _ in poll(5):
        if broker.settled:
            break

    assert broker.settled == [("accept", "")]


def test_a_worker_that_stops_gives_its_transfer_back_and_keeps_the_part(
    worker, hand_over, broker, store, session, operation, faulty_http, tmp_path
):
    hand_over(delivery(slow(operation, faulty_http), message_id="a"))
    for _ in poll(10):
        if part_bytes(tmp_path / "home") > 2 * 2**20:
            break

    worker.stop()
    for _ in poll(10):
        if broker.settled:
            break

    assert broker.settled == [("requeue", "")]
    assert part_bytes(tmp_path / "home") > 2 * 2**20
    lease(store, session, tmp_path / "home" / "one.dat", "elsewhere:1:1/0")


def test_a_transfer_whose_lease_was_lost_ends_and_leaves_the_file_alone(
    hand_over, broker, store, session, operation, faulty_http, tmp_path, monkeypatch
):
    monkeypatch.setattr(watch, "RENEW_SECONDS", 0.1)
    hand_over(delivery(slow(operation, faulty_http), message_id="a"))
    for _ in poll(10):
        if part_bytes(tmp_path / "home") > 2 * 2**20:
            break

    take_lease(store, session, tmp_path / "home" / "one.dat")
    for _ in poll(10):
        if broker.settled:
            break

    assert broker.settled == [("requeue", "")]
    assert part_bytes(tmp_path / "home") > 2 * 2**20
    assert store.progress("bank", session) == Progress(None, None)


def take_lease(store, session: str, target: Path) -> None:
    """Have another consumer take a file over, as if its lease had run out."""
    message = Message(
        bank="bank", session=session, key="other", targets=(str(target),), holder="elsewhere:1:1/0"
    )
    holder = store.claim(Claim(message=message)).holder
    assert store.claim(Claim(message=message, breaks=holder)).answer is Answer.WANTED


def test_a_name_that_the_disk_does_not_keep_is_a_failure_of_its_message_alone(
    hand_over, broker, store, session, operation, tmp_path, monkeypatch
):
    """Given back, it would come again and again as long as the disk fails."""
    synced: list[Path] = []

    def failing(paths: Sequence[Path]) -> None:
        synced.extend(paths)
        if tmp_path / "home" in paths:
            raise PublishError("home: Input/output error")

    monkeypatch.setattr(publication, "sync_directories", failing)
    other = wire.Operation()
    other.CopyFrom(operation)
    other.download.local_dir = str(tmp_path / "other")
    deliveries = [delivery(operation, message_id="a"), delivery(other, message_id="b")]
    for one in deliveries:
        hand_over(one)
    for _ in poll(10):
        if len(broker.settled) == len(deliveries):
            break

    assert broker.settled == [("accept", "")] * 2
    assert store.progress("bank", session) == Progress(2, 1)
    assert store.pop_errors("bank", session) == ["home: Input/output error"]
    assert sorted(synced) == [tmp_path / "home", tmp_path / "other"]


def test_small_files_that_the_disk_does_not_keep_get_no_name_and_are_counted(
    hand_over, broker, store, session, operation, origin, tmp_path
):
    with own_disk(tmp_path, kept_mib=4) as disk:
        deliveries = []
        for number in range(12):
            name = f"{number}.dat"
            (origin / name).write_bytes(os.urandom(900_000))
            one = wire.Operation()
            one.CopyFrom(operation)
            one.download.local_dir = str(disk)
            one.download.remote_file.files[0].name = name
            deliveries.append(delivery(one, message_id=name))
        for one in deliveries:
            hand_over(one)
        for _ in poll(20):
            if len(broker.settled) == len(deliveries):
                break

        assert broker.settled == [("accept", "")] * len(deliveries)
        published = {path.name for path in disk.glob("*.dat")}
        errors = store.pop_errors("bank", session)
        assert errors
        assert all(str(disk) in error for error in errors)
        # Of some that are published the disk may not have kept the directory.
        blamed = {
            error.split(":")[0].rpartition("/")[2].removeprefix(".").removesuffix(".part")
            for error in errors
        }
        assert {f"{number}.dat" for number in range(12)} - published <= blamed


@pytest.mark.usefixtures("unhurried")
def test_a_disk_that_hangs_keeps_the_files_of_no_other_disk_waiting(
    hand_over, broker, store, session, operation, tmp_path
):
    with own_disk(tmp_path) as disk:
        other = wire.Operation()
        other.CopyFrom(operation)
        other.download.local_dir = str(disk)
        hand_over(delivery(other, message_id="hangs"))
        until_left(disk)

        with frozen(disk):
            hand_over(delivery(operation, message_id="goes on"))
            for _ in poll(15):
                if broker.settled:
                    break
            assert broker.settled == [("accept", "")]
            assert store.progress("bank", session) == Progress(1, None)
            assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"
        for _ in poll(15):
            if len(broker.settled) == 2:
                break

        assert (disk / "one.dat").read_bytes() == b"one"
        assert store.progress("bank", session) == Progress(2, None)


@pytest.fixture
def unhurried(monkeypatch) -> None:
    """Have what is to be published wait for others, for longer than the watch looks."""
    monkeypatch.setattr(batches, "GATHER_SECONDS", 3.0)


def until_left(home: Path) -> None:
    """Wait until a file is here, and waits to be published."""
    for _ in poll(10):
        if part_bytes(home):
            break
    time.sleep(0.2)
    assert list(home.glob("*.dat")) == []


@pytest.mark.usefixtures("unhurried")
def test_a_small_file_that_waits_for_others_is_published_though_the_worker_stops(
    worker, hand_over, broker, store, session, operation, tmp_path
):
    hand_over(delivery(operation, message_id="a"))
    until_left(tmp_path / "home")

    worker.stop()
    worker.close()

    assert broker.settled == [("accept", "")]
    assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"
    assert store.progress("bank", session) == Progress(1, None)


@pytest.mark.usefixtures("unhurried")
def test_a_small_file_that_waits_for_others_is_not_published_once_its_lease_is_lost(
    hand_over, broker, store, session, operation, tmp_path, monkeypatch
):
    monkeypatch.setattr(watch, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    hand_over(delivery(operation, message_id="a"))
    until_left(tmp_path / "home")

    take_lease(store, session, tmp_path / "home" / "one.dat")
    for _ in poll(10):
        if broker.settled:
            break

    assert broker.settled == [("requeue", "")]
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".one.dat.part"]
    assert store.progress("bank", session) == Progress(None, None)


@pytest.mark.usefixtures("unhurried")
def test_a_small_file_that_waits_for_others_leaves_nothing_once_its_session_is_cleaned(
    hand_over, broker, store, session, operation, tmp_path, monkeypatch
):
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    hand_over(delivery(operation, message_id="a"))
    until_left(tmp_path / "home")

    store.delete_session("bank", session)
    for _ in poll(10):
        if broker.settled:
            break

    assert broker.settled == [("accept", "")]
    assert list((tmp_path / "home").iterdir()) == []


def test_a_small_file_waits_for_nobody_where_many_wait(
    hand_over, broker, operation, tmp_path, monkeypatch
):
    """Each that waits keeps two descriptors."""
    monkeypatch.setattr(publication, "MOST_WAITING", 0)
    monkeypatch.setattr(batches, "GATHER_SECONDS", 2.0)

    hand_over(delivery(operation, message_id="a"))

    for _ in poll(1.5):
        if (tmp_path / "home" / "one.dat").exists():
            break
    assert (tmp_path / "home" / "one.dat").read_bytes() == b"one"
    assert broker.settled == []


def test_what_is_no_message_is_settled_once_when_the_store_is_away_at_the_stop(
    worker, broker, store, session, operation, monkeypatch
):
    def away(_: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(store, "claim_many", away)
    crew = Crew(1, worker.handle)
    admitting = worker.admission(broker, crew.hand_over)
    deliveries = [Delivery(body=b"\xff noise", token="noise"), delivery(operation)]
    tasks = [admitting._task(one) for one in deliveries]

    admitting.close()
    admitting._judge(tasks)
    crew.dismiss()
    crew.wait(10)

    assert sorted(what for what, _ in broker.settled) == ["reject", "requeue"]
