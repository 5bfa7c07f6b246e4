from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import DownloadError, RemoteFileMissing
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.settings import (
    BrokerSettings,
    RabbitmqSettings,
    RedisSettings,
    Settings,
    StoreSettings,
)
from biomaj_download.store.base import Progress
from biomaj_download.store.redis import RedisStore

CONSUMER = Path(__file__).parents[1] / "bin" / "biomaj_download_consumer.py"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        broker=BrokerSettings(url=f"sqlite:{tmp_path / 'queue.sqlite'}"),
        store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions.sqlite'}"),
    )


@pytest.fixture
def service(settings) -> Iterator[DownloadService]:
    service = DownloadService(settings=settings)
    yield service
    service.close()


def request_for(name: str, session: str, server: str, local_dir: Path) -> wire.DownloadFile:
    download = wire.DownloadFile(bank="bank", session=session, local_dir=str(local_dir))
    download.remote_file.protocol = wire.DownloadFile.HTTP
    download.remote_file.server, download.remote_file.remote_dir = server, "/service/"
    download.remote_file.files.add(name=name, root="/service/")
    download.options["stop_condition"] = "stop_after_attempt(1)"
    return download


@pytest.fixture
def served(nginx) -> str:
    """A bank of two files, and the server's name."""
    root = nginx.root / "service"
    root.mkdir(exist_ok=True)
    (root / "a.dat").write_bytes(b"a" * 1000)
    (root / "b.dat").write_bytes(b"b" * 2000)
    return f"127.0.0.1:{nginx.port}"


def test_service_answers_its_doors_in_process(service, served, tmp_path):
    session = service._store.create_session("bank")
    good = request_for("a.dat", session, served, tmp_path / "home")
    bad = request_for("none.dat", session, served, tmp_path / "home")
    told = []
    service.on_download_callback(lambda bank, files: told.append((bank, len(files))))

    assert service.download_status(good) == (-1, -1)
    service.download(good)
    service.download(bad)

    assert (tmp_path / "home" / "a.dat").read_bytes() == b"a" * 1000
    assert service.download_status(good) == (2, 1)
    (text,) = service.download_errors(good)
    assert "none.dat" in text
    assert told == [("bank", 1), ("bank", 0)]
    service.clean(good)
    assert service.download_status(good) == (-1, -1)


def test_service_lists(service, served, tmp_path):
    session = service._store.create_session("bank")
    download = request_for("a.dat", session, served, tmp_path)
    download.remote_file.matches.append(r".*\.dat$")
    assert not service.list_status(download)

    service.list(download)

    assert service.list_status(download)
    assert [file.name for file in service.list_result(download).files] == ["a.dat", "b.dat"]


def test_service_downloads_without_a_session(service, served, tmp_path):
    service.local_download(request_for("a.dat", "none", served, tmp_path / "home"))
    assert (tmp_path / "home" / "a.dat").exists()

    with pytest.raises(RemoteFileMissing):
        service.local_download(request_for("none.dat", "none", served, tmp_path / "home"))


def test_service_without_a_broker_says_so(settings):
    service = DownloadService(settings=settings, rabbitmq=False)

    with pytest.raises(DownloadError, match="without a broker"):
        service.ask_download(wire.Operation())
    service.close()


def test_service_works_on_its_queue_until_it_is_stopped(service, served, tmp_path):
    session = service._store.create_session("bank")
    for name in ("a.dat", "b.dat", "none.dat"):
        download = request_for(name, session, served, tmp_path / "home")
        service.ask_download(wire.Operation(type=wire.Operation.DOWNLOAD, download=download))

    consuming = threading.Thread(target=service.wait_for_messages)
    consuming.start()
    progress = service._store.wait_for_progress("bank", session, after=2, timeout_seconds=30)
    service.stop()
    consuming.join(timeout=60)

    assert progress == Progress(3, 1)
    assert not consuming.is_alive()
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"a.dat", "b.dat"}


def test_consumer_process_works_on_rabbitmq_and_redis_and_stops_when_told(
    rabbitmq, redis_server, served, tmp_path
):
    queue = f"test-{uuid.uuid4()}"
    rabbitmq_settings = {**rabbitmq.section, "queue": queue}
    redis_settings = {"host": redis_server.host, "port": redis_server.port, "prefix": queue}
    config = tmp_path / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {"rabbitmq": rabbitmq_settings, "redis": redis_settings, "mongo": {"url": "ignored"}}
        )
    )
    store = RedisStore(RedisSettings(**redis_settings))
    broker = RabbitmqBroker(RabbitmqSettings(**rabbitmq_settings))
    session = store.create_session("bank")
    messages = []
    for number in range(200):
        name = "none.dat" if number % 10 == 0 else "a.dat"
        download = request_for(name, session, served, tmp_path / "home")
        download.remote_file.files[0].save_as = f"{number % 7}/{number}.dat"
        operation = wire.Operation(type=wire.Operation.DOWNLOAD, download=download)
        messages.append((operation.SerializeToString(), str(uuid.uuid4())))
    broker.publish_many(messages)

    consumer = subprocess.Popen(
        [sys.executable, CONSUMER], env={**os.environ, "BIOMAJ_CONFIG": str(config)}
    )
    progress = store.wait_for_progress("bank", session, after=199, timeout_seconds=60)
    consumer.send_signal(signal.SIGTERM)

    assert consumer.wait(timeout=60) == 0
    assert progress == Progress(200, 20)
    arrived = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(arrived) == 180
    assert {path.read_bytes() for path in arrived} == {b"a" * 1000}
    broker.close()
    store.close()


def test_consumer_process_names_a_wrong_key_and_ends(tmp_path):
    config = tmp_path / "config.yml"
    config.write_text("redis: {hots: localhost}\n")

    done = subprocess.run(
        [sys.executable, CONSUMER],
        env={**os.environ, "BIOMAJ_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "redis.hots" in done.stderr
