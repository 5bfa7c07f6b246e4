"""What probes are told: a process lives, or can work, and why not."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
import uuid
from contextlib import contextmanager

import pytest
import requests

from biomaj_download.beats import Beats
from biomaj_download.biomaj_download_web import close_app, create_app
from biomaj_download.errors import DownloadError
from biomaj_download.health import Check, look
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.probes import HANGS_SECONDS, life_checks, work_checks
from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import (
    MetricsSettings,
    RabbitmqSettings,
    Settings,
    StorageSettings,
    StoreSettings,
)
from biomaj_download.store.embedded import EmbeddedStore
from tests.servers.consumer import Consumer
from tests.servers.cutter import Cutter
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port, poll

ALL_FINE = {"service": "ok", "broker": "ok", "store": "ok", "disk": "ok"}


def asked(place: str, path: str, *, status: int) -> dict:
    """Return what a probe is told once it is answered with a status."""
    answer = None
    for _ in poll(30):
        answer = requests.get(f"http://{place}{path}", timeout=10)
        if answer.status_code == status:
            return answer.json()
    raise AssertionError(f"{path}: expected {status}, got {answer.status_code} {answer.text}")


def test_a_consumer_is_ready_while_it_has_its_servers(rabbitmq, redis_server):
    with Cutter(rabbitmq.port, cuts=0) as cutter:
        sections = {
            "rabbitmq": {**rabbitmq.section, "port": cutter.port, "queue": f"test-{uuid.uuid4()}"},
            "redis": {"host": redis_server.host, "port": redis_server.port},
        }
        with Consumer(sections) as consumer:
            assert asked(consumer.listen, "/readyz", status=200)["checks"] == ALL_FINE

            redis_server.stop()
            without_store = asked(consumer.listen, "/readyz", status=503)
            redis_server.start()
            assert asked(consumer.listen, "/readyz", status=200)["status"] == "ok"
            cutter.close()
            without_broker = asked(consumer.listen, "/readyz", status=503)

            assert asked(consumer.listen, "/healthz", status=200)["checks"] == {"loop": "ok"}
            assert "biomaj_download_build_info" in consumer.scrape()
    assert without_store["status"] == "failing"
    assert without_store["checks"] == ALL_FINE | {"store": "failing"}
    assert without_broker["checks"] == ALL_FINE | {"broker": "failing"}


@contextmanager
def serving(service):
    """Run an embedded service."""
    running = threading.Thread(target=service.run)
    running.start()
    try:
        yield
    finally:
        service.stop()
        running.join()


def ask(routes, http, name, *, folder):
    """Request a file, in a session of its own."""
    session = requests.post(f"{routes}/session/bank", timeout=10).json()["session"]
    operation = new_operation(Kind.DOWNLOAD, bank="bank", session=session, local_dir=str(folder))
    remote_file = operation.download.remote_file
    remote_file.protocol = wire.DownloadFile.HTTP
    remote_file.server, remote_file.remote_dir = f"{http.host}:{http.port}", "/"
    remote_file.files.add(name=name)
    requests.post(
        f"{routes}/operations",
        data=operation.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=10,
    ).raise_for_status()


def test_a_service_that_finishes_its_work_is_not_ready(faulty_http, tmp_path):
    faulty_http.add("/slow.dat", Answer(body=b"x" * 10, stall_after=5))
    listen = f"127.0.0.1:{free_port()}"
    settings = Settings(
        metrics=MetricsSettings(listen=listen),
        storage=StorageSettings(state_dir=tmp_path / "state", reserve_bytes=0),
    )
    service = EmbeddedService(settings, tmp_path, host="127.0.0.1", port=0)
    web = service.url.removeprefix("http://")

    with serving(service):
        for place in (web, listen):
            assert asked(place, "/readyz", status=200)["checks"] == ALL_FINE
        ask(f"{service.url}/api/download", faulty_http, "slow.dat", folder=tmp_path)
        for _ in poll(30):
            if faulty_http.requests_for("/slow.dat"):
                break
        service.stop()

        for place in (web, listen):
            told = asked(place, "/readyz", status=503)["checks"]
            assert told == ALL_FINE | {"service": "failing"}
            assert asked(place, "/healthz", status=200)["checks"] == {"loop": "ok"}
        faulty_http.close()


def test_the_web_names_a_broker_that_is_away_and_is_ready(tmp_path):
    settings = Settings(
        rabbitmq=RabbitmqSettings(port=1),
        store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions.sqlite'}"),
    )
    app = create_app(settings)

    answer = app.test_client().get("/readyz")

    close_app(app)
    assert (answer.status_code, answer.json["checks"]["store"]) == (200, "ok")
    assert answer.json["checks"]["broker"] == "failing"


@pytest.fixture
def disk_told(tmp_path):
    """Tell what a consumer says of its disk."""
    store = EmbeddedStore(tmp_path / "sessions.sqlite")

    def told(storage):
        checks = work_checks(Beats.of_one(), store, storage, lambda: False)
        return look(checks).checks["disk"]

    yield told
    store.close()


def test_a_consumer_wants_the_reserve_free_where_files_go(disk_told, small_disk, tmp_path):
    storage = StorageSettings(state_dir=tmp_path, roots=(small_disk / "db",))

    assert disk_told(storage) == "ok"
    (small_disk / "fill").write_bytes(b"x" * 5 * 1024**2)

    assert "storage.reserve_bytes" in disk_told(storage)


def test_a_consumer_wants_to_write(disk_told, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    (tmp_path / "file").touch()

    assert "Read-only" in disk_told(StorageSettings(state_dir=small_disk / "state"))
    assert "Not a directory" in disk_told(StorageSettings(state_dir=tmp_path / "file" / "state"))


def test_a_process_that_hangs_does_not_live():
    long_ago = time.monotonic() - HANGS_SECONDS - 1
    beats = Beats([0, 0, 0], [time.monotonic(), long_ago, 0], [1, 1, 0])

    health = look(life_checks(beats))
    beats.beat(1, is_connected=True)

    assert not health.is_fine
    assert health.checks["loop"].startswith("process 1 has hung for 6")
    assert look(life_checks(beats)).is_fine


def test_a_process_that_hangs_before_its_first_turn_does_not_live():
    started_at = [0.0]
    beats = Beats(started_at, [time.monotonic()], [1])

    beats.forget(0)
    assert look(life_checks(beats)).is_fine
    started_at[0] -= HANGS_SECONDS + 1

    assert look(life_checks(beats)).checks["loop"].startswith("process 0 has hung for 6")


def test_what_is_wrong_is_logged_once_and_shown_to_nobody(caplog):
    caplog.set_level(logging.INFO, "biomaj.download.health")
    reasons = ["/db: 10 bytes are free", "/db: 9 bytes are free", "/db: gone"]
    waiting = [*reasons, ""]

    def ask():
        if reason := waiting.pop(0):
            raise DownloadError(reason)

    checks = {"disk": Check(ask)}
    shown = [look(checks).shown["disk"] for _ in range(4)]

    assert shown == ["failing", "failing", "failing", "ok"]
    assert [record.getMessage() for record in caplog.records] == [
        "check fails name=disk: /db: 10 bytes are free",
        "check fails name=disk: /db: gone",
        "check is fine again name=disk",
    ]


def test_a_check_that_hangs_keeps_nobody_waiting_and_is_asked_once():
    may_end = threading.Event()
    asked = []

    def hang():
        asked.append(1)
        may_end.wait()

    def break_down():
        raise RuntimeError("broken")

    checks = {"hangs": Check(hang), "breaks": Check(break_down)}

    for _ in range(2):
        assert look(checks).checks == {
            "hangs": "no answer",
            "breaks": "unexpected failure: broken",
        }
    assert asked == [1]
    may_end.set()
    for _ in poll(10):
        if look(checks).checks["hangs"] == "ok":
            break
    assert look(checks).checks["hangs"] == "ok"
