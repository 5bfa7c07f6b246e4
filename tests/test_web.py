from __future__ import annotations

import base64
import importlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from biomaj_download import biomaj_download_web
from biomaj_download.biomaj_download_web import create_app
from biomaj_download.broker.base import Delivery
from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.settings import RedisSettings, Settings
from biomaj_download.store.base import Message, Outcome
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.store.redis import RedisStore
from tests.exposition import samples
from tests.servers.process import poll

PROTOBUF = "application/x-protobuf"


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
    assert client.get(url).json == {"progress": -1, "errors": -1, "open": True}

    store.settle(Outcome(message=Message(bank="bank", session=session, key="a")))
    assert client.get(url).json == {"progress": 1, "errors": -1, "open": True}
    store.settle(Outcome(message=Message(bank="bank", session=session, key="b"), error="b: lost"))

    assert client.get(url).json == {"progress": 2, "errors": 1, "open": True}
    errors = f"/api/download/error/download/bank/{session}"
    assert client.get(errors).json == {"error": ["b: lost"]}
    assert client.get(errors).json == {"error": []}


def test_web_forgets_a_session(client, store, session):
    answer = client.delete(f"/api/download/session/bank/{session}")

    assert answer.json == {"msg": "session cleared"}
    assert not store.progress("bank", session).is_open


def test_web_gives_a_file_list_that_can_be_decoded(client, store, session):
    status = f"/api/download/status/list/bank/{session}"
    assert client.get(status).json == {"status": False}
    files = wire.FileList(files=[wire.File(name="a.gz", root="/")])

    store.settle(
        Outcome(
            message=Message(bank="bank", session=session, key="l"), files=files.SerializeToString()
        )
    )

    assert client.get(status).json == {"status": True}
    text = client.get(f"/api/download/list/bank/{session}").json["files"]
    assert wire.FileList.FromString(base64.b64decode(text)) == files


class WatchedStore(EmbeddedStore):
    """Counts the questions that wait."""

    held = 0

    def wait_for_progress(self, *arguments: Any, **values: Any) -> Any:
        self.held += values["timeout_seconds"] > 0
        return super().wait_for_progress(*arguments, **values)


@pytest.fixture
def watched_store(tmp_path: Path) -> Iterator[WatchedStore]:
    store = WatchedStore(tmp_path / "watched.sqlite")
    yield store
    store.close()


@contextmanager
def long_poll(store: WatchedStore, app: Any, url: str) -> Iterator[Future[Any]]:
    """Ask for progress; the question has reached the store and waits there."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: app.test_client().get(url).json)
        for _ in poll(10):
            if store.held:
                break
        yield asked


def test_web_answers_a_long_poll_when_progress_comes(watched_store):
    app = create_app(Settings(), store=watched_store)
    session = watched_store.create_session("bank")
    url = f"/api/download/status/download/bank/{session}?after=0&wait_seconds=30"

    with long_poll(watched_store, app, url) as asked:
        assert not asked.done()
        watched_store.settle(Outcome(message=Message(bank="bank", session=session, key="a")))

        assert asked.result(timeout=10) == {"progress": 1, "errors": -1, "open": True}


def test_web_holds_no_more_long_polls_than_it_may(watched_store, monkeypatch):
    monkeypatch.setattr(biomaj_download_web, "LONG_POLLS", 1)
    app = create_app(Settings(), store=watched_store)
    session = watched_store.create_session("bank")
    url = f"/api/download/status/download/bank/{session}?after=0&wait_seconds=30"
    outcome = Outcome(message=Message(bank="bank", session=session, key="a"))

    with long_poll(watched_store, app, url) as asked:
        started = time.monotonic()
        assert app.test_client().get(url).json == {"progress": -1, "errors": -1, "open": True}
        assert time.monotonic() - started < 10
        watched_store.settle(outcome)
        asked.result(timeout=10)
    assert watched_store.held == 1

    app.test_client().get(url)
    assert watched_store.held == 2  # the place is free again


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
            {"bank": "pdb", "host": "h", "error": True, "size": 7, "download_time": 1},
            {"bank": "pdb", "error": "", "size": "3", "download_time": 0.0},  # of an old consumer
        ],
    )

    assert answer.json == {"msg": "OK"}
    scraped = client.get("/metrics")
    assert scraped.content_type.startswith("text/plain; version=")
    counted = samples(scraped.text)
    assert counted["biomaj_download_total"] == 2
    assert counted["biomaj_download_file_size_total"] == 8
    assert counted["biomaj_download_errors_total"] == 2


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "no json",
        "[1]",
        "[{}]",
        '[{"bank": "b"}]',
        '[{"bank": "", "error": "stalled"}]',
        '[{"bank": "b", "size": -1, "download_time": 1}]',
        '[{"bank": "b", "size": Infinity, "download_time": 1}]',
        '[{"bank": "b", "size": 1, "download_time": null}]',
        '[{"bank": "good", "size": 1, "download_time": 1}, {"bank": "b"}]',
    ],
)
def test_web_refuses_metrics_that_are_none(client, body):
    answer = client.post("/api/download/metrics", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert "expected an array of {bank, host?, error?, size, download_time}" in answer.json["error"]
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
    assert refused.status_code == 422
    assert refused.json["code"] == "message"
    assert delivered(broker) == [(accepted.json["message_id"], operation.SerializeToString())]


def delivered(broker: EmbeddedBroker) -> list[tuple[str | None, bytes]]:
    """Return what is on a queue, each with its message id, and close it."""
    deliveries: list[Delivery] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(broker.consume, deliveries.append, slots=10)
        for _ in poll(10):
            if deliveries:
                break
        broker.close()
    return [(delivery.message_id, delivery.body) for delivery in deliveries]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_web_takes_no_operation_that_a_browser_may_send_unasked(store, tmp_path, content_type):
    broker = EmbeddedBroker(tmp_path / "queue.sqlite")
    client = create_app(Settings(), store=store, broker=broker).test_client()

    answer = client.post("/api/download/operations", data=b"x", content_type=content_type)

    assert answer.status_code == 415
    assert PROTOBUF in answer.json["error"]
    broker.close()


@pytest.fixture
def _configured(monkeypatch, tmp_path) -> Iterator[None]:
    """A configuration in the environment, and no application yet."""
    config = tmp_path / "config.yml"
    config.write_text("log_config: {version: 1, loggers: {biomaj: {level: ERROR}}}")
    monkeypatch.setenv("BIOMAJ_CONFIG", str(config))
    level = logging.getLogger("biomaj").level
    yield
    logging.getLogger("biomaj").setLevel(level)
    vars(biomaj_download_web).pop("app", None)


@pytest.mark.usefixtures("_configured")
def test_app_is_made_on_first_use_and_logs_as_configured():
    assert "app" not in vars(biomaj_download_web)

    app = biomaj_download_web.app

    assert app.test_client().get("/api/download").json == {"msg": "pong"}
    assert logging.getLogger("biomaj").level == logging.ERROR
    assert importlib.import_module("biomaj_download.wsgi").app is app
    with pytest.raises(AttributeError, match="nothing"):
        biomaj_download_web.nothing  # noqa: B018 - the look-up is the test


def test_a_fault_of_ours_is_logged_where_biomaj_looks(store, monkeypatch, caplog):
    app = create_app(Settings(), store=store)
    monkeypatch.setattr(store, "progress", lambda *_: 1 / 0)

    with caplog.at_level(logging.ERROR, logger="biomaj"):
        answer = app.test_client().get("/api/download/status/download/bank/1")

    assert answer.status_code == 500
    assert [record.name for record in caplog.records] == ["biomaj.download.web"]
    assert "ZeroDivisionError" in caplog.text
