"""How much is on a broker's queue, and in its dead letters: for people who look on.

It is asked on a thread of its own, as long as somebody looks: a broker that hangs keeps nobody
waiting.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pika
from pika.exceptions import ChannelClosedByBroker

from biomaj_download.broker.amqp import (
    AMQP_FAILURES,
    NOT_FOUND,
    open_connection,
    reason_of,
    server_name,
)
from biomaj_download.broker.queue_file import QueueFile
from biomaj_download.errors import BrokerError, mapped
from biomaj_download.settings import RabbitmqSettings

log = logging.getLogger("biomaj.download.broker")

ASK_SECONDS = 3.0
#: Nobody looks who has not looked for so long.
LOOKS_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Depth:
    """What waits on the queue and in the dead letters; None: the broker does not tell."""

    messages: int | None = None
    consumers: int | None = None
    dead_letters: int | None = None
    error: str | None = None


class DepthGauge:
    """Asks while somebody looks; `latest` may be called from any thread and answers at once."""

    def __init__(self, ask: Callable[[], Depth]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._latest = Depth(error="the broker was not asked yet")
        self._looked_at = 0.0
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def latest(self) -> Depth:
        """Return what was told last; the first one waits a moment for it."""
        with self._lock:
            self._looked_at = time.monotonic()
            if self._thread is None:
                self._asked.clear()
                self._thread = threading.Thread(target=self._run, name="depth", daemon=True)
                self._thread.start()
        self._asked.wait(ASK_SECONDS / 3)
        return self._latest

    def _run(self) -> None:
        while True:
            try:
                self._latest = self._ask()
            except BrokerError as error:
                self._latest = Depth(error=str(error))
            except Exception as error:  # the thread must not end while somebody looks
                log.exception("queue not asked")
                self._latest = Depth(error=f"unexpected failure: {error}")
            self._asked.set()
            time.sleep(ASK_SECONDS)
            with self._lock:
                if time.monotonic() - self._looked_at > LOOKS_SECONDS:
                    self._thread = None
                    return


class RabbitmqDepth:
    """Asks RabbitMQ on one connection, which is opened again when it was lost; for one thread."""

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._settings = settings
        self._connection: pika.BlockingConnection | None = None

    def __call__(self) -> Depth:
        """Return what is there.

        Raises:
            BrokerError: RabbitMQ cannot be reached, or refuses.
        """
        if self._connection is not None:
            with suppress(*AMQP_FAILURES):  # idle for too long, or RabbitMQ was stopped meanwhile
                return self._asked(self._connection)
        try:
            self._connection = open_connection(self._settings, purpose="looks")
            return self._asked(self._connection)
        except AMQP_FAILURES as error:
            self._connection = None
            raise BrokerError(f"{server_name(self._settings)}: {reason_of(error)}") from error

    def _asked(self, connection: pika.BlockingConnection) -> Depth:
        messages, consumers = _counts(connection, self._settings.queue)
        dead_letters, _ = _counts(connection, f"{self._settings.queue}.dead")
        return Depth(messages=messages, consumers=consumers, dead_letters=dead_letters)


def _counts(connection: pika.BlockingConnection, queue: str) -> tuple[int, int]:
    try:
        with connection.channel() as channel:
            told = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as refused:
        if refused.reply_code != NOT_FOUND:
            raise
        return 0, 0
    return told.message_count, told.consumer_count


def embedded_depth(path: Path) -> Depth:
    """Return what is in a queue's file.

    Raises:
        BrokerError: it cannot be read.
    """
    with (
        mapped({sqlite3.Error: BrokerError, OSError: BrokerError}, subject=str(path)),
        closing(QueueFile(path, survives_power_cut=False)) as file,
    ):
        return Depth(messages=file.waiting(), dead_letters=len(file.dead_ids()))
