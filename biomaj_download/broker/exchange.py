"""Publish events on a topic exchange of RabbitMQ, which gives each queue what it is bound to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pika
from pika import DeliveryMode
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from biomaj_download.broker.amqp import declare_exchange
from biomaj_download.broker.line import Line
from biomaj_download.settings import RabbitmqSettings

#: A broker that takes no more, for lack of memory or disk, is given up for now after so long.
BLOCKED_TIMEOUT_SECONDS = 60
#: AMQP 0-9-1: a routing key is a short string.
LONGEST_KEY_BYTES = 255


class Event(NamedTuple):
    """What happened to whom, and the JSON that tells it.

    `is_lasting` False: it need not outlive the broker's process.
    """

    subject: str
    kind: str
    body: bytes
    is_lasting: bool

    @property
    def routing_key(self) -> str:
        """Return `subject.kind`; too long a subject is cut."""
        ending = f".{self.kind}"
        subject = self.subject.encode()[: LONGEST_KEY_BYTES - len(ending)]
        return subject.decode(errors="ignore") + ending


class Exchange:
    """A durable exchange, made if need be, on a connection of its own; for one thread."""

    def __init__(self, settings: RabbitmqSettings, name: str) -> None:
        self._name = name
        self._line = Line(
            settings, self._open, purpose="events", blocked_timeout_seconds=BLOCKED_TIMEOUT_SECONDS
        )

    def publish(self, events: Sequence[Event]) -> None:
        """Return when the broker has taken all; an event that no queue is bound to is gone.

        Raises:
            BrokerError: it did not; any number of them may be there.
        """

        def publish(channel: BlockingChannel) -> None:
            for event in events:
                channel.basic_publish(self._name, event.routing_key, event.body, _properties(event))
            channel.tx_commit()

        self._line.carry_out(
            publish, subject=f"exchange {self._name}", expected="a broker that takes events"
        )

    def serve_heartbeats(self) -> None:
        """Keep the connection while there is nothing to publish."""
        self._line.serve_heartbeats()

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()

    def _open(self, connection: pika.BlockingConnection) -> BlockingChannel:
        declare_exchange(connection, self._name)
        channel = connection.channel()
        channel.tx_select()
        return channel


def _properties(event: Event) -> BasicProperties:
    return BasicProperties(
        content_type="application/json",
        type=event.kind,
        app_id="biomaj-download",
        delivery_mode=DeliveryMode.Persistent if event.is_lasting else DeliveryMode.Transient,
    )
