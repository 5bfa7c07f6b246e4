"""A connection of RabbitMQ that is made when it is first needed, and once more when it was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import pika

from biomaj_download.broker.amqp import AMQP_FAILURES, open_connection, reason_of, server_name
from biomaj_download.errors import BrokerError
from biomaj_download.settings import RabbitmqSettings

log = logging.getLogger("biomaj.download.broker")

Kept = TypeVar("Kept")
Answer = TypeVar("Answer")


class Line(Generic[Kept]):
    """For one thread at a time. `make` returns what is kept with a connection: its channels.

    `blocked_timeout_seconds`: as of `open_connection`.
    """

    def __init__(
        self,
        settings: RabbitmqSettings,
        make: Callable[[pika.BlockingConnection], Kept],
        *,
        purpose: str,
        blocked_timeout_seconds: int | None = None,
    ) -> None:
        self._settings = settings
        self._make = make
        self._purpose = purpose
        self._blocked_timeout_seconds = blocked_timeout_seconds
        self._connection: pika.BlockingConnection | None = None
        self._kept: Kept | None = None

    @property
    def is_open(self) -> bool:
        """Say whether the last order was carried out."""
        return self._kept is not None

    def carry_out(self, order: Callable[[Kept], Answer], *, subject: str, expected: str) -> Answer:
        """Return what an order answers; give it again if the connection of an earlier one is lost.

        An idle connection serves no heartbeats, so the broker closes it: no error, but expected.

        Raises:
            BrokerError: the broker cannot be reached, or refuses; the text names the `subject`,
                and what was `expected`.
        """
        if self._kept is not None:
            try:
                return order(self._kept)
            except AMQP_FAILURES as error:
                log.info("%s connects anew: %s", self._purpose, reason_of(error))
                self.close()
        try:
            self._connection = open_connection(
                self._settings,
                purpose=self._purpose,
                blocked_timeout_seconds=self._blocked_timeout_seconds,
            )
            kept = self._make(self._connection)
            answer = order(kept)
        except AMQP_FAILURES as error:
            self.close()
            raise BrokerError(
                f"{subject} at {server_name(self._settings)}: expected {expected},"
                f" got {reason_of(error)}"
            ) from error
        self._kept = kept
        return answer

    def serve_heartbeats(self) -> None:
        """Answer the broker; a connection that is lost is made anew by the next order."""
        if self._connection is not None:
            try:
                self._connection.process_data_events()
            except AMQP_FAILURES as error:
                log.info("%s lost its connection: %s", self._purpose, reason_of(error))
                self.close()
            except Exception:  # a fault of pika's: whoever serves heartbeats must not end by it
                log.exception("%s gave its connection up", self._purpose)
                self.close()

    def close(self) -> None:
        """Let go of the connection; the next order makes a new one."""
        connection, self._connection, self._kept = self._connection, None, None
        with suppress(Exception):  # nothing is to be done about it
            if connection is not None and connection.is_open:
                connection.close()
