from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from biomaj_download.settings import BrokerSettings, Settings, TransferSettings, WorkerSettings
from biomaj_download.supervisor import STARTED_SECONDS, processes, share

CONSUMER = Path(__file__).parents[1] / "bin" / "biomaj_download_consumer.py"


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        (Settings(), 2),
        (Settings(worker=WorkerSettings(processes=1)), 1),
        (Settings(worker=WorkerSettings(slots=1)), 1),
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

    one = share(settings, 2)

    assert one.worker.slots == 8
    assert one.transfer.max_connections == 32
    assert one.transfer.http_connections_per_host == 2
    assert one.transfer.ftp_connections_per_host == 1
    assert one.transfer.host_connections == {"h": 2}


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def supervisor(rabbitmq, redis_server, tmp_path) -> Iterator[subprocess.Popen[bytes]]:
    """A consumer of two processes."""
    config = tmp_path / "config.yml"
    document = {
        "rabbitmq": {
            "host": rabbitmq.host,
            "port": rabbitmq.port,
            "user": rabbitmq.user,
            "password": rabbitmq.password,
            "virtual_host": rabbitmq.virtual_host,
            "queue": f"test-{uuid.uuid4()}",
        },
        "redis": {"host": redis_server.host, "port": redis_server.port},
        "worker": {"processes": 2},
    }
    config.write_text(yaml.safe_dump(document))
    with subprocess.Popen(
        [sys.executable, CONSUMER], env={**os.environ, "BIOMAJ_CONFIG": str(config)}
    ) as process:
        wait_until(lambda: len(children_of(process.pid)) == 2)
        yield process
        process.kill()


def test_a_process_that_dies_is_started_again_and_all_stop_when_told(supervisor):
    first, second = children_of(supervisor.pid)
    time.sleep(STARTED_SECONDS)

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: len(set(children_of(supervisor.pid)) - {first}) == 2)
    assert second in children_of(supervisor.pid)
    supervisor.terminate()
    assert supervisor.wait(30) == 0


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
