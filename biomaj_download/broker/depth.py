"""How much is on a broker's queue, and in its dead letters: for people who look on, and probes.

It is asked on a thread of its own, as long as somebody looks, or a probe does: a broker that hangs
keeps nobody waiting.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pika

from biomaj_download.broker.amqp import held_by
from biomaj_download.broker.line import Line
from biomaj_download.broker.queue_file import QueueFile
from biomaj_download.errors import BrokerError, mapped
from biomaj_download.settings import RabbitmqSettings

log = logging.getLogger("biomaj.download.broker")

ASK_SECONDS = 3.0
FIRST_ANSWER_SECONDS = 1.0
#: A broker that told nothing for so long, while somebody looked, does not answer.
SILENT_SECONDS = 3 * ASK_SECONDS
#: Nobody looks who has not looked for so long.
LOOKS_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Depth:
    """What waits on the queue and in the dead letters; None: the broker does not tell."""

    messages: int | None = None
    consumers: int | None = None
    dead_letters: int | None = None
    error: str | None = None


class DepthAsker(ABC):
    """Asks a broker; for one thread."""

    @abstractmethod
    def ask(self) -> Depth:
        """Return what is there.

        Raises:
            BrokerError: the broker cannot be reached, or refuses.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; the next question makes a new one."""


class DepthGauge:
    """Asks while somebody looks; `latest` may be called from any thread and answers at once."""

    def __init__(self, asker: DepthAsker) -> None:
        self._asker = asker
        self._lock = threading.Lock()
        self._latest = Depth(error="the broker was not asked yet")
        self._looked_at = 0.0
        self._told_at = 0.0  # or, while it was not asked, when that began anew
        self._asked = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Ask no more; a question that hangs is not waited for."""
        self._closing.set()

    def latest(self) -> Depth:
        """Return what was told last; whoever looks first waits a moment for it."""
        with self._lock:
            self._looked_at = time.monotonic()
            is_first = self._thread is None
            if is_first:
                self._asked.clear()
                self._told_at = self._looked_at
                self._thread = threading.Thread(target=self._run, name="depth", daemon=True)
                self._thread.start()
        if is_first:
            self._asked.wait(FIRST_ANSWER_SECONDS)
        return self._latest

    def check(self) -> None:
        """Return if the broker answered when it was asked last, a few seconds ago; this is a look.

        Raises:
            BrokerError: it did not, or it has not for SILENT_SECONDS.
        """
        error = self.latest().error
        if error is not None:
            raise BrokerError(error)
        if time.monotonic() - self._told_at > SILENT_SECONDS:
            raise BrokerError("no answer")

    def _run(self) -> None:
        while True:
            try:
                self._latest = self._asker.ask()
            except BrokerError as error:
                self._latest = Depth(error=str(error))
            except Exception as error:  # the thread must not end while somebody looks
                log.exception("queue not asked")
                self._latest = Depth(error=f"unexpected failure: {error}")
            self._told_at = time.monotonic()
            self._asked.set()
            is_closing = self._closing.wait(ASK_SECONDS)
            with self._lock:
                if is_closing or time.monotonic() - self._looked_at > LOOKS_SECONDS:
                    self._asker.close()
                    self._thread = None
                    return


class RabbitmqDepth(DepthAsker):
    """Asks RabbitMQ on one connection, which is opened again when it was lost."""

    def __init__(self, settings: RabbitmqSettings) -> None:
        self._settings = settings
        self._line = Line(settings, lambda connection: connection, purpose="looks")

    def ask(self) -> Depth:
        """Count what the queues hold."""
        return self._line.carry_out(
            self._asked,
            subject=f"queue {self._settings.queue}",
            expected="a broker that tells what it holds",
        )

    def close(self) -> None:
        """Close the connection, unless it is lost."""
        self._line.close()

    def _asked(self, connection: pika.BlockingConnection) -> Depth:
        queue = held_by(connection, self._settings.queue)
        dead = held_by(connection, self._settings.dead_queue)
        return Depth(messages=queue.messages, consumers=queue.consumers, dead_letters=dead.messages)


class EmbeddedDepth(DepthAsker):
    """Asks a queue's file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self) -> Depth:
        """Count what the file holds; it does not tell who consumes."""
        with (
            mapped({sqlite3.Error: BrokerError, OSError: BrokerError}, subject=str(self._path)),
            closing(QueueFile(self._path, survives_power_cut=False)) as file,
        ):
            return Depth(messages=file.waiting(), dead_letters=len(file.dead_ids()))

    def close(self) -> None:
        """Do nothing: the file is opened for each question."""
