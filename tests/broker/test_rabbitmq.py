"""The queue on a real RabbitMQ, as others see it."""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pika
import pytest

from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.errors import BrokerError
from biomaj_download.settings import RabbitmqSettings, Settings
from tests.contract.broker import BrokerContract, DeadLetter, bodies, consuming, wait_for


class TestRabbitmqBroker(BrokerContract):
    @pytest.fixture
    def settings(self, rabbitmq_settings):
        return Settings(rabbitmq=rabbitmq_settings)

    @pytest.fixture
    def dead_letters(self, channel, queue):
        def read():
            letters = []
            while True:
                method, properties, body = channel.basic_get(f"{queue}.dead", auto_ack=True)
                if method is None:
                    return letters
                reason = properties.headers["x-reason"]
                letters.append(DeadLetter(body, properties.message_id, reason))

        return read


def test_the_queue_is_durable_without_arguments_and_messages_persistent(broker, channel, queue):
    broker.publish(b"body", message_id="one")

    channel.queue_declare(queue, durable=True)
    _, properties, _ = channel.basic_get(queue)
    assert properties.delivery_mode == pika.DeliveryMode.Persistent.value


def test_a_message_of_an_old_client_is_delivered_without_an_id(broker, channel, queue):
    with consuming(broker) as consumption:
        wait_for(broker.is_connected)
        channel.basic_publish("", queue, b"body", pika.BasicProperties(delivery_mode=2))
        (delivery,) = consumption.take(1)
        broker.reject(delivery, reason="unreadable")

    assert (delivery.body, delivery.message_id, delivery.headers) == (b"body", None, {})
    _, properties, body = channel.basic_get(f"{queue}.dead")
    assert (body, properties.message_id) == (b"body", None)


def test_a_dead_letter_keeps_the_headers_and_survives_a_restart(broker, channel, queue):
    channel.queue_declare(queue, durable=True)
    headers = {"x-delivery-count": 4, "trace": "abc"}
    channel.basic_publish("", queue, b"body", pika.BasicProperties(headers=headers))

    with consuming(broker) as consumption:
        broker.reject(*consumption.take(1), reason="r" * 200_000)

    _, properties, _ = channel.basic_get(f"{queue}.dead")
    assert properties.headers.items() >= {**headers, "x-reason": "r" * 2000}.items()
    assert properties.message_id is None
    assert properties.delivery_mode == pika.DeliveryMode.Persistent.value
    channel.queue_declare(f"{queue}.dead", durable=True)


@pytest.mark.parametrize(
    "arguments", [{"x-queue-type": "quorum"}, {"x-max-priority": 5}], ids=["quorum", "priorities"]
)
def test_a_queue_that_exists_otherwise_is_used_as_it_is(broker, channel, queue, caplog, arguments):
    channel.queue_declare(queue, durable=True, arguments=arguments)

    broker.publish(b"one", message_id="1")
    broker.publish_many([(b"two", "2")])

    with consuming(broker) as consumption:
        assert bodies(consumption.take(2)) == [b"one", b"two"]
    assert f"queue used as it exists name={queue}" in caplog.text
    assert next(iter(arguments)) in caplog.text


def test_redeliveries_of_a_quorum_queue_are_counted_in_a_header(broker, channel, queue):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    broker.publish(b"body", message_id="one")

    with consuming(broker) as consumption:
        broker.requeue(*consumption.take(1))
        (again,) = consumption.take(1)

    assert again.headers["x-delivery-count"] == 1


def test_an_account_that_may_make_no_queue_uses_one_that_exists(open_with, channel, queue, account):
    channel.queue_declare(queue, durable=True)
    broker = open_with(**account.credentials)

    broker.publish(b"body", message_id="one")

    with consuming(broker) as consumption:
        assert bodies(consumption.take(1)) == [b"body"]


def test_a_message_whose_dead_letter_cannot_be_stored_comes_again_later(
    open_with, channel, queue, account, monkeypatch
):
    monkeypatch.setattr("biomaj_download.broker.consumer.REQUEUE_LATER_SECONDS", 1)
    channel.queue_declare(queue, durable=True)
    broker = open_with(**account.credentials)
    broker.publish(b"poison", message_id="one")

    with consuming(broker) as consumption:
        (poison,) = consumption.take(1)
        broker.reject(poison, reason="unreadable")
        broker.accept(poison)
        assert consumption.is_quiet()
        (again,) = consumption.take(1)
        assert (again.body, again.redelivered) == (b"poison", True)
        account.allow_to_make_queues()
        broker.reject(again, reason="unreadable")

    assert channel.basic_get(f"{queue}.dead", auto_ack=True)[2] == b"poison"


def test_stop_does_not_wait_for_a_message_that_comes_again_later(
    open_with, channel, queue, account, count_waiting
):
    channel.queue_declare(queue, durable=True)
    broker = open_with(**account.credentials)
    broker.publish(b"poison", message_id="one")

    with consuming(broker) as consumption:
        broker.reject(*consumption.take(1), reason="unreadable")
        broker.stop()
        assert consumption.has_ended()

    assert count_waiting() == 1


@pytest.fixture
def silent_broker(monkeypatch):
    """A broker at a server that accepts connections and never says a word."""
    monkeypatch.setattr(pika.ConnectionParameters, "DEFAULT_STACK_TIMEOUT", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        broker = RabbitmqBroker(RabbitmqSettings(port=silent.getsockname()[1]))
        yield broker
        broker.close()


def test_a_consumer_goes_on_trying_a_server_that_accepts_and_is_silent(silent_broker, caplog):
    thread = threading.Thread(target=silent_broker.consume, args=(print,), kwargs={"slots": 1})
    thread.start()

    wait_for(lambda: "broker lost" in caplog.text)

    assert thread.is_alive()
    silent_broker.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_publisher_says_that_a_server_is_silent(silent_broker):
    with pytest.raises(BrokerError, match="Timeout"):
        silent_broker.publish(b"body", message_id="one")
