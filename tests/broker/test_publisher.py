"""Publishing to RabbitMQ: safe, or a BrokerError that says why not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from biomaj_download.errors import BrokerError


def publish_one(broker):
    broker.publish(b"one", message_id="1")


def publish_many(broker):
    broker.publish_many([(b"one", "1"), (b"two", "2")])


both_ways = pytest.mark.parametrize("publish", [publish_one, publish_many])


@both_ways
def test_publish_connects_again_when_its_idle_connection_was_closed(
    publish, broker, close_all_connections, count_waiting
):
    publish(broker)
    stored = count_waiting()

    close_all_connections()
    publish(broker)

    assert count_waiting() == 2 * stored


@both_ways
def test_publish_makes_the_queue_again_when_it_was_deleted(
    publish, broker, channel, queue, count_waiting
):
    publish(broker)
    stored = count_waiting()
    channel.queue_delete(queue)

    publish(broker)

    assert count_waiting() == stored


@both_ways
def test_publish_fails_when_the_queue_refuses_the_message(publish, broker, channel, queue):
    full = {"x-max-length": 0, "x-overflow": "reject-publish"}
    channel.queue_declare(queue, durable=True, arguments=full)

    with pytest.raises(BrokerError, match=f"queue {queue} at .*: expected a broker that stores"):
        publish(broker)


@both_ways
def test_publish_fails_when_the_queue_is_missing_and_may_not_be_made(
    publish, open_with, account, queue
):
    broker = open_with(**account.credentials)

    with pytest.raises(BrokerError, match=f"NOT_FOUND - no queue '{queue}'"):
        publish(broker)


@both_ways
def test_publish_fails_when_the_queue_belongs_to_one_connection(publish, broker, channel, queue):
    channel.queue_declare(queue, exclusive=True)

    with pytest.raises(BrokerError, match="RESOURCE_LOCKED"):
        publish(broker)


@both_ways
def test_publish_names_the_broker_that_it_cannot_reach(publish, open_with, closed_port):
    broker = open_with(port=closed_port)

    with pytest.raises(BrokerError, match=rf"127.0.0.1:{closed_port}/: .* Connection refused"):
        publish(broker)

    assert not broker.is_connected()


def test_publish_names_a_host_without_an_address(open_with):
    broker = open_with(host="nohost.invalid")

    with pytest.raises(BrokerError, match=r"at nohost\.invalid:"):
        publish_one(broker)


def test_publish_keeps_a_wrong_password_for_itself(open_with, caplog):
    broker = open_with(password=SecretStr("s3cret"))

    with pytest.raises(BrokerError, match="ACCESS_REFUSED") as caught:
        publish_one(broker)

    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r} {caplog.text}"


def test_publishing_threads_do_not_disturb_each_other(broker, count_waiting):
    numbers = range(200)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: broker.publish(b"%d" % n, message_id=str(n)), numbers))

    assert broker.is_connected()
    assert count_waiting() == len(numbers)
