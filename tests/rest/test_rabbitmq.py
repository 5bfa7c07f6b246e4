"""The routes of queue and dead letters on a real RabbitMQ."""

from __future__ import annotations

from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from google.protobuf import json_format

from biomaj_download.biomaj_download_web import close_app, create_app
from biomaj_download.broker.base import REQUEUED_HEADER, Delivery
from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode, new_operation
from biomaj_download.rest.change_routes import PROTOBUF
from biomaj_download.settings import MessageSettings, RabbitmqSettings, Settings
from tests.servers.process import poll

BASE = "/api/download"


@pytest.fixture
def make_client(rabbitmq, queue, store, activity):
    """Make a client of an application on RabbitMQ; `sections`: of its settings."""
    with ExitStack() as on_close:

        def make(*, broker_port=rabbitmq.port, **sections):
            section = {**rabbitmq.section, "queue": queue, "port": broker_port}
            settings = Settings(rabbitmq=RabbitmqSettings(**section), **sections)
            broker = on_close.enter_context(closing(RabbitmqBroker(settings.rabbitmq)))
            app = create_app(settings, store=store, broker=broker, activity=activity)
            on_close.callback(close_app, app)
            return app.test_client()

        yield make


def listing(*, pattern: str = ".*") -> wire.Operation:
    """Return a request for a LIST."""
    operation = new_operation(Kind.LIST, bank="bank", session="s", local_dir="/tmp")
    remote = operation.download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.FTP, "h", "/"
    remote.matches.append(pattern)
    return operation


@pytest.fixture
def bury(rabbitmq, queue):
    """Have a message set aside as a consumer does; return the id of its letter by `client`."""

    def bury(client, body, *, reason):
        settings = RabbitmqSettings(**{**rabbitmq.section, "queue": queue})
        broker = RabbitmqBroker(settings)

        def on_delivery(delivery: Delivery):
            broker.reject(delivery, reason=reason)
            broker.stop()

        broker.publish(body, message_id=str(uuid4()))
        broker.consume(on_delivery, slots=1)
        broker.close()
        (letter,) = client.get(f"{BASE}/dead").json["dead_letters"]
        return letter["id"]

    return bury


def test_an_operation_is_on_the_queue_when_it_is_accepted(make_client, channel, queue):
    client, operation = make_client(), listing()

    binary = client.post(
        f"{BASE}/operations", data=operation.SerializeToString(), content_type=PROTOBUF
    )
    json = client.post(
        f"{BASE}/operations",
        data=json_format.MessageToJson(operation),
        content_type="application/json",
    )

    for answer in (binary, json):
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        assert (answer.status_code, answer.json["message_id"]) == (202, properties.message_id)
        assert properties.delivery_mode == 2  # persistent
        assert decode(body).matches == (".*",)


def test_what_is_no_request_reaches_no_queue(make_client, channel, queue):
    client = make_client()

    answer = client.post(f"{BASE}/operations", data=b"\xff noise", content_type=PROTOBUF)

    assert answer.status_code == 422
    assert client.get(f"{BASE}/queue").json["messages"] == 0


def test_the_queue_is_told_as_the_broker_tells_it(make_client, channel, queue, bury):
    client = make_client()
    bury(client, b"noise", reason="it is noise")
    for number in range(3):
        channel.basic_publish("", queue, b"%d" % number)
    channel.basic_consume(queue, lambda *_: None)

    told = {}
    for _ in poll(10):
        told = client.get(f"{BASE}/queue").json
        if told["consumers"]:
            break

    assert (told["consumers"], told["dead_letters"], told["error"]) == (1, 1, None)


def test_a_dead_letter_is_listed_and_put_back_as_the_message_that_it_was(
    make_client, channel, queue, bury
):
    client, body = make_client(), listing().SerializeToString()
    id_ = bury(client, body, reason="delivered too often")

    (letter,) = client.get(f"{BASE}/dead").json["dead_letters"]
    answer = client.post(f"{BASE}/dead/{id_}/requeue", json={})
    again = client.post(f"{BASE}/dead/{id_}/requeue", json={})

    assert (letter["bank"], letter["reason"]) == ("bank", "delivered too often")
    assert answer.json == {"requeued": id_}
    assert again.status_code == 404
    _, properties, requeued = channel.basic_get(queue, auto_ack=True)
    assert (requeued, properties.message_id) == (body, letter["message_id"])
    assert properties.headers[REQUEUED_HEADER] == 1
    assert client.get(f"{BASE}/dead").json == {"dead_letters": [], "total": 0}


def test_a_dead_letter_is_dropped_once_and_the_others_stay(make_client, channel, queue, bury):
    client = make_client()
    id_ = bury(client, b"noise", reason="it is noise")
    channel.basic_publish("", f"{queue}.dead", b"another's")

    dropped = client.delete(f"{BASE}/dead/{id_}")
    again = client.delete(f"{BASE}/dead/{id_}")

    assert (dropped.status_code, again.status_code) == (204, 404)
    (left,) = client.get(f"{BASE}/dead").json["dead_letters"]
    assert left["size_bytes"] == len(b"another's")
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_a_broker_that_is_away_is_a_problem(make_client):
    client = make_client(broker_port=1)
    body = listing().SerializeToString()

    answers = [
        client.post(f"{BASE}/operations", data=body, content_type=PROTOBUF),
        client.get(f"{BASE}/dead"),
        client.post(f"{BASE}/dead/x/requeue", json={}),
        client.delete(f"{BASE}/dead/x"),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json["code"]) == (503, "broker")
        assert answer.headers["Retry-After"]


def test_the_sites_limits_hold_for_requests_and_for_what_is_shown_of_dead_ones(
    make_client, queue, bury
):
    long = listing(pattern="x" * 5000).SerializeToString()
    usual, wide, narrow = (
        make_client(**sections)
        for sections in (
            {},
            {"message": MessageSettings(max_pattern_characters=6000)},
            {"message": MessageSettings(max_bytes=10)},
        )
    )

    codes = [
        client.post(f"{BASE}/operations", data=long, content_type=PROTOBUF).status_code
        for client in (usual, wide, narrow)
    ]
    assert codes == [422, 202, 422]

    bury(usual, long, reason="too long")
    banks = [
        client.get(f"{BASE}/dead").json["dead_letters"][0]["bank"]
        for client in (usual, wide, narrow)
    ]
    assert banks == ["bank", "bank", None]
