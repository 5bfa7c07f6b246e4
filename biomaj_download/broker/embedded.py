"""Download requests through one SQLite file: a durable queue for one host, without a server."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple, cast

from biomaj_download.broker.base import Broker, Delivery
from biomaj_download.broker.outage import Outage, wait_out
from biomaj_download.broker.queue_file import Claimed, QueueFile, headers_of
from biomaj_download.broker.seat import Seat, take_seat, take_seat_if_free
from biomaj_download.errors import BrokerError, mapped

log = logging.getLogger("biomaj.download.broker")

#: How often to look for messages that other processes put into the file, and for dead consumers.
POLL_SECONDS = 0.25

#: `close` waits so long for `consume`: a little longer than SQLite waits for a locked file.
CLOSE_SECONDS = 40


class Note(NamedTuple):
    """What another thread wants done with a message, as a change of the file."""

    id: int
    change: Callable[[QueueFile, int], None]


class Orders:
    """What other threads ask of the consuming one; `knock` is set with each, to wake it."""

    def __init__(self) -> None:
        self.knock = threading.Event()
        self.stopping = threading.Event()
        self.closing = threading.Event()
        self.notes: deque[Note] = deque()
        #: Messages that are out, and count no more.
        self.lent: set[int] = set()


class EmbeddedBroker(Broker):
    """A queue in one SQLite file (and its `-wal`, `-shm` and `.consumer-N` companions).

    Several processes of one host may publish and consume; a message is with one of them at a time.
    The messages of a consumer that dies go to the others within POLL_SECONDS, redelivered, or to
    itself when it starts again. Not for network file systems.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._orders = Orders()
        self._consumption: Consumption | None = None
        self._consuming: threading.Thread | None = None
        self._consumed = threading.Event()
        self._publishing = threading.Lock()
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = QueueFile(path, survives_power_cut=True)

    def publish(self, body: bytes, *, message_id: str) -> None:
        """Put a message into the file; return when it is on the disk."""
        self.publish_many([(body, message_id)])

    def publish_many(self, messages: Iterable[tuple[bytes, str]]) -> None:
        """Put many messages into the file, all or none."""
        with self._mapped(), self._publishing:
            self._file.put(messages)
        self._orders.knock.set()

    def consume(
        self,
        on_delivery: Callable[[Delivery], None],
        *,
        slots: int,
        on_turn: Callable[[], object] = lambda: None,
    ) -> None:
        """Hand out messages, the oldest first; an error of the file is waited out.

        Raises:
            BrokerError: the file cannot be opened.
        """
        self._consuming = threading.current_thread()
        try:
            with ExitStack() as opened:
                with self._mapped():
                    seat = opened.enter_context(closing(take_seat(self._path)))
                    file = opened.enter_context(
                        closing(QueueFile(self._path, survives_power_cut=False))
                    )
                    file.clear_seat(seat.number)  # of a consumer that died here
                self._consumption = Consumption(file, seat, on_delivery, slots, self._orders)
                self._consumption.run(Outage(str(self._path)), on_turn)
        finally:
            self._consumption = None
            self._consumed.set()

    def accept(self, delivery: Delivery) -> None:
        """Forget a message."""
        self._note(delivery, QueueFile.remove)

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the table `dead`."""
        self._note(delivery, lambda file, id_: file.bury(id_, reason))

    def requeue(self, delivery: Delivery) -> None:
        """Have a message wait again."""
        self._note(delivery, QueueFile.release)

    def lend_place(self, delivery: Delivery) -> None:
        """Claim one message more while this one is out."""
        self._orders.lent.add(cast("int", delivery.token))
        self._orders.knock.set()

    def is_connected(self) -> bool:
        """Say whether the file takes orders; a broker that only publishes has opened it."""
        if self._consuming is None:
            return True
        return self._consumption is not None and self._consumption.is_healthy

    def stop(self) -> None:
        """Hand out no further message."""
        self._orders.stopping.set()
        self._orders.knock.set()

    def close(self) -> None:
        """Stop, carry out the settlements asked for, and close the file."""
        self._orders.closing.set()
        self.stop()
        is_elsewhere = self._consuming not in (None, threading.current_thread())
        if is_elsewhere and not self._consumed.wait(CLOSE_SECONDS):
            log.warning("closed while messages are still consumed, after seconds=%d", CLOSE_SECONDS)
        with self._publishing:
            self._file.close()

    def _note(self, delivery: Delivery, change: Callable[[QueueFile, int], None]) -> None:
        self._orders.notes.append(Note(cast("int", delivery.token), change))
        self._orders.knock.set()

    def _mapped(self) -> AbstractContextManager[None]:
        return mapped({sqlite3.Error: BrokerError, OSError: BrokerError}, subject=str(self._path))


class Consumption:
    """The loop that owns a seat of the queue, and what is out from there; one thread's own."""

    def __init__(
        self,
        file: QueueFile,
        seat: Seat,
        on_delivery: Callable[[Delivery], None],
        slots: int,
        orders: Orders,
    ) -> None:
        self._file = file
        self._seat = seat
        self._on_delivery = on_delivery
        self._slots = slots
        self._orders = orders
        self._unsettled: set[int] = set()
        self._settling: dict[int, Note] = {}
        self._next_look = 0.0
        self.is_healthy = True

    def run(self, outage: Outage, on_turn: Callable[[], object]) -> None:
        """Claim and settle until there is nothing more to do."""
        while not self._is_over():
            on_turn()
            self._orders.knock.clear()
            try:
                self._turn()
            except (sqlite3.Error, OSError) as error:
                self.is_healthy = False
                wait_out(outage.failed(error, str(error)), self._orders.closing, on_turn)
            else:
                self.is_healthy = True
                outage.over()
                if not self._is_over():
                    self._orders.knock.wait(POLL_SECONDS)
        with suppress(sqlite3.Error):
            self._settle()
            self._file.clear_seat(self._seat.number)

    def _is_over(self) -> bool:
        if self._orders.closing.is_set():
            return True
        return self._orders.stopping.is_set() and not self._unsettled

    def _turn(self) -> None:
        self._settle()
        if not self._orders.stopping.is_set():
            self._clear_seats_of_the_dead()
            out = len(self._unsettled - self._orders.lent)
            self._hand_out(self._file.claim(self._seat.number, max(self._slots - out, 0)))

    def _settle(self) -> None:
        """Carry out all notes in one transaction; after an error the next turn tries them again."""
        while self._orders.notes:
            note = self._orders.notes.popleft()
            if note.id in self._unsettled and note.id not in self._settling:
                self._settling[note.id] = note
            else:
                log.warning("settlement dropped message=%d: settled before", note.id)
        if self._settling:
            with self._file.transaction():
                for note in self._settling.values():
                    note.change(self._file, note.id)
            self._unsettled.difference_update(self._settling)
            self._orders.lent.difference_update(self._settling)
            self._settling.clear()

    def _hand_out(self, messages: list[Claimed]) -> None:
        self._unsettled.update(message.id for message in messages)
        for message in messages:
            if self._orders.stopping.is_set():
                self._orders.notes.append(Note(message.id, QueueFile.release))
            else:
                self._on_delivery(_delivery(message))

    def _clear_seats_of_the_dead(self) -> None:
        """Have the messages of consumers that died wait again, looked for once a POLL_SECONDS."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + POLL_SECONDS
        for number in self._file.seats():
            if number != self._seat.number:
                self._clear_seat_if_dead(number)

    def _clear_seat_if_dead(self, number: int) -> None:
        seat = take_seat_if_free(self._seat.queue_path, number)
        if seat is None:
            return
        with closing(seat):
            messages = self._file.clear_seat(number)
        log.warning("consumer died seat=%d messages=%d: they are delivered again", number, messages)


def _delivery(message: Claimed) -> Delivery:
    return Delivery(
        body=message.body,
        token=message.id,
        message_id=message.message_id,
        redelivered=message.deliveries > 1,
        headers=headers_of(deliveries=message.deliveries, requeued=message.requeued),
    )
