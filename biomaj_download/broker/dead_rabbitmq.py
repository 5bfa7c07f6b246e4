"""Dead letters on RabbitMQ: the queue `<queue>.dead`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from biomaj_download.broker.amqp import (
    AMQP_FAILURES,
    declare_queue,
    held_by,
    open_connection,
    persistent,
    reason_of,
    server_name,
)
from biomaj_download.broker.dead import (
    DELIVERY_COUNTS,
    DIED_AT_HEADER,
    ID_HEADER,
    REASON_HEADER,
    DeadLetter,
    DeadLetters,
    identity_of,
    instant_of,
    revived,
)
from biomaj_download.broker.publisher import BLOCKED_TIMEOUT_SECONDS
from biomaj_download.errors import BrokerError
from biomaj_download.settings import RabbitmqSettings

_OUR_ID = re.compile("[0-9a-f]{32}")


class _Taken(NamedTuple):
    """A letter that is out to us: settled by its tag, or given back in the end."""

    tag: int
    letter: DeadLetter


class RabbitmqDeadLetters(DeadLetters):
    """The dead letters of a queue; each method has a connection of its own.

    Letters are taken without an acknowledgement, one by one, and given back to their old places.
    """

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._settings = settings
        self._queue = settings.dead_queue

    def count(self) -> int:
        """Return how many there are; none where the queue was never made."""
        with self._connected() as connection:
            return held_by(connection, self._queue).messages

    def each(self) -> Generator[DeadLetter, None, None]:
        """Hand out one after the other, and give them back in the end."""
        with self._connected() as connection:
            if not held_by(connection, self._queue).messages:
                return
            with _taken(connection.channel(), self._queue) as letters:
                for _, letter in letters:
                    yield letter

    def requeue(self, ids: Collection[str]) -> frozenset[str]:
        """Publish letters, and acknowledge each one after its confirm."""

        def publish(channel: BlockingChannel, letter: DeadLetter) -> None:
            message_id = identity_of(letter.message_id, letter.body)
            properties = persistent(message_id, revived(letter.headers))
            channel.basic_publish("", main_queue, letter.body, properties, mandatory=True)

        main_queue = self._settings.queue
        with self._connected() as connection:
            declare_queue(connection, main_queue)
            return _settle(connection, self._queue, ids, publish)

    def drop(self, ids: Collection[str]) -> frozenset[str]:
        """Acknowledge letters."""
        with self._connected() as connection:
            return _settle(connection, self._queue, ids, lambda _, __: None)

    @contextmanager
    def _connected(self) -> Iterator[pika.BlockingConnection]:
        try:
            with open_connection(
                self._settings,
                purpose="dead letters",
                blocked_timeout_seconds=BLOCKED_TIMEOUT_SECONDS,
            ) as connection:
                yield connection
        except AMQP_FAILURES as error:
            raise BrokerError(
                f"queue {self._queue} at {server_name(self._settings)}: expected a broker that"
                f" obeys, got {reason_of(error)}"
            ) from error


def _settle(
    connection: pika.BlockingConnection,
    queue: str,
    ids: Collection[str],
    before: Callable[[BlockingChannel, DeadLetter], None],
) -> frozenset[str]:
    """Acknowledge the letters with these ids, once something is done with each.

    It ends with the last one that is wanted: a letter put back may be worked on and die again
    while others are still walked through.
    """
    wanted = set(ids)
    found: set[str] = set()
    if not held_by(connection, queue).messages:
        return frozenset()
    channel = connection.channel()
    channel.confirm_delivery()
    with _taken(channel, queue) as letters:
        while found != wanted and (taken := next(letters, None)):
            if taken.letter.id in wanted:
                before(channel, taken.letter)
                channel.basic_ack(taken.tag)
                found.add(taken.letter.id)
    return frozenset(found)


@contextmanager
def _taken(channel: BlockingChannel, queue: str) -> Iterator[Iterator[_Taken]]:
    """Take letter after letter, and give back in the end what was not acknowledged.

    By a nack (tag 0: all that are out), as a quorum queue of RabbitMQ 4.3 counts no failed
    delivery then. Where that fails the channel is lost, and they go back with it.
    """
    try:
        yield _each(channel, queue)
    finally:
        with suppress(*AMQP_FAILURES):
            channel.basic_nack(0, multiple=True, requeue=True)


def _each(channel: BlockingChannel, queue: str) -> Iterator[_Taken]:
    copies: Counter[str] = Counter()
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return
        yield _Taken(method.delivery_tag, _letter(properties, body, copies))


def _letter(properties: BasicProperties, body: bytes, copies: Counter[str]) -> DeadLetter:
    headers: Mapping[str, object] = properties.headers or {}
    own_id = headers.get(ID_HEADER)
    if not isinstance(own_id, str) or not _OUR_ID.fullmatch(own_id):
        own_id = _derived_id(properties, body, copies)
    death = _death_of(headers)
    return DeadLetter(
        id=own_id,
        reason=_reason_of(headers, death),
        body=body,
        message_id=properties.message_id,
        died_at=instant_of(headers.get(DIED_AT_HEADER)) or instant_of(death.get("time")),
        headers={
            name: value
            for name, value in headers.items()
            if name not in (ID_HEADER, REASON_HEADER, DIED_AT_HEADER)
        },
    )


def _derived_id(properties: BasicProperties, body: bytes, copies: Counter[str]) -> str:
    """Return the id of a letter that others set aside: the same each time that it is read.

    Letters alike in everything are numbered, as each is a letter of its own.
    """
    told = vars(properties) | {"headers": _without_counts(properties.headers or {})}
    digest = hashlib.sha256(body)
    digest.update(repr(sorted(told.items())).encode("utf-8", "backslashreplace"))
    copies[digest.hexdigest()] += 1
    digest.update(b"%d" % copies[digest.hexdigest()])
    return digest.hexdigest()[:32]


def _without_counts(headers: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted(item for item in headers.items() if item[0] not in DELIVERY_COUNTS)


def _death_of(headers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the last death that RabbitMQ itself wrote down; empty: none.

    https://www.rabbitmq.com/docs/dlx#effects
    """
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return deaths[0]
    return {}


def _reason_of(headers: Mapping[str, object], death: Mapping[str, object]) -> str:
    if REASON_HEADER in headers:
        return str(headers[REASON_HEADER])
    if death:
        return f"{death.get('reason')} from queue {death.get('queue')}"
    return ""
