from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from biomaj_download import biomaj_download_web
from biomaj_download.biomaj_download_web import create_app
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.settings import RedisSettings, Settings
from biomaj_download.store.base import Outcome
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.store.redis import RedisStore
from tests.servers.process import free_port

PROTOBUF = "application/x-protobuf"
GUNICORN_CONF = Path(__file__).parents[1] / "gunicorn_conf.py"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "sessions.sqlite")
    yield store
    store.close()


@pytest.fixture
def client(store):
    return create_app(Settings(), store=store).test_client()


@pytest.fixture
def session(client) -> str:
    return client.post("/api/download/session/bank").json["session"]


def test_web_answers_a_ping(client):
    assert client.get("/api/download").json == {"msg": "pong"}
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_web_tells_progress_and_errors_of_a_session(client, store, session):
    url = f"/api/download/status/download/bank/{session}"
    assert client.get(url).json == {"progress": -1, "errors": -1}

    store.settle(Outcome(bank="bank", session=session, message_key="a"))
    assert client.get(url).json == {"progress": 1, "errors": -1}
    store.settle(Outcome(bank="bank", session=session, message_key="b", error="b: lost"))

    assert client.get(url).json == {"progress": 2, "errors": 1}
    errors = f"/api/download/error/download/bank/{session}"
    assert client.get(errors).json == {"error": ["b: lost"]}
    assert client.get(errors).json == {"error": []}


def test_web_forgets_a_session(client, store, session):
    answer = client.delete(f"/api/download/session/bank/{session}")

    assert answer.json == {"msg": "session cleared"}
    assert not store.has_session("bank", session)


def test_web_gives_a_file_list_that_can_be_decoded(client, store, session):
    status = f"/api/download/status/list/bank/{session}"
    assert client.get(status).json == {"status": False}
    files = wire.FileList(files=[wire.File(name="a.gz", root="/")])

    store.settle(
        Outcome(bank="bank", session=session, message_key="l", files=files.SerializeToString())
    )

    assert client.get(status).json == {"status": True}
    text = client.get(f"/api/download/list/bank/{session}").json["files"]
    assert wire.FileList.FromString(base64.b64decode(text)) == files


def test_web_answers_a_long_poll_when_progress_comes(client, store, session):
    outcome = Outcome(bank="bank", session=session, message_key="a")
    later = threading.Timer(0.2, store.settle, (outcome,))
    later.start()
    started = time.monotonic()

    answer = client.get(f"/api/download/status/download/bank/{session}?after=0&wait_seconds=30")

    later.join()
    assert answer.json["progress"] == 1
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("query", ["after=x", "wait_seconds=nan", "wait_seconds="])
def test_web_names_a_wrong_argument(client, session, query):
    answer = client.get(f"/api/download/status/download/bank/{session}?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json["error"]


def test_web_counts_posted_metrics(client):
    answer = client.post(
        "/api/download/metrics",
        json=[
            {"bank": "pdb", "host": "h", "size": 5, "download_time": 1},
            {"bank": "pdb", "host": "h", "error": "stalled"},
        ],
    )

    assert answer.json == {"msg": "OK"}
    scraped = client.get("/metrics")
    assert scraped.content_type.startswith("text/plain; version=")
    assert samples(scraped.text)["biomaj_download_total"] == 1
    assert samples(scraped.text)["biomaj_download_errors_total"] == 1


def samples(text: str) -> dict[str, float]:
    """Return the sum of each sample name's values."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


@pytest.mark.parametrize(
    "posted",
    [{}, [1], [{}], [{"bank": "b"}], [{"bank": "b", "size": -1, "download_time": 1}], "text"],
)
def test_web_refuses_metrics_that_are_none(client, posted):
    answer = client.post("/api/download/metrics", json=posted)

    assert answer.status_code == 400
    assert "expected" in answer.json["error"]
    assert "biomaj_download_total{" not in client.get("/metrics").text


def test_web_answers_an_unknown_route_with_json(client):
    answer = client.get("/api/nowhere")

    assert answer.status_code == 404
    assert answer.json["code"] == "Not Found"


def test_web_says_that_its_store_is_away():
    away = RedisStore(RedisSettings(host="127.0.0.1", port=1))
    client = create_app(Settings(), store=away).test_client()

    answer = client.post("/api/download/session/bank")

    assert answer.status_code == 503
    assert answer.json["code"] == "store"
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    away.close()


def test_web_takes_operations_where_it_has_a_queue(store, tmp_path):
    broker = EmbeddedBroker(tmp_path / "queue.sqlite")
    client = create_app(Settings(), store=store, broker=broker).test_client()
    operation = wire.Operation(type=wire.Operation.LIST)
    operation.download.bank = operation.download.session = "b"
    operation.download.local_dir = "/tmp"
    remote = operation.download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.FTP, "h", "/"
    remote.matches.append(".*")
    url = "/api/download/operations"

    accepted = client.post(url, data=operation.SerializeToString(), content_type=PROTOBUF)
    refused = client.post(url, data=b"\xff noise", content_type=PROTOBUF)

    assert accepted.status_code == 202
    assert accepted.json["message_id"]
    assert refused.status_code == 400
    assert refused.json["code"] == "message"
    broker.close()


def test_web_takes_no_operations_without_a_queue(client):
    assert client.post("/api/download/operations", data=b"").status_code == 404


def test_import_of_the_web_module_has_no_effects(monkeypatch, tmp_path):
    config = tmp_path / "config.yml"
    config.write_text(f"store: {{url: 'sqlite:{tmp_path / 's.sqlite'}'}}\n")
    assert "app" not in vars(biomaj_download_web)
    monkeypatch.setenv("BIOMAJ_CONFIG", str(config))

    app = biomaj_download_web.app

    assert biomaj_download_web.app is app
    assert app.test_client().get("/api/download").json == {"msg": "pong"}
    with pytest.raises(AttributeError):
        biomaj_download_web.nothing  # noqa: B018 - the look-up is the test
    del biomaj_download_web.app


@pytest.fixture
def gunicorn(redis_server, tmp_path) -> Iterator[str]:
    """A real gunicorn with several workers; its URL."""
    port = free_port()
    config = tmp_path / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "redis": {"host": redis_server.host, "port": redis_server.port, "prefix": "web"},
                "web": {"port": port},
            }
        )
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            str(GUNICORN_CONF),
            "biomaj_download.biomaj_download_web:app",
        ],
        env={**os.environ, "BIOMAJ_CONFIG": str(config)},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(f"{url}/api/download", timeout=5)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "gunicorn did not start"
            time.sleep(0.1)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def test_gunicorn_adds_up_its_workers_and_answers_across_them(gunicorn, redis_server):
    session = requests.post(f"{gunicorn}/api/download/session/bank", timeout=10).json()["session"]
    for _ in range(40):  # a connection each: both workers get some
        entry = {"bank": "bank", "host": "h", "size": 5, "download_time": 1}
        requests.post(f"{gunicorn}/api/download/metrics", json=[entry], timeout=10)

    scraped = {
        samples(requests.get(f"{gunicorn}/metrics", timeout=10).text)["biomaj_download_total"]
        for _ in range(10)
    }

    assert scraped == {40}
    store = RedisStore(RedisSettings(host=redis_server.host, port=redis_server.port, prefix="web"))
    outcome = Outcome(bank="bank", session=session, message_key="a")
    later = threading.Timer(0.3, store.settle, (outcome,))
    later.start()
    answer = requests.get(
        f"{gunicorn}/api/download/status/download/bank/{session}",
        params={"after": 0, "wait_seconds": 30},
        timeout=40,
    )
    later.join()
    store.close()
    assert answer.json() == {"progress": 1, "errors": -1}
