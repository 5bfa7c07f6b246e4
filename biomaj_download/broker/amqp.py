"""What the consumer's and the publisher's connection to RabbitMQ have in common."""

from __future__ import annotations

import logging
import os
import socket
from typing import NamedTuple, Protocol

import pika
from pika import DeliveryMode
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker
from pika.spec import BasicProperties

from biomaj_download.server_tls import context_of, spoken_with
from biomaj_download.settings import RabbitmqSettings

log = logging.getLogger("biomaj.download.broker")

#: What pika raises when a connection or a channel is refused, lost or closed; OSError: no address;
#: the connector's own: a server that accepts and then says nothing.
AMQP_FAILURES = (AMQPError, AMQPConnectorException, OSError)

#: AMQP 0-9-1 reply codes: an account may not make the queue, there is none, or it exists with other
#: arguments.
ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED = 403, 404, 406


class _Declare(Protocol):
    def __call__(self, channel: BlockingChannel, *, passive: bool) -> None: ...


def server_name(settings: RabbitmqSettings) -> str:
    """Return how logs and errors name the broker: never with an account."""
    return f"{settings.host}:{settings.port}{settings.virtual_host}{spoken_with(settings)}"


def open_connection(
    settings: RabbitmqSettings, *, purpose: str, blocked_timeout_seconds: int | None = None
) -> pika.BlockingConnection:
    """Connect to RabbitMQ; the management interface shows the connection with its purpose.

    `blocked_timeout_seconds` None: bear for ever a broker that stopped reading for lack of memory
    or disk.
    """
    _silence_pika()
    parameters = pika.ConnectionParameters(
        host=settings.host,
        port=settings.port,
        virtual_host=settings.virtual_host,
        heartbeat=settings.heartbeat_seconds,
        blocked_connection_timeout=blocked_timeout_seconds,
        client_properties={
            "connection_name": f"biomaj-download {purpose} {socket.gethostname()}:{os.getpid()}"
        },
    )
    if settings.tls:
        name = settings.server_name or settings.host
        parameters.ssl_options = pika.SSLOptions(context_of(settings), name)
    if settings.user is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        parameters.credentials = pika.PlainCredentials(settings.user, password)
    return pika.BlockingConnection(parameters)


def declare_queue(connection: pika.BlockingConnection, queue: str) -> None:
    """Make sure that a durable queue is there; one that exists keeps its own type and arguments."""

    def declare(channel: BlockingChannel, *, passive: bool) -> None:
        channel.queue_declare(queue, durable=not passive, passive=passive)

    _declare(connection, "queue", queue, declare)


def declare_exchange(connection: pika.BlockingConnection, exchange: str) -> None:
    """Make sure that a durable topic exchange is there; one that exists keeps its own type."""

    def declare(channel: BlockingChannel, *, passive: bool) -> None:
        channel.exchange_declare(exchange, "topic", durable=not passive, passive=passive)

    _declare(connection, "exchange", exchange, declare)


def _declare(connection: pika.BlockingConnection, kind: str, name: str, declare: _Declare) -> None:
    try:
        with connection.channel() as channel:
            declare(channel, passive=False)
    except ChannelClosedByBroker as refused:
        if refused.reply_code not in (ACCESS_REFUSED, PRECONDITION_FAILED):
            raise
        log.warning("%s used as it exists name=%s: %s", kind, name, refused.reply_text)
        with connection.channel() as channel:
            declare(channel, passive=True)


class Held(NamedTuple):
    """How many messages a queue holds, and how many consumers wait for them."""

    messages: int
    consumers: int


def held_by(connection: pika.BlockingConnection, queue: str) -> Held:
    """Return what a queue holds; nothing where it was never made."""
    try:
        with connection.channel() as channel:
            told = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as refused:
        if refused.reply_code != NOT_FOUND:
            raise
        return Held(0, 0)
    return Held(told.message_count, told.consumer_count)


def persistent(message_id: str | None, headers: dict[str, object] | None = None) -> BasicProperties:
    """Return the properties of a message that outlives the broker's process."""
    return BasicProperties(
        delivery_mode=DeliveryMode.Persistent, message_id=message_id, headers=headers
    )


def reason_of(error: Exception) -> str:
    """Return what went wrong as one line: pika keeps the cause of a failed connection inside."""
    cause = getattr(error.args[0], "exception", error) if error.args else error
    return f"{type(cause).__name__}: {cause}"


def _silence_pika() -> None:
    """Keep pika from logging each failed try with a traceback, unless the site set its level."""
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
