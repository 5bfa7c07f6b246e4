from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pika
import pytest
import yaml

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.settings import (
    BrokerSettings,
    RabbitmqSettings,
    RedisSettings,
    Settings,
    TransferSettings,
    WorkerSettings,
)
from biomaj_download.store.redis import RedisStore
from biomaj_download.supervisor import STARTED_SECONDS, processes, share
from tests.servers.faulty_http import Answer
from tests.servers.process import children_of, free_port
from tests.servers.systemd import Systemd

MEBIBYTE = 1024 * 1024
#: Short enough for a test, long enough for a busy machine.
WATCHDOG_SECONDS = 4.0

ROOT = Path(__file__).parents[1]
CONSUMER = ROOT / "bin" / "biomaj_download_consumer.py"


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        (Settings(), 2),
        (Settings(worker=WorkerSettings(processes=1)), 1),
        (Settings(worker=WorkerSettings(slots=1)), 1),
        (Settings(transfer=TransferSettings(max_connections=1)), 1),
        (Settings(transfer=TransferSettings(ftp_connections_per_host=8)), 4),
        (Settings(transfer=TransferSettings(host_connections={"slow": 1})), 1),
        (Settings(broker=BrokerSettings(url="sqlite:queue")), 1),
    ],
)
def test_there_is_a_process_for_each_core_as_far_as_limits_can_be_shared(settings, number):
    assert processes(settings, cores=64) == number


def test_there_is_one_process_on_one_core():
    assert processes(Settings(), cores=1) == 1


def test_processes_together_keep_the_limits():
    transfer = TransferSettings(http_connections_per_host=5, host_connections={"h": 4})
    settings = Settings(transfer=transfer, worker=WorkerSettings(slots=16))

    first, second = (share(settings, 2, index) for index in range(2))

    assert (first.worker.slots, second.worker.slots) == (8, 8)
    assert (first.transfer.max_connections, second.transfer.max_connections) == (32, 32)
    assert first.transfer.http_connections_per_host == 3
    assert second.transfer.http_connections_per_host == 2
    assert first.transfer.ftp_connections_per_host == 1
    assert first.transfer.host_connections == {"h": 2}


def test_a_lone_large_file_has_the_connections_of_all_processes(
    document, start, request_file, faulty_http, tmp_path
):
    document["transfer"] = {"http_connections_per_host": 2, "segments_from_bytes": 2 * MEBIBYTE}
    body = os.urandom(24 * MEBIBYTE)
    supervisor = start()
    wait_until(lambda: len(children_of(supervisor.pid)) == 2)

    request_file(
        Answer(
            body=body,
            etag='"v1"',
            headers={"Date": "Tue, 24 Nov 2026 12:00:00 GMT"},
            pause_seconds=0.02,
            pause_every_bytes=64 * 1024,
        )
    )
    home = tmp_path / "home" / "a.dat"
    wait_until(home.exists)

    assert home.read_bytes() == body
    assert len({each.connection for each in faulty_http.requests_for("/a.dat")}) > 1


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def document(rabbitmq, redis_server) -> dict[str, Any]:
    """The configuration of a consumer of two processes, with a queue of its own."""
    queue = f"test-{uuid.uuid4()}"
    return {
        "rabbitmq": {**rabbitmq.section, "queue": queue},
        "redis": {"host": redis_server.host, "port": redis_server.port, "prefix": queue},
        "worker": {"processes": 2},
    }


@pytest.fixture
def start(document, tmp_path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a consumer in a process group of its own, which ends with the test."""
    started = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        config = tmp_path / "config.yml"
        config.write_text(yaml.safe_dump(document))
        started.append(
            subprocess.Popen(
                [sys.executable, CONSUMER],
                env={
                    **os.environ,
                    "BIOMAJ_CONFIG": str(config),
                    "PYTHONPATH": str(ROOT),
                    **environment,
                },
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def supervisor(start) -> subprocess.Popen[bytes]:
    """A consumer of two processes."""
    process = start()
    wait_until(lambda: len(children_of(process.pid)) == 2)
    return process


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with Systemd() as systemd:
        yield systemd


@pytest.fixture
def request_file(document, faulty_http, tmp_path) -> Callable[[Answer], None]:
    """Request a file that comes so, and return when a consumer fetches it."""

    def request(answer: Answer) -> None:
        faulty_http.add("/a.dat", answer)
        with (
            closing(RedisStore(RedisSettings(**document["redis"]))) as store,
            closing(RabbitmqBroker(RabbitmqSettings(**document["rabbitmq"]))) as broker,
        ):
            session = store.create_session("bank")
            operation = new_operation(
                Kind.DOWNLOAD, bank="bank", session=session, local_dir=str(tmp_path / "home")
            )
            remote_file = operation.download.remote_file
            remote_file.protocol = wire.DownloadFile.HTTP
            remote_file.server = f"{faulty_http.host}:{faulty_http.port}"
            remote_file.remote_dir = "/"
            remote_file.files.add(name="a.dat", root="/")
            broker.publish(operation.SerializeToString(), message_id="one")
        wait_until(lambda: faulty_http.requests_for("/a.dat"))

    return request


@pytest.fixture
def request_stalled_file(request_file) -> Callable[[], None]:
    """Request a file that stops coming after 2 MiB, and return when a consumer fetches it."""
    stalled = Answer(body=b"a" * 3 * MEBIBYTE, stall_after=2 * MEBIBYTE)
    return lambda: request_file(stalled)


def queue_of(document: dict[str, Any]) -> Any:
    """Return what the broker tells of the queue."""
    rabbitmq = document["rabbitmq"]
    parameters = pika.ConnectionParameters(
        rabbitmq["host"],
        rabbitmq["port"],
        rabbitmq["virtual_host"],
        pika.PlainCredentials(rabbitmq["user"], rabbitmq["password"]),
    )
    with pika.BlockingConnection(parameters) as connection:
        return connection.channel().queue_declare(rabbitmq["queue"], passive=True).method


def has_waiting_message(document: dict[str, Any]) -> bool:
    """Say whether the request went back to the queue."""
    return bool(queue_of(document).message_count)


def test_a_process_that_dies_is_started_again_and_all_stop_when_told(supervisor):
    first, second = children_of(supervisor.pid)
    time.sleep(STARTED_SECONDS)

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: len(set(children_of(supervisor.pid)) - {first}) == 2)
    assert second in children_of(supervisor.pid)
    supervisor.terminate()
    assert supervisor.wait(30) == 0


def test_a_process_that_dies_soon_after_it_began_is_started_again(supervisor, document):
    """As by a message that kills whoever gets it, until it is a dead letter."""
    first, second = children_of(supervisor.pid)
    time.sleep(STARTED_SECONDS)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(set(children_of(supervisor.pid)) - {first}) == 2)
    (third,) = set(children_of(supervisor.pid)) - {first, second}
    wait_until(lambda: queue_of(document).consumer_count == 2)
    time.sleep(0.5)

    os.kill(third, signal.SIGKILL)

    wait_until(lambda: len(set(children_of(supervisor.pid)) - {first, third}) == 2)
    assert second in children_of(supervisor.pid)
    supervisor.terminate()
    assert supervisor.wait(30) == 0


def test_a_consumer_that_lacks_the_libraries_of_a_setting_says_so_and_is_not_restarted(
    start, document, tmp_path, capfd
):
    document["tracing"] = {"endpoint": "http://127.0.0.1:4318"}
    shadow = tmp_path / "shadow" / "opentelemetry"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('not installed')")

    process = start(PYTHONPATH=f"{shadow.parent}{os.pathsep}{ROOT}")

    assert process.wait(30) == 2
    assert "biomaj_download[otel]" in capfd.readouterr().err


def test_processes_end_when_their_supervisor_is_killed(supervisor):
    children = children_of(supervisor.pid)

    supervisor.kill()
    supervisor.wait()

    wait_until(lambda: not any(is_running(child) for child in children))


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_consumer_that_cannot_start_ends(tmp_path):
    config = tmp_path / "config.yml"
    config.write_text("worker: {processes: 2}\nlog_config: {version: 7}\n")

    done = subprocess.run(
        [sys.executable, CONSUMER],
        env={**os.environ, "BIOMAJ_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Unsupported version: 7" in done.stderr


def test_systemd_hears_of_a_consumers_whole_life(start, systemd):
    process = start(**systemd.environment(watchdog_seconds=WATCHDOG_SECONDS))

    ready = systemd.wait_for("READY")
    alive = [systemd.wait_for("WATCHDOG") for _ in range(3)]
    process.terminate()
    stopping = systemd.wait_for("STOPPING")

    status = "consuming processes=2 slots=16 restarts=0"
    assert ready == {"READY": "1", "STATUS": status}
    assert alive == [{"WATCHDOG": "1", "STATUS": status}] * 3
    assert stopping == {"STOPPING": "1", "STATUS": "stopping"}
    assert process.wait(30) == 0


@pytest.mark.parametrize("number", [1, 2])
def test_a_consumer_is_ready_and_lives_while_its_broker_is_away(document, start, systemd, number):
    document["rabbitmq"]["port"] = free_port()
    document["worker"]["processes"] = number

    process = start(**systemd.environment(watchdog_seconds=WATCHDOG_SECONDS))

    assert f"processes={number}" in systemd.wait_for("READY")["STATUS"]
    for _ in range(3):
        systemd.wait_for("WATCHDOG")
    process.terminate()
    systemd.wait_for("STOPPING")
    assert process.wait(30) == 0


def test_systemd_no_longer_hears_that_a_consumer_lives_when_a_process_hangs(start, systemd):
    process = start(**systemd.environment(watchdog_seconds=WATCHDOG_SECONDS))
    systemd.wait_for("READY")
    systemd.wait_for("WATCHDOG")
    second = children_of(process.pid)[1]

    os.kill(second, signal.SIGSTOP)
    time.sleep(1.5 * WATCHDOG_SECONDS)
    systemd.drop_all()

    assert systemd.hears_nothing_of("WATCHDOG", WATCHDOG_SECONDS)
    os.kill(second, signal.SIGCONT)
    systemd.wait_for("WATCHDOG")


def test_systemd_is_told_which_process_hangs_and_how_many_died(start, systemd):
    process = start(**systemd.environment(watchdog_seconds=WATCHDOG_SECONDS))
    systemd.wait_for("READY")
    first, second = children_of(process.pid)
    time.sleep(STARTED_SECONDS)

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "restarts=1" in systemd.wait_for("STATUS")["STATUS"])
    os.kill(second, signal.SIGSTOP)
    wait_until(lambda: systemd.wait_for("STATUS") == {"STATUS": "process hangs name=consumer-1"})


def test_systemd_hears_of_a_restart_without_a_watchdog(start, systemd):
    process = start(**systemd.environment())
    systemd.wait_for("READY")
    first, _ = children_of(process.pid)
    time.sleep(STARTED_SECONDS)

    os.kill(first, signal.SIGKILL)

    assert "restarts=1" in systemd.wait_for("STATUS")["STATUS"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_consumer_at_once_and_loses_nothing(
    document, start, systemd, request_stalled_file, tmp_path, number, signal_number
):
    document["worker"]["processes"] = number
    process = start(**systemd.environment())
    systemd.wait_for("READY")
    children = children_of(process.pid)
    request_stalled_file()

    process.send_signal(signal_number)
    systemd.wait_for("STOPPING")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal_number)

    assert process.wait(2) == 128 + signal_number
    wait_until(lambda: not any(is_running(child) for child in children))
    wait_until(lambda: has_waiting_message(document))
    assert [path.name for path in (tmp_path / "home").iterdir()] == [".a.dat.part"]


def test_a_second_signal_ends_processes_that_hang(start, systemd):
    process = start(**systemd.environment())
    systemd.wait_for("READY")
    children = children_of(process.pid)
    for child in children:
        os.kill(child, signal.SIGSTOP)

    process.terminate()
    systemd.wait_for("STOPPING")
    process.terminate()

    assert process.wait(2) == 128 + signal.SIGTERM
    wait_until(lambda: not any(is_running(child) for child in children))


@pytest.mark.parametrize("number", [1, 2])
def test_one_ctrl_c_lets_running_transfers_end(
    document, start, systemd, request_stalled_file, number
):
    document["worker"] = {"processes": number, "shutdown_grace_seconds": 3}
    process = start(**systemd.environment())
    systemd.wait_for("READY")
    request_stalled_file()

    os.killpg(process.pid, signal.SIGINT)

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    assert process.wait(30) == 0
    wait_until(lambda: has_waiting_message(document))


def test_systemd_may_send_its_signal_to_every_process(
    document, start, systemd, request_stalled_file
):
    document["worker"]["shutdown_grace_seconds"] = 3
    process = start(**systemd.environment())
    systemd.wait_for("READY")
    request_stalled_file()

    os.killpg(process.pid, signal.SIGTERM)

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    assert process.wait(30) == 0
    wait_until(lambda: has_waiting_message(document))
