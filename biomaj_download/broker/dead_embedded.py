"""Dead letters in the embedded broker's SQLite file: its table `dead`."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from biomaj_download.broker.dead import DeadLetter, DeadLetters, instant_of
from biomaj_download.broker.queue_file import QueueFile, headers_of
from biomaj_download.errors import BrokerError, mapped


class EmbeddedDeadLetters(DeadLetters):
    """The dead letters in a queue's file, beside a service that runs or not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        """Return how many there are."""
        with self._opened() as file:
            return file.count_dead()

    def each(self) -> Generator[DeadLetter, None, None]:
        """Hand out one after the other."""
        with self._opened() as file:
            for row in file.dead():
                yield DeadLetter(
                    id=row.letter_id,
                    reason=row.reason,
                    body=row.body,
                    message_id=row.message_id,
                    died_at=instant_of(row.died_at),
                    headers=headers_of(deliveries=row.deliveries, requeued=row.requeued),
                )

    def requeue(self, ids: Collection[str]) -> frozenset[str]:
        """Have letters wait again, all or none."""
        with self._opened() as file, file.transaction():
            return frozenset(id_ for id_ in ids if file.revive(id_))

    def drop(self, ids: Collection[str]) -> frozenset[str]:
        """Delete letters, all or none."""
        with self._opened() as file, file.transaction():
            return frozenset(id_ for id_ in ids if file.forget(id_))

    @contextmanager
    def _opened(self) -> Iterator[QueueFile]:
        """Open the file, and never make one: a path that was mistyped has no letters."""
        if not self._path.exists():
            raise BrokerError(f"{self._path}: expected a queue file, there is none")
        with (
            mapped({sqlite3.Error: BrokerError, OSError: BrokerError}, subject=str(self._path)),
            closing(QueueFile(self._path, survives_power_cut=True)) as file,
        ):
            yield file
