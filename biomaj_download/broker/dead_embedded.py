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
            return len(file.dead_ids())

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
        """Have letters wait again, the oldest first, all or none."""
        with self._opened() as file, file.transaction():
            found = [id_ for id_ in file.dead_ids() if id_ in ids]
            for id_ in found:
                file.revive(id_)
        return frozenset(found)

    def drop(self, ids: Collection[str]) -> frozenset[str]:
        """Delete letters, all or none."""
        with self._opened() as file, file.transaction():
            found = frozenset(ids).intersection(file.dead_ids())
            for id_ in found:
                file.forget(id_)
        return found

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
