"""What every broker must do: subclass `BrokerContract` and give it the two fixtures."""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest

from biomaj_download.broker import dead
from biomaj_download.broker.base import TURN_SECONDS, Broker, Delivery
from biomaj_download.broker.opening import open_broker, open_dead_letters
from biomaj_download.settings import Settings

#: Longer than any broker takes to deliver, reconnect included.
PATIENCE_SECONDS = 20

#: Long enough for a message that must not come to come all the same.
QUIET_SECONDS = 0.5

HANGING_CONSUMER = """
import sys, threading
from biomaj_download.broker.opening import open_broker
from biomaj_download.settings import Settings

settings = Settings.model_validate_json(sys.stdin.readline())
open_broker(settings).consume(lambda delivery: print("taken", flush=True), slots=1)
"""


class DeadLetter(NamedTuple):
    """One message among the dead letters."""

    body: bytes
    message_id: str | None
    reason: str


class Consuming:
    """A broker that consumes on a thread of its own; `then` is called after each delivery."""

    def __init__(self, broker: Broker, slots: int, then: Callable[[], None]) -> None:
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        self._turns = 0
        self._then = then
        self._thread = threading.Thread(
            target=broker.consume,
            args=(self._on_delivery,),
            kwargs={"slots": slots, "on_turn": self._on_turn},
        )
        self._thread.start()

    def _on_delivery(self, delivery: Delivery) -> None:
        self.deliveries.put(delivery)
        self._then()

    def _on_turn(self) -> None:
        self._turns += 1

    def turns(self, number: int) -> bool:
        """Say whether the loop shows in time that it turns, so often from now."""
        before = self._turns
        deadline = time.monotonic() + 2 * number * TURN_SECONDS
        while self._turns < before + number and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._turns >= before + number

    def take(self, number: int) -> list[Delivery]:
        return [self.deliveries.get(timeout=PATIENCE_SECONDS) for _ in range(number)]

    def is_quiet(self) -> bool:
        try:
            self.deliveries.get(timeout=QUIET_SECONDS)
        except queue.Empty:
            return True
        return False

    def has_ended(self) -> bool:
        self._thread.join(PATIENCE_SECONDS)
        return not self._thread.is_alive()


@contextmanager
def consuming(
    broker: Broker, *, slots: int = 16, then: Callable[[], None] = lambda: None
) -> Iterator[Consuming]:
    """Consume until the block ends; the broker is closed then."""
    consumption = Consuming(broker, slots, then)
    try:
        yield consumption
    finally:
        broker.close()
        assert consumption.has_ended()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when something is so, and fail when it does not come about."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def bodies(messages: Sequence[Delivery | dead.DeadLetter]) -> list[bytes]:
    return [message.body for message in messages]


def read(letters: dead.DeadLetters) -> list[dead.DeadLetter]:
    with closing(letters.each()) as each:
        return list(each)


class BrokerContract:
    """The tests; `settings` names an empty queue, `dead_letters` reads what was rejected."""

    @pytest.fixture
    def settings(self) -> Settings:
        raise NotImplementedError

    @pytest.fixture
    def dead_letters(self) -> Callable[[], list[DeadLetter]]:
        raise NotImplementedError

    @pytest.fixture
    def open_one(self, settings: Settings) -> Iterator[Callable[[], Broker]]:
        opened: list[Broker] = []

        def open_one() -> Broker:
            opened.append(open_broker(settings))
            return opened[-1]

        yield open_one
        for broker in opened:
            broker.close()

    @pytest.fixture
    def broker(self, open_one: Callable[[], Broker]) -> Broker:
        return open_one()

    @pytest.fixture
    def letters(self, settings: Settings) -> dead.DeadLetters:
        return open_dead_letters(settings)

    @pytest.fixture
    def die(self, open_one: Callable[[], Broker]) -> Callable[..., None]:
        """Publish messages, each under its text as id, and reject them."""

        def die(*texts: str) -> None:
            broker = open_one()
            broker.publish_many((text.encode(), text) for text in texts)
            with consuming(broker) as consumption:
                for _ in texts:
                    broker.reject(*consumption.take(1), reason="no request")

        return die

    def first_waiting(self, broker: Broker) -> bytes:
        """Put a marker behind all others and return the first of the queue: none else waits?"""
        broker.publish(b"marker", message_id="marker")
        with consuming(broker, slots=1) as consumption:
            (delivery,) = consumption.take(1)
            broker.accept(delivery)
        return delivery.body

    def test_a_consumer_gets_what_was_published_before_it_came(self, broker):
        broker.publish(b"\x00body", message_id="one")

        with consuming(broker) as consumption:
            (delivery,) = consumption.take(1)

        assert (delivery.body, delivery.message_id) == (b"\x00body", "one")
        assert not delivery.redelivered

    def test_a_waiting_consumer_gets_what_another_process_publishes(self, open_one):
        publisher, broker = open_one(), open_one()

        with consuming(broker) as consumption:
            assert consumption.is_quiet()
            publisher.publish(b"body", message_id="one")
            (delivery,) = consumption.take(1)

        assert delivery.body == b"body"

    def test_many_messages_arrive_in_the_order_of_publishing(self, broker):
        sent = [(b"%d" % number, f"id-{number}") for number in range(1200)]

        broker.publish_many(iter(sent))

        with consuming(broker, slots=2000) as consumption:
            received = consumption.take(len(sent))
        assert [(delivery.body, delivery.message_id) for delivery in received] == sent

    def test_an_accepted_message_is_gone(self, broker, open_one):
        broker.publish(b"body", message_id="one")
        with consuming(broker) as consumption:
            broker.accept(*consumption.take(1))

        assert self.first_waiting(open_one()) == b"marker"

    def test_messages_can_be_settled_from_many_threads(self, broker, open_one):
        broker.publish_many((b"%d" % number, str(number)) for number in range(600))

        with consuming(broker, slots=16) as consumption, ThreadPoolExecutor(16) as pool:
            received = []
            for _ in range(600):
                received += consumption.take(1)
                pool.submit(broker.accept, received[-1])

        assert bodies(received) == [b"%d" % number for number in range(600)]
        assert not any(delivery.redelivered for delivery in received)
        assert self.first_waiting(open_one()) == b"marker"

    def test_a_delivery_that_waits_lends_its_place_to_one_other(self, broker, open_one):
        broker.publish_many((b"%d" % number, str(number)) for number in range(4))

        with consuming(broker, slots=1) as consumption:
            waiting = consumption.take(1)
            broker.lend_place(*waiting)
            waiting += consumption.take(1)
            assert consumption.is_quiet()
            broker.lend_place(waiting[1])
            third = consumption.take(1)
            broker.accept(*third)
            fourth = consumption.take(1)
            for delivery in (*waiting, *fourth):
                broker.accept(delivery)

        assert bodies([*waiting, *third, *fourth]) == [b"0", b"1", b"2", b"3"]
        assert self.first_waiting(open_one()) == b"marker"

    def test_no_more_messages_are_out_than_slots(self, broker):
        broker.publish_many((b"%d" % number, str(number)) for number in range(5))

        with consuming(broker, slots=3) as consumption:
            first = consumption.take(3)
            assert consumption.is_quiet()
            broker.accept(first[1])
            assert bodies(consumption.take(1)) == [b"3"]
            assert consumption.is_quiet()

    def test_a_requeued_message_comes_again_redelivered(self, broker):
        broker.publish(b"body", message_id="one")

        with consuming(broker) as consumption:
            broker.requeue(*consumption.take(1))
            (again,) = consumption.take(1)

        assert (again.body, again.message_id, again.redelivered) == (b"body", "one", True)

    def test_a_rejected_message_goes_to_the_dead_letters_with_its_reason(
        self, broker, open_one, dead_letters
    ):
        broker.publish(b"\xffpoison", message_id="one")

        with consuming(broker) as consumption:
            broker.reject(*consumption.take(1), reason="no request")

        assert dead_letters() == [DeadLetter(b"\xffpoison", "one", "no request")]
        assert self.first_waiting(open_one()) == b"marker"

    def test_dead_letters_are_handed_out_oldest_first_and_stay(self, die, letters):
        die("one", "two", "three")

        for _ in range(2):
            assert letters.count() == 3
            assert bodies(read(letters)) == [b"one", b"two", b"three"]
        with closing(letters.each()) as each:
            assert next(each).body == b"one"
        assert bodies(read(letters)) == [b"one", b"two", b"three"]

    def test_a_dead_letter_has_an_id_of_its_own_and_tells_when_it_died(self, die, letters):
        die("one", "one")

        one, other = read(letters)

        assert read(letters) == [one, other]
        assert one.id != other.id
        assert (one.reason, one.message_id, one.headers) == ("no request", "one", {})
        age = datetime.now(timezone.utc) - one.died_at
        assert timedelta(seconds=-1) <= age < timedelta(seconds=PATIENCE_SECONDS)

    def test_a_requeued_letter_is_delivered_with_its_message_id_and_says_so(
        self, die, letters, open_one
    ):
        die("one", "two", "three")
        two = read(letters)[1]

        assert letters.requeue({two.id, "0" * 32}) == {two.id}

        assert bodies(read(letters)) == [b"one", b"three"]
        with consuming(open_one()) as consumption:
            (delivery,) = consumption.take(1)
            assert consumption.is_quiet()
        assert (delivery.body, delivery.message_id) == (b"two", "two")
        assert (delivery.redelivered, delivery.headers) == (False, {"x-requeued": 1})

    def test_a_requeued_letter_may_die_again_and_is_another_letter_then(self, die, letters, broker):
        die("one")
        (first,) = read(letters)
        letters.requeue({first.id})

        with consuming(broker) as consumption:
            broker.reject(*consumption.take(1), reason="again")

        (second,) = read(letters)
        assert (second.body, second.message_id, second.reason) == (b"one", "one", "again")
        assert second.headers == {"x-requeued": 1}
        assert second.id != first.id

    def test_all_letters_can_be_requeued_while_they_die_again(self, die, letters, broker):
        die(*(str(number) for number in range(50)))
        ids = {letter.id for letter in read(letters)}

        with consuming(broker) as consumption, ThreadPoolExecutor(1) as pool:
            requeued = pool.submit(letters.requeue, ids)
            for _ in range(50):
                broker.reject(*consumption.take(1), reason="again")
            assert requeued.result() == ids

        assert [letter.reason for letter in read(letters)] == ["again"] * 50

    def test_dropped_letters_are_gone(self, die, letters, open_one):
        die("one", "two", "three")
        one, _, three = read(letters)

        assert letters.drop({one.id, three.id, "0" * 32}) == {one.id, three.id}

        assert bodies(read(letters)) == [b"two"]
        assert self.first_waiting(open_one()) == b"marker"

    def test_a_queue_that_never_lost_a_message_has_no_letters(self, broker, letters):
        broker.publish(b"body", message_id="one")

        assert (letters.count(), read(letters)) == (0, [])
        assert letters.drop({"0" * 32}) == letters.requeue({"0" * 32}) == frozenset()

    def test_large_letters_are_read_and_requeued_whole_and_their_reason_is_short(
        self, open_one, letters
    ):
        large = [bytes(16 * 2**20), random.Random(1).randbytes(10 * 2**20)]
        broker = open_one()
        broker.publish_many([(large[0], "1"), (large[1], "2")])
        with consuming(broker) as consumption:
            for delivery in consumption.take(2):
                broker.reject(delivery, reason="\N{SNOWMAN}" * 200_000)

        found = read(letters)
        letters.requeue({letter.id for letter in found})

        assert [letter.reason for letter in found] == ["\N{SNOWMAN}" * 2000] * 2
        assert bodies(found) == large
        with consuming(open_one()) as consumption:
            assert bodies(consumption.take(2)) == large

    def test_settling_twice_changes_nothing_and_is_logged(self, broker, open_one, caplog):
        broker.publish(b"body", message_id="one")

        with consuming(broker) as consumption:
            (delivery,) = consumption.take(1)
            broker.accept(delivery)
            broker.requeue(delivery)
            broker.publish(b"next", message_id="two")
            broker.accept(*consumption.take(1))

        assert "settled before" in caplog.text
        assert self.first_waiting(open_one()) == b"marker"

    def test_a_message_is_with_one_consumer_at_a_time(self, open_one):
        one, other = open_one(), open_one()
        one.publish_many((b"%d" % number, str(number)) for number in range(60))

        with consuming(one, slots=30) as first, consuming(other, slots=30) as second:
            received = bodies(first.take(30)) + bodies(second.take(30))

        assert sorted(received, key=int) == [b"%d" % number for number in range(60)]

    def test_messages_of_a_killed_consumer_come_again_redelivered(self, settings, broker):
        broker.publish(b"body", message_id="one")
        with subprocess.Popen(
            [sys.executable, "-c", HANGING_CONSUMER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as hanging:
            hanging.stdin.write(settings_line(settings))
            hanging.stdin.flush()
            assert hanging.stdout.readline() == b"taken\n"
            with consuming(broker) as consumption:
                assert consumption.is_quiet()

                hanging.kill()
                (delivery,) = consumption.take(1)

        assert (delivery.body, delivery.redelivered) == (b"body", True)

    def test_stop_gives_back_at_once_what_was_not_handed_out(self, broker, open_one):
        broker.publish_many((b"%d" % number, str(number)) for number in range(20))

        with consuming(broker, slots=16, then=broker.stop) as consumption:
            (first,) = consumption.take(1)
            with consuming(open_one(), slots=19) as other:
                given_back = other.take(19)
            broker.accept(first)
            assert consumption.has_ended()
            assert consumption.deliveries.empty()

        assert first.body == b"0"
        assert sorted(bodies(given_back), key=int) == [b"%d" % number for number in range(1, 20)]

    def test_what_is_out_at_stop_can_still_be_settled_and_ends_consume(self, broker, open_one):
        broker.publish_many([(b"first", "1"), (b"second", "2"), (b"third", "3")])
        with consuming(broker, slots=2) as consumption:
            first, second = consumption.take(2)

            broker.stop()
            broker.accept(first)
            assert consumption.is_quiet()
            broker.requeue(second)
            assert consumption.has_ended()

        assert self.first_waiting(open_one()) == b"second"

    def test_close_settles_what_was_asked_for_and_gives_back_the_rest(self, broker, open_one):
        broker.publish_many((b"%d" % number, str(number)) for number in range(10))
        with consuming(broker, slots=10) as consumption:
            deliveries = consumption.take(10)
            for delivery in deliveries[5:]:
                broker.accept(delivery)

            broker.close()

        with consuming(open_one(), slots=10) as consumption:
            again = consumption.take(5)
            assert consumption.is_quiet()
        assert bodies(again) == [b"0", b"1", b"2", b"3", b"4"]
        assert all(delivery.redelivered for delivery in again)

    def test_a_stopped_broker_does_not_begin_to_consume(self, broker):
        broker.publish(b"body", message_id="one")
        broker.stop()

        with consuming(broker) as consumption:
            assert consumption.has_ended()
            assert consumption.deliveries.empty()

    def test_a_consumer_shows_that_it_lives_while_idle_at_work_and_stopping(self, broker):
        with consuming(broker) as consumption:
            assert consumption.turns(3)
            broker.publish(b"body", message_id="one")
            (delivery,) = consumption.take(1)
            assert consumption.turns(3)
            broker.stop()
            assert consumption.turns(3)
            broker.accept(delivery)

    def test_messages_flow_while_it_consumes_and_not_after(self, broker):
        broker.publish(b"body", message_id="one")

        with consuming(broker) as consumption:
            consumption.take(1)
            assert broker.is_connected()

        assert not broker.is_connected()


def settings_line(settings: Settings) -> bytes:
    """Return settings as a line of JSON, passwords in clear."""
    text = settings.model_dump_json()
    if settings.rabbitmq.password:
        text = text.replace("**********", settings.rabbitmq.password.get_secret_value())
    return text.encode() + b"\n"
