"""What becomes of files is told on RabbitMQ, and holds up nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from prometheus_client import CollectorRegistry

from biomaj_download.broker.exchange import LONGEST_KEY_BYTES, Event
from biomaj_download.downloadservice import DownloadService
from biomaj_download.events import MOST_PASSING, MOST_WAITING, EventTeller
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.metrics import ConsumerMetrics
from biomaj_download.serving import embedded_in
from biomaj_download.settings import EventsSettings, RabbitmqSettings, Settings, StorageSettings
from biomaj_download.store.activity import EndedFile, RunningFile
from biomaj_download.store.opening import open_store
from tests.servers.cutter import Cutter
from tests.servers.faulty_http import Answer
from tests.servers.process import poll
from tests.servers.swallower import Swallower

DOCS = Path(__file__).parents[1] / "docs"
#: Longer than two rounds of telling, on a busy machine, too.
SLOWLY = Answer(body=b"x" * 4096, pause_seconds=0.7, pause_every_bytes=512)
NOW = datetime.now(timezone.utc)


class Listener:
    """A queue that is bound to all events of an exchange."""

    def __init__(self, channel: BlockingChannel) -> None:
        self.exchange = f"test-{uuid4()}"
        self._channel = channel
        channel.exchange_declare(self.exchange, "topic", durable=True)
        self._queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(self._queue, self.exchange, "#")

    def heard(self, *, last: str) -> list[tuple[str, pika.BasicProperties, dict]]:
        """Return key, properties and content of all events up to one of a kind."""
        heard = []
        for _ in poll(30):
            method, properties, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                continue
            heard.append((method.routing_key, properties, json.loads(body)))
            if properties.type == last:
                return heard
        raise AssertionError(f"expected an event {last}, got {heard}")


@pytest.fixture
def listener(rabbitmq):
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        listener = Listener(connection.channel())
        yield listener
        connection.channel().exchange_delete(listener.exchange)


@pytest.fixture
def rabbitmq_settings(rabbitmq):
    return RabbitmqSettings(**rabbitmq.section)


@pytest.fixture
def tell_with():
    """Tell of files with settings of RabbitMQ; what was published and dropped is `counted`."""
    tellers = []

    def tell_with(settings, exchange):
        counted = {"published": 0, "dropped": 0}

        def count(outcome, number):
            counted[outcome] += number

        tellers.append(EventTeller(settings, exchange, count=count))
        return tellers[-1], counted

    yield tell_with
    for teller in tellers:
        teller.close()


@contextmanager
def consuming(settings):
    """Work on requests; yield the service."""
    service = DownloadService(settings=settings)
    running = threading.Thread(target=service.wait_for_messages)
    running.start()
    try:
        yield service
    finally:
        service.stop()
        running.join()
        service.close()


def bring(service, settings, http, folder, *names):
    """Request files, and return when all have ended."""
    with closing(open_store(settings)) as store:
        session = store.create_session("my.bank")
        for name in names:
            operation = new_operation(
                Kind.DOWNLOAD, bank="my.bank", session=session, local_dir=str(folder)
            )
            operation.download.options["stop_condition"] = "stop_after_attempt(1)"
            remote = operation.download.remote_file
            remote.protocol = wire.DownloadFile.HTTP
            remote.server = f"{http.host}:{http.port}"
            remote.remote_dir = "/"
            remote.files.add(name=name)
            service.ask_download(operation)
        for _ in poll(60):
            if store.progress("my.bank", session).done == len(names):
                return session
    raise AssertionError("not all files ended")


def settings_in(folder, rabbitmq, exchange):
    """Return the settings of an embedded queue whose events go to RabbitMQ."""
    return embedded_in(
        folder,
        Settings(
            rabbitmq=rabbitmq,
            events=EventsSettings(exchange=exchange),
            storage=StorageSettings(state_dir=folder / "state", reserve_bytes=0),
        ),
    )


def test_a_file_is_told_of_from_its_beginning_to_its_end(
    listener, rabbitmq_settings, faulty_http, tmp_path
):
    faulty_http.add("/slow.dat", SLOWLY)
    settings = settings_in(tmp_path, rabbitmq_settings, listener.exchange)

    with consuming(settings) as service:
        session = bring(service, settings, faulty_http, tmp_path / "home", "slow.dat")
        heard = listener.heard(last="finished")

    kinds = [event["event"] for _, _, event in heard]
    assert kinds[0] == "started"
    assert set(kinds[1:-1]) == {"progress"}
    for key, properties, event in heard:
        assert key == f"my.bank.{event['event']}"
        assert (properties.type, properties.content_type) == (event["event"], "application/json")
        assert (event["session"], event["name"]) == (session, "slow.dat")
        assert event["host"] == f"http://{faulty_http.host}:{faulty_http.port}"
    progress, finished = heard[-2][2], heard[-1][2]
    assert 0 < progress["received_bytes"] <= 4096
    assert finished["size_bytes"] == 4096
    assert datetime.fromisoformat(finished["ended_at"]).tzinfo is not None


def test_a_file_that_ends_at_once_has_started_too(
    listener, rabbitmq_settings, faulty_http, tmp_path
):
    settings = settings_in(tmp_path, rabbitmq_settings, listener.exchange)

    with consuming(settings) as service:
        bring(service, settings, faulty_http, tmp_path / "home", "none.dat")
        heard = [event for _, _, event in listener.heard(last="failed")]

    assert [event["event"] for event in heard] == ["started", "failed"]
    assert heard[1]["code"] == "remote-file-missing"
    assert "none.dat" in heard[1]["error"]


def test_files_come_although_the_broker_takes_no_event(
    rabbitmq, rabbitmq_settings, faulty_http, tmp_path
):
    faulty_http.add("/a.dat", Answer(body=b"data"))
    with Swallower(rabbitmq.port) as swallower:
        swallower.swallows = True
        away = rabbitmq_settings.model_copy(update={"port": swallower.port})
        settings = settings_in(tmp_path, away, "events")

        with consuming(settings) as service:
            bring(service, settings, faulty_http, tmp_path / "home", "a.dat")

        swallower.swallows = False
    assert (tmp_path / "home" / "a.dat").read_bytes() == b"data"


def ended(name: str, error: str | None = None) -> EndedFile:
    return EndedFile(
        bank="bank",
        session="s",
        name=name,
        host="ftp://h:21",
        state="failed" if error else "done",
        size_bytes=5,
        seconds=0.1,
        ended_at=NOW,
        code="transfer" if error else None,
        error=error,
    )


RUNNING = RunningFile(
    bank="bank",
    session="s",
    name="a",
    host="ftp://h:21",
    protocol="ftp",
    attempt=1,
    received_bytes=1,
    size_bytes=None,
    bytes_per_second=1,
    begun_at=NOW,
    consumer="here:1",
)


def test_what_happens_while_the_connection_is_cut_is_told_after(
    listener, rabbitmq, rabbitmq_settings, tell_with
):
    with Cutter(rabbitmq.port, cuts=0) as cutter:
        through = rabbitmq_settings.model_copy(update={"port": cutter.port})
        teller, _ = tell_with(through, listener.exchange)
        teller.tell([], [], [ended("a")])
        listener.heard(last="finished")

        cutter.cut()
        teller.tell([], [], [ended("b")])
        told = listener.heard(last="finished")

        assert [event["name"] for _, _, event in told] == ["b"]
        teller.close()


def test_what_a_broker_that_is_away_does_not_take_is_dropped_and_counted(
    rabbitmq_settings, tell_with
):
    away = rabbitmq_settings.model_copy(update={"port": 1})
    teller, counted = tell_with(away, "events")

    teller.tell([], [RUNNING] * (MOST_PASSING + 7), [ended("a")] * MOST_WAITING)

    assert counted == {"published": 0, "dropped": 7 + MOST_PASSING}


def test_an_exchange_of_another_kind_is_used_as_it_is(
    rabbitmq, rabbitmq_settings, tell_with, caplog
):
    name = f"test-{uuid4()}"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "fanout", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, name)
        teller, counted = tell_with(rabbitmq_settings, name)

        teller.tell([], [], [ended("a")])
        for _ in poll(30):
            if counted["published"]:
                break

        assert channel.basic_get(queue, auto_ack=True)[2]
        assert f"exchange used as it exists name={name}" in caplog.text
        channel.exchange_delete(name)


def test_published_and_dropped_events_are_figures():
    metrics = ConsumerMetrics(CollectorRegistry())
    metrics.observe_events("dropped", 3)

    assert 'biomaj_download_events_total{outcome="dropped"} 3.0' in metrics.exposed().decode()


@pytest.mark.parametrize("bank", ["b" * 1000, "é" * 200])
def test_a_bank_with_a_long_name_has_a_key_that_fits(bank):
    key = Event(bank, "finished", b"", is_lasting=True).routing_key

    assert len(key.encode()) <= LONGEST_KEY_BYTES
    assert re.fullmatch(r"(b+|é+)\.finished", key)


@pytest.mark.parametrize(
    ("kind", "method", "dropped"),
    [(pika.BlockingConnection, "process_data_events", 0), (BlockingChannel, "tx_commit", 1)],
)
def test_a_fault_of_the_library_costs_a_connection(
    listener, rabbitmq_settings, tell_with, monkeypatch, kind, method, dropped
):
    teller, counted = tell_with(rabbitmq_settings, listener.exchange)
    has_failed = threading.Event()

    def fail(*_, **__):
        has_failed.set()
        raise RuntimeError("a fault")

    teller.tell([], [], [ended("a")])
    listener.heard(last="finished")
    with monkeypatch.context() as patched:
        patched.setattr(kind, method, fail)
        if dropped:
            teller.tell([], [], [ended("b")])
        assert has_failed.wait(10)
        for _ in poll(10):
            if counted["dropped"] == dropped:
                break
    teller.tell([], [], [ended("c", "c: lost")])

    assert [event["name"] for _, _, event in listener.heard(last="failed")] == ["c"]


def test_the_shown_program_hears_what_came_and_what_failed(
    rabbitmq, rabbitmq_settings, tell_with, tmp_path
):
    page = (DOCS / "howto" / "events.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (exchange,) = re.findall(r"exchange: (\S+)", page)
    heard = tmp_path / "heard"
    with heard.open("w") as output:
        listening = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "AMQP_URL": rabbitmq.url},
            stdout=output,
        )
    try:
        teller, _ = tell_with(rabbitmq_settings, exchange)
        for _ in poll(30):
            teller.tell([RUNNING], [], [ended("a"), ended("b", "b: lost")])
            lines = heard.read_text().splitlines()
            if len(set(lines)) > 1:  # the program asks for one kind after the other
                break
        told = ["finished bank a ", "failed bank b b: lost"]
        both = lines.index(told[1]) + 1
        assert lines[both - 2 : both] == told
        assert set(lines) == set(told)
    finally:
        listening.terminate()
        listening.wait()
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            connection.channel().queue_delete("what-came-home")
            connection.channel().exchange_delete(exchange)


def test_the_reference_shows_the_fields_that_an_event_has(listener, rabbitmq_settings, tell_with):
    page = (DOCS / "reference" / "events.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)
    teller, _ = tell_with(rabbitmq_settings, listener.exchange)
    full = RUNNING.model_copy(update={"size_bytes": 1})

    teller.tell([], [full], [ended("a"), ended("b", "b: lost")])

    heard = [event for _, _, event in listener.heard(last="failed")]
    assert json.loads(shown).keys() == heard[1].keys()
    assert [name for event in heard for name in event if f"`{name}`" not in page] == []
