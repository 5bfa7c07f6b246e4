"""One connection that consumes: deliveries out, settlements in, heartbeats served in between."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ConnectionWrongStateError, ConsumerCancelled
from pika.spec import Basic, BasicProperties

from biomaj_download.broker.base import Delivery

log = logging.getLogger("biomaj.download.broker")

#: How long a message may be worked on before the broker takes it back (else 30 minutes). RabbitMQ
#: obeys this consumer argument since 4.3 and ignores it before; a policy can say the same.
CONSUMER_TIMEOUT_MILLISECONDS = 24 * 3600 * 1000

#: While messages are settled so soon, a second consumer takes ahead what lasts for a moment, where
#: the slots are worked off as the last ones were; at most this many times the slots, and no more
#: than that. The broker's and the store's round trips are shared, and little is left to one
#: consumer when the others have nothing more. It ends when one takes longer.
AHEAD = 8
MOST_AHEAD = 512
AHEAD_SECONDS = 0.25
QUICK_SECONDS = 0.1
SLOW_SECONDS = 0.5

#: So many deliveries that wait for something have another one in their place.
MOST_SUBSTITUTES = 256

#: A message whose dead letter could not be written comes back after so long.
REQUEUE_LATER_SECONDS = 30


class Token(NamedTuple):
    """What a delivery is settled by: its number, on the one connection where that means it."""

    consumer: Consumer
    tag: int


class Settlement(Enum):
    """What becomes of a delivery."""

    ACCEPT = "accept"
    REQUEUE = "requeue"
    REQUEUE_LATER = "requeue later"
    LEND_PLACE = "lend place"


class Orders:
    """What the service asks of its consumer, whichever connection lives."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.closing = threading.Event()


class Consumer:
    """Consume on one connection, whose loss ends the consumer and all its deliveries.

    `run` owns the connection. `settle` and `wake` may be called from any thread: they leave a note
    and wake the loop once, however many notes wait: waking costs more than settling.
    """

    def __init__(
        self,
        connection: pika.BlockingConnection,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        slots: int,
        orders: Orders,
    ) -> None:
        self._connection = connection
        self._on_delivery = on_delivery
        self._orders = orders
        self._notes: deque[tuple[int, Settlement]] = deque()
        self._queue = queue
        self._slots = slots
        self._delivered_at: dict[int, float] = {}
        self._quick_in_row = 0
        self._ahead_tag: str | None = None
        self._put_off: set[int] = set()
        #: For each delivery that waits: the consumer that takes one message in its place.
        self._substitutes: dict[int, str] = {}
        self._is_woken = False
        self._channel = connection.channel()
        self._tag = self._consume(slots)
        self.is_alive = True

    def run(self) -> None:
        """Serve until there is nothing more to hand out or settle.

        Raises:
            AMQPError: the connection or the channel is lost, or the broker ended the consumer.
        """
        try:
            self.wake()
            self._channel.start_consuming()
            if not self._orders.stopping.is_set():
                raise ConsumerCancelled(f"the broker no longer serves {self._tag}")
            while self._delivered_at.keys() != self._put_off and not self._orders.closing.is_set():
                self._connection.process_data_events(time_limit=None)
            self._obey()
        finally:
            self._end()

    def lend_place(self, tag: int) -> None:
        """Have one message more delivered until this delivery is settled."""
        self.settle(tag, Settlement.LEND_PLACE)

    def settle(self, tag: int, settlement: Settlement) -> None:
        """Have a delivery settled soon; dropped when the connection that delivered it is lost."""
        if not self.is_alive:
            log.warning("settlement dropped tag=%d: connection lost, message comes again", tag)
            return
        self._notes.append((tag, settlement))
        self.wake()

    def wake(self) -> None:
        """Have the loop look at its notes and orders."""
        if self._is_woken:
            return
        self._is_woken = True
        with suppress(ConnectionWrongStateError):
            self._connection.add_callback_threadsafe(self._obey)

    def _on_message(
        self,
        channel: BlockingChannel,
        method: Basic.Deliver,
        properties: BasicProperties,
        body: bytes,
    ) -> None:
        if self._orders.stopping.is_set():
            channel.basic_nack(method.delivery_tag)
            return
        self._delivered_at[method.delivery_tag] = time.monotonic()
        self._on_delivery(
            Delivery(
                body=body,
                token=Token(self, method.delivery_tag),
                message_id=properties.message_id,
                redelivered=method.redelivered,
                headers=properties.headers or {},
            )
        )

    def _obey(self) -> None:
        """Carry out, on the loop's thread, what other threads have asked for until now."""
        self._is_woken = False
        if self._orders.stopping.is_set():
            for consumer_tag in self._channel.consumer_tags:
                self._channel.basic_cancel(consumer_tag)
        accepted: list[int] = []
        oldest = time.monotonic()
        while self._notes:
            tag, settlement = self._notes.popleft()
            if tag not in self._delivered_at or tag in self._put_off:
                log.warning("settlement dropped tag=%d: settled before", tag)
            elif settlement is Settlement.ACCEPT:
                delivered_at = self._delivered_at.pop(tag)
                if not self._end_substitute(tag):
                    oldest = min(oldest, delivered_at)
                accepted.append(tag)
            elif settlement is Settlement.LEND_PLACE:
                self._substitute(tag)
            elif settlement is Settlement.REQUEUE:
                self._requeue(tag)
            else:
                self._put_off.add(tag)
                self._connection.call_later(REQUEUE_LATER_SECONDS, partial(self._requeue, tag))
        if accepted:
            self._acknowledge(accepted)
            self._adapt(len(accepted), time.monotonic() - oldest)

    def _adapt(self, number: int, slowest_seconds: float) -> None:
        """Take messages ahead while they are settled in a moment, and none when one was slow."""
        self._quick_in_row = self._quick_in_row + number if slowest_seconds < QUICK_SECONDS else 0
        if self._orders.stopping.is_set():
            return
        if self._ahead_tag is None and self._quick_in_row >= self._slots:
            times = min(AHEAD_SECONDS / max(slowest_seconds, 1e-9), AHEAD)
            ahead = min(round(times * self._slots), MOST_AHEAD)
            self._ahead_tag = self._consume(max(ahead, 1))
        elif self._ahead_tag is not None and slowest_seconds > SLOW_SECONDS:
            self._channel.basic_cancel(self._ahead_tag)
            self._ahead_tag = None

    def _consume(self, prefetch_count: int) -> str:
        """Have the broker deliver, and hold so many messages at most; return the consumer's tag.

        The count holds for consumers that begin after it (https://www.rabbitmq.com/docs/
        consumer-prefetch).
        """
        self._channel.basic_qos(prefetch_count=prefetch_count)
        tag: str = self._channel.basic_consume(
            self._queue,
            self._on_message,
            arguments={"x-consumer-timeout": CONSUMER_TIMEOUT_MILLISECONDS},
        )
        return tag

    def _substitute(self, tag: int) -> None:
        if len(self._substitutes) < MOST_SUBSTITUTES and not self._orders.stopping.is_set():
            self._substitutes[tag] = self._consume(1)

    def _end_substitute(self, tag: int) -> bool:
        """End the consumer in a delivery's place; say whether there was one."""
        consumer_tag = self._substitutes.pop(tag, None)
        if consumer_tag is not None and not self._orders.stopping.is_set():
            self._channel.basic_cancel(consumer_tag)
        return consumer_tag is not None

    def _requeue(self, tag: int) -> None:
        """Give a message back; a nack, as RabbitMQ 4.3 does not count it as a failed delivery."""
        self._delivered_at.pop(tag, None)
        self._put_off.discard(tag)
        self._end_substitute(tag)
        self._channel.basic_nack(tag, requeue=True)

    def _acknowledge(self, tags: list[int]) -> None:
        """Acknowledge in one frame what has nothing unsettled before it, the rest singly."""
        first_unsettled = min(self._delivered_at, default=math.inf)
        before = [tag for tag in tags if tag < first_unsettled]
        if before:
            self._channel.basic_ack(max(before), multiple=True)
        for tag in tags:
            if tag > first_unsettled:
                self._channel.basic_ack(tag)

    def _end(self) -> None:
        self.is_alive = False
        if self._notes:
            log.warning("settlements dropped number=%d: connection lost", len(self._notes))
