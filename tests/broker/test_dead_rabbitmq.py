"""Dead letters on a real RabbitMQ, of ours and of others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pika
import pytest

from biomaj_download.broker.dead import identity_of
from biomaj_download.broker.dead_rabbitmq import RabbitmqDeadLetters
from biomaj_download.errors import BrokerError
from tests.contract.broker import bodies, consuming, read, wait_for
from tests.servers.rabbitmq import plain_channel


@pytest.fixture
def letters(rabbitmq_settings):
    return RabbitmqDeadLetters(rabbitmq_settings)


@pytest.fixture
def dead_queue(channel, queue):
    channel.queue_declare(f"{queue}.dead", durable=True)
    return f"{queue}.dead"


@pytest.fixture
def dead_queue_of_quorum(channel, queue):
    channel.queue_declare(f"{queue}.dead", durable=True, arguments={"x-queue-type": "quorum"})
    return f"{queue}.dead"


def put(channel, queue, *texts, **properties):
    for text in texts:
        channel.basic_publish("", queue, text, pika.BasicProperties(**properties))


def test_letters_that_others_put_there_have_an_id_that_stays(letters, channel, dead_queue):
    put(channel, dead_queue, b"alike", b"alike", b"other", message_id="m", headers={"trace": "abc"})
    put(
        channel,
        dead_queue,
        b"alike",
        message_id="m",
        headers={"x-dead-letter-id": "no hexadecimal"},
    )

    found = read(letters)

    assert read(letters) == found
    assert len({letter.id for letter in found}) == 4
    assert (found[0].reason, found[0].died_at, found[0].message_id) == ("", None, "m")
    assert found[0].headers == {"trace": "abc"}


def test_of_letters_alike_one_is_settled(letters, channel, dead_queue):
    put(channel, dead_queue, b"alike", b"alike", b"alike")
    _, second, _ = read(letters)

    assert letters.drop({second.id}) == {second.id}

    assert bodies(read(letters)) == [b"alike", b"alike"]


def test_a_letter_that_the_broker_let_die_tells_how_and_begins_anew_when_requeued(
    letters, channel, queue, dead_queue
):
    dies = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_queue}
    channel.queue_declare(queue, durable=True, arguments=dies)
    put(channel, queue, b"body", headers={"trace": "abc", "x-delivery-count": 9})
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    wait_for(lambda: letters.count() == 1)

    (letter,) = read(letters)
    assert letters.requeue({letter.id}) == {letter.id}

    assert letter.reason == f"rejected from queue {queue}"
    assert letter.died_at is not None
    assert letter.died_at.tzinfo is not None
    assert letter.headers["x-death"][0]["count"] == 1
    _, properties, body = channel.basic_get(queue)
    assert (body, properties.message_id) == (b"body", identity_of(None, b"body"))
    assert properties.headers == {"trace": "abc", "x-requeued": 1}
    assert properties.delivery_mode == pika.DeliveryMode.Persistent.value


def test_a_letter_is_not_taken_from_the_dead_while_the_queue_refuses_it(
    letters, channel, queue, dead_queue
):
    full = {"x-max-length": 0, "x-overflow": "reject-publish"}
    channel.queue_declare(queue, durable=True, arguments=full)
    put(channel, dead_queue, b"one", b"two")
    found = read(letters)

    with pytest.raises(
        BrokerError, match=f"queue {dead_queue} at .*: expected a broker that obeys"
    ):
        letters.requeue({letter.id for letter in found})

    assert read(letters) == found


def test_no_letter_is_lost_when_the_connection_is_while_they_are_requeued(
    letters, rabbitmq, queue, count_waiting, close_all_connections
):
    texts = {b"%d" % number for number in range(5000)}
    with plain_channel(rabbitmq) as channel:
        channel.queue_declare(f"{queue}.dead", durable=True)
        put(channel, f"{queue}.dead", *texts)
        channel.queue_declare(queue, durable=True)
    ids = {letter.id for letter in read(letters)}

    with ThreadPoolExecutor(1) as pool, suppress(BrokerError):
        requeued = pool.submit(letters.requeue, ids)
        wait_for(lambda: count_waiting() > 0)
        close_all_connections()
        requeued.result()

    with plain_channel(rabbitmq) as channel:
        got = {channel.basic_get(queue, auto_ack=True)[2] for _ in range(count_waiting())}
    assert got
    assert got.union(bodies(read(letters))) == texts


def test_letters_of_a_quorum_queue_keep_their_ids_and_their_order(
    letters, channel, queue, dead_queue_of_quorum
):
    put(channel, dead_queue_of_quorum, b"one", b"two", b"three")
    wait_for(lambda: letters.count() == 3)

    first, second = read(letters), read(letters)

    assert bodies(first) == bodies(second) == [b"one", b"two", b"three"]
    assert [letter.id for letter in first] == [letter.id for letter in second]


def test_requeued_letters_of_a_quorum_queue_are_not_refused_for_having_been_read(
    letters, broker, channel, dead_queue_of_quorum
):
    put(channel, dead_queue_of_quorum, b"one")
    wait_for(lambda: letters.count() == 1)
    for _ in range(6):
        (letter,) = read(letters)

    letters.requeue({letter.id})

    with consuming(broker) as consumption:
        assert consumption.take(1)[0].headers == {"x-requeued": 1}


def test_a_broker_that_cannot_be_reached_is_named_without_its_password(
    rabbitmq_settings, closed_port
):
    away = RabbitmqDeadLetters(rabbitmq_settings.model_copy(update={"port": closed_port}))

    for order in (away.count, lambda: read(away), lambda: away.drop({"0" * 32})):
        with pytest.raises(BrokerError, match=f"127.0.0.1:{closed_port}/") as failed:
            order()
        assert "secret" not in str(failed.value)
