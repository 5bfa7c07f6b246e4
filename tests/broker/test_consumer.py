"""A consumer on a RabbitMQ that goes away, restarts, or loses patience."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty

import pytest
from pydantic import SecretStr

from biomaj_download.broker.consumer import AHEAD, SLOW_SECONDS
from tests.contract.broker import bodies, consuming, wait_for

ENOUGH_TRIES = 3


@pytest.fixture
def acknowledgement_timeout(rabbitmq):
    """New channels of the broker take a message back after a second."""

    def set_milliseconds(**values):
        for name, value in values.items():
            rabbitmq.rabbitmqctl("eval", f"application:set_env(rabbit, {name}, {value}).")

    set_milliseconds(channel_tick_interval=300, consumer_timeout=1000)
    yield
    set_milliseconds(channel_tick_interval=60_000, consumer_timeout=1_800_000)


@contextmanager
def stopped(rabbitmq):
    rabbitmq.stop()
    try:
        yield
    finally:
        rabbitmq.start()


@contextmanager
def settling_in_a_moment(broker):
    """Consume from a long queue with three slots, after as many messages were settled at once."""
    broker.publish_many((b"%d" % number, str(number)) for number in range(60))
    with consuming(broker, slots=3) as consumption:
        for _ in range(3):
            broker.accept(*consumption.take(1))
        yield consumption


def test_deliveries_of_a_closed_connection_come_again_and_old_settlements_are_dropped(
    broker, close_all_connections, caplog
):
    broker.publish_many([(b"one", "1"), (b"two", "2")])
    with consuming(broker, slots=2) as consumption:
        old = consumption.take(2)

        close_all_connections()
        again = consumption.take(2)
        broker.accept(old[0])
        broker.accept(again[1])
        broker.requeue(again[0])
        (last,) = consumption.take(1)

    assert sorted(bodies(again)) == [b"one", b"two"]
    assert all(delivery.redelivered for delivery in again)
    assert "settlement dropped" in caplog.text
    assert last.body == again[0].body


def test_consumers_go_on_after_a_restart_whether_they_ran_before_or_not(
    rabbitmq, open_with, count_waiting
):
    early, late = open_with(), open_with()
    sent = {b"%d" % number for number in range(300)}
    early.publish_many((body, body.decode()) for body in sent)
    received = set()

    def work(broker, consumption):
        with suppress(Empty):
            delivery = consumption.deliveries.get(timeout=0.05)
            received.add(delivery.body)
            broker.accept(delivery)

    def work_both():
        work(early, first)
        work(late, second)
        return received == sent

    with ExitStack() as consumers:
        first = consumers.enter_context(consuming(early, slots=10))
        while len(received) < len(sent) // 3:
            work(early, first)
        with stopped(rabbitmq):
            wait_for(lambda: not early.is_connected())
            second = consumers.enter_context(consuming(late, slots=10))
            assert second.is_quiet()
        wait_for(lambda: early.is_connected() and late.is_connected())
        wait_for(work_both)

    assert count_waiting() == 0


def test_the_connection_lives_while_all_workers_are_busy_for_many_heartbeats(
    open_with, count_waiting
):
    broker = open_with(heartbeat_seconds=1)
    broker.publish_many((b"%d" % number, str(number)) for number in range(16))

    def work(delivery):
        time.sleep(4)  # the broker gives up after two heartbeats of a second
        broker.accept(delivery)

    with consuming(broker, slots=16) as consumption, ThreadPoolExecutor(16) as pool:
        for delivery in consumption.take(16):
            pool.submit(work, delivery)
        pool.shutdown()
        assert consumption.deliveries.empty()

    assert count_waiting() == 0


@pytest.mark.usefixtures("acknowledgement_timeout")
def test_a_message_worked_on_for_longer_than_the_broker_allows_comes_again(broker, logged_errors):
    broker.publish(b"body", message_id="one")

    with consuming(broker) as consumption:
        consumption.take(1)
        (again,) = consumption.take(1)
        broker.accept(again)

    assert again.redelivered
    assert "delivery acknowledgement on channel 1 timed out" in logged_errors()[0]


def test_a_consumer_makes_its_queue_again_when_it_was_deleted(broker, channel, queue, caplog):
    with consuming(broker) as consumption:
        wait_for(broker.is_connected)

        channel.queue_delete(queue)
        wait_for(lambda: "broker back" in caplog.text)
        broker.publish(b"body", message_id="one")
        assert bodies(consumption.take(1)) == [b"body"]

    assert "the broker no longer serves" in caplog.text


@pytest.mark.usefixtures("quick_waits")
def test_an_outage_is_logged_once_however_many_tries_fail(open_with, deaf_server, logged_errors):
    broker = open_with(port=deaf_server.port)

    with consuming(broker):
        wait_for(lambda: deaf_server.connections > ENOUGH_TRIES)

    assert len(logged_errors()) == 1
    assert f"server=127.0.0.1:{deaf_server.port}" in logged_errors()[0]


def test_a_consumer_shows_that_it_lives_while_it_waits_for_a_broker(
    open_with, closed_port, logged_errors, monkeypatch
):
    monkeypatch.setattr("biomaj_download.broker.outage.FIRST_WAIT_SECONDS", 30)
    broker = open_with(port=closed_port)

    with consuming(broker) as consumption:
        wait_for(lambda: logged_errors() != [])
        assert consumption.turns(3)


@pytest.mark.usefixtures("quick_waits")
def test_a_wrong_password_is_waited_out_and_never_logged(open_with, caplog, logged_errors):
    caplog.set_level(logging.DEBUG)
    broker = open_with(password=SecretStr("s3cret"))

    with consuming(broker):
        wait_for(lambda: logged_errors() != [])

    assert "ACCESS_REFUSED" in logged_errors()[0]
    assert "s3cret" not in caplog.text


@pytest.mark.usefixtures("quick_waits")
def test_a_missing_permission_is_named_and_waited_for(open_with, queue, account, logged_errors):
    broker = open_with(**account.credentials)

    with consuming(broker) as consumption:
        wait_for(lambda: logged_errors() != [])
        account.allow_to_make_queues()
        wait_for(broker.is_connected)
        broker.publish(b"body", message_id="one")
        assert bodies(consumption.take(1)) == [b"body"]

    assert f"NOT_FOUND - no queue '{queue}'" in logged_errors()[0]


def test_a_consumer_takes_messages_ahead_while_they_are_settled_in_a_moment(broker, monkeypatch):
    monkeypatch.setattr("biomaj_download.broker.consumer.AHEAD_SECONDS", 60)

    with settling_in_a_moment(broker) as consumption:
        ahead = consumption.take(3 + AHEAD * 3)
        assert consumption.is_quiet()

        time.sleep(SLOW_SECONDS)
        for delivery in ahead:
            broker.accept(delivery)
        consumption.take(3)
        assert consumption.is_quiet()


def test_a_consumer_takes_no_more_ahead_than_lasts_for_a_moment(broker, monkeypatch):
    monkeypatch.setattr("biomaj_download.broker.consumer.AHEAD_SECONDS", 0)

    with settling_in_a_moment(broker) as consumption:
        consumption.take(3 + 1)
        assert consumption.is_quiet()


def test_a_pause_between_two_banks_is_no_slow_pace(broker, monkeypatch):
    monkeypatch.setattr("biomaj_download.broker.consumer.AHEAD_SECONDS", 5)
    broker.publish_many([(b"one", "one"), (b"two", "two")])

    with consuming(broker, slots=3) as consumption:
        for delivery in consumption.take(2):
            broker.accept(delivery)
        time.sleep(1)
        broker.publish_many((b"%d" % number, str(number)) for number in range(60))
        broker.accept(*consumption.take(1))
        consumption.take(3 + AHEAD * 3)
        assert consumption.is_quiet()
