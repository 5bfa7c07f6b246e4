"""Put messages on RabbitMQ's queues and wait until they are safe there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from itertools import islice

import pika
from pika.adapters.blocking_connection import BlockingChannel, ReturnedMessage
from pika.exceptions import UnroutableError
from pika.spec import Basic, BasicProperties

from biomaj_download.broker.amqp import declare_queue
from biomaj_download.broker.line import Line
from biomaj_download.settings import RabbitmqSettings

#: Give up on a broker that has stopped reading, for lack of memory or disk, for so long.
BLOCKED_TIMEOUT_SECONDS = 300

#: Messages in one transaction: the broker keeps them in memory until the commit.
BATCH_MESSAGES = 500

Message = tuple[bytes, BasicProperties]


class Publisher:
    """Publish on a connection of its own: a broker short of memory stops reading publishers only.

    Any thread may call; the calls go one by one. A message is declared stored by a publisher
    confirm, or many at once by the commit of a transaction: measured on loopback, confirms one by
    one make 1,600 messages a second, commits of 500 messages 11,000, and pika's blocking channel
    offers nothing between the two.
    """

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._lock = threading.Lock()
        self._line = Line(
            settings, _Link, purpose="publisher", blocked_timeout_seconds=BLOCKED_TIMEOUT_SECONDS
        )

    def publish(self, queue: str, body: bytes, properties: BasicProperties) -> None:
        """Put one message on a queue, which is made if need be.

        Raises:
            BrokerError: the broker cannot be reached, or did not confirm the message.
        """
        self._with_link(
            queue, partial(_Link.publish, queue=queue, body=body, properties=properties)
        )

    def publish_many(self, queue: str, messages: Iterable[Message]) -> None:
        """Put many messages on a queue.

        Raises:
            BrokerError: as `publish`; any number of them may be stored.
        """
        for batch in _batches(messages):
            self._with_link(queue, partial(_Link.publish_batch, queue=queue, batch=batch))

    def is_connected(self) -> bool:
        """Say whether the last message went through."""
        return self._line.is_open

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._line.close()

    def _with_link(self, queue: str, order: Callable[[_Link], None]) -> None:
        """Carry out an order that needs a queue."""
        with self._lock:
            self._line.carry_out(
                lambda link: link.carry_out(queue, order),
                subject=f"queue {queue}",
                expected="a broker that stores messages",
            )


class _Link:
    """One connection that publishes, its channels, and the queues it has made sure of."""

    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection
        self._declared: set[str] = set()
        self._returned: list[ReturnedMessage] = []

    def carry_out(self, queue: str, order: Callable[[_Link], None]) -> None:
        """Carry out an order that needs a queue."""
        if queue not in self._declared:
            declare_queue(self._connection, queue)
            self._declared.add(queue)
        order(self)

    def publish(self, queue: str, body: bytes, properties: BasicProperties) -> None:
        """Publish and wait for the confirm."""
        self._confirming.basic_publish("", queue, body, properties, mandatory=True)

    def publish_batch(self, queue: str, batch: list[Message]) -> None:
        """Publish and commit; what no queue takes comes back before the commit is confirmed."""
        for body, properties in batch:
            self._transacting.basic_publish("", queue, body, properties, mandatory=True)
        self._returned.clear()
        self._transacting.tx_commit()
        self._connection.process_data_events()
        if self._returned:
            raise UnroutableError(self._returned)

    @cached_property
    def _confirming(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    @cached_property
    def _transacting(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.tx_select()
        channel.add_on_return_callback(self._on_return)
        return channel

    def _on_return(
        self, _: BlockingChannel, method: Basic.Return, properties: BasicProperties, body: bytes
    ) -> None:
        self._returned.append(ReturnedMessage(method, properties, body))


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    remaining = iter(messages)
    while batch := list(islice(remaining, BATCH_MESSAGES)):
        yield batch
