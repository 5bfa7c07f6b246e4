"""Download requests through RabbitMQ."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

from pika import BlockingConnection

from biomaj_download.broker.amqp import (
    AMQP_FAILURES,
    declare_queue,
    open_connection,
    persistent,
    reason_of,
    server_name,
)
from biomaj_download.broker.base import TURN_SECONDS, Broker, Delivery
from biomaj_download.broker.consumer import Consumer, Orders, Settlement, Token
from biomaj_download.broker.dead import last_words
from biomaj_download.broker.outage import Outage, wait_out
from biomaj_download.broker.publisher import Publisher
from biomaj_download.errors import BrokerError
from biomaj_download.settings import RabbitmqSettings

log = logging.getLogger("biomaj.download.broker")

#: `close` waits so long for `consume`: longer than pika tries to connect (stack_timeout).
CLOSE_SECONDS = 30


class RabbitmqBroker(Broker):
    """The queue on a RabbitMQ server, with one connection to consume and one to publish.

    `consume` makes the first one and is the only thread that touches it. The queue is made
    durable and without arguments, as BioMAJ does; one that exists otherwise is used as it is.
    """

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._settings = settings
        self._publisher = Publisher(settings)
        self._orders = Orders()
        self._consumer: Consumer | None = None
        self._consuming: threading.Thread | None = None
        self._consumed = threading.Event()

    def publish(self, body: bytes, *, message_id: str) -> None:
        """Put a message on the queue; return when RabbitMQ has confirmed it."""
        self._publisher.publish(self._settings.queue, body, persistent(message_id))

    def publish_many(self, messages: Iterable[tuple[bytes, str]]) -> None:
        """Put many messages on the queue, some hundreds in a transaction."""
        self._publisher.publish_many(
            self._settings.queue,
            ((body, persistent(message_id)) for body, message_id in messages),
        )

    def consume(
        self,
        on_delivery: Callable[[Delivery], None],
        *,
        slots: int,
        on_turn: Callable[[], object] = lambda: None,
    ) -> None:
        """Hand out messages, and connect again whenever the connection is lost."""
        self._consuming = threading.current_thread()
        outage = Outage(server_name(self._settings))
        try:
            while not self._orders.stopping.is_set():
                on_turn()
                try:
                    self._consume_once(on_delivery, slots, outage, on_turn)
                except Exception as error:
                    if not isinstance(error, AMQP_FAILURES):  # a fault of ours, or of pika
                        log.exception("broker's thread goes on after an unexpected failure")
                    wait_seconds = outage.failed(error, reason_of(error))
                    wait_out(wait_seconds, self._orders.stopping, on_turn)
        finally:
            self._consumed.set()

    def accept(self, delivery: Delivery) -> None:
        """Acknowledge a delivery."""
        _settle(delivery, Settlement.ACCEPT)

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        """Publish to the dead letters, in the caller's thread, then acknowledge."""
        properties = persistent(delivery.message_id, {**delivery.headers, **last_words(reason)})
        try:
            self._publisher.publish(self._settings.dead_queue, delivery.body, properties)
        except BrokerError as error:
            log.error("dead letter not stored, message put back later: %s", error)
            _settle(delivery, Settlement.REQUEUE_LATER)
        else:
            _settle(delivery, Settlement.ACCEPT)

    def requeue(self, delivery: Delivery) -> None:
        """Give a message back unworked."""
        _settle(delivery, Settlement.REQUEUE)

    def lend_place(self, delivery: Delivery) -> None:
        """Have the broker deliver one message more."""
        consumer, tag = cast("Token", delivery.token)
        consumer.lend_place(tag)

    def is_connected(self) -> bool:
        """Say whether messages flow: to the consumer, or from one that only publishes."""
        if self._consuming is None:
            return self._publisher.is_connected()
        return self._consumer is not None and self._consumer.is_alive

    def stop(self) -> None:
        """Hand out no further message."""
        self._orders.stopping.set()
        self._wake_consumer()

    def close(self) -> None:
        """Stop, have settlements carried out, and close both connections."""
        self._orders.closing.set()
        self.stop()
        is_elsewhere = self._consuming not in (None, threading.current_thread())
        if is_elsewhere and not self._consumed.wait(CLOSE_SECONDS):
            log.warning("closed while messages are still consumed, after seconds=%d", CLOSE_SECONDS)
        self._publisher.close()

    def _consume_once(
        self,
        on_delivery: Callable[[Delivery], None],
        slots: int,
        outage: Outage,
        on_turn: Callable[[], object],
    ) -> None:
        """Consume on one connection until it is lost or the service stops."""
        with open_connection(self._settings, purpose="consumer") as connection:
            _turn(connection, on_turn)
            declare_queue(connection, self._settings.queue)
            self._consumer = Consumer(
                connection, self._settings.queue, on_delivery, slots=slots, orders=self._orders
            )
            outage.over()
            self._consumer.run()

    def _wake_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.wake()


def _settle(delivery: Delivery, settlement: Settlement) -> None:
    consumer, tag = cast("Token", delivery.token)
    consumer.settle(tag, settlement)


def _turn(connection: BlockingConnection, on_turn: Callable[[], object]) -> None:
    """Call `on_turn` now, and from the connection's loop as long as that turns."""
    on_turn()
    connection.call_later(TURN_SECONDS, partial(_turn, connection, on_turn))
