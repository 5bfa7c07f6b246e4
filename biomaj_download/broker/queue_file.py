"""The SQLite file behind the embedded broker: waiting, claimed and dead messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from biomaj_download.broker.base import REQUEUED_HEADER
from biomaj_download.broker.dead import LONGEST_REASON_CHARACTERS, identity_of
from biomaj_download.permissions import make_private

FIRST_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT,
    body BLOB NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    seat INTEGER
);
CREATE INDEX IF NOT EXISTS waiting ON messages (id) WHERE seat IS NULL;
CREATE INDEX IF NOT EXISTS claimed ON messages (seat) WHERE seat IS NOT NULL;
CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY,
    message_id TEXT,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    died_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ'))
);
"""

DEAD_LETTERS_SCHEMA = """
ALTER TABLE messages ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN deliveries INTEGER NOT NULL DEFAULT 1;
ALTER TABLE dead ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN letter_id TEXT;
UPDATE dead SET letter_id = lower(hex(randomblob(16)));
CREATE UNIQUE INDEX letters ON dead (letter_id);
"""

#: A file's `user_version` says how many of these it has had; a new one gets all.
SCHEMAS = (FIRST_SCHEMA, DEAD_LETTERS_SCHEMA)

#: How long a statement waits for another process to finish its transaction.
BUSY_TIMEOUT_SECONDS = 30


WAITING = "SELECT id FROM messages WHERE seat IS NULL ORDER BY id LIMIT ?"
CLAIM = """
UPDATE messages SET seat = ?, deliveries = deliveries + 1
WHERE id IN (SELECT id FROM messages WHERE seat IS NULL ORDER BY id LIMIT ?)
RETURNING id, message_id, body, deliveries, requeued
"""


class Claimed(NamedTuple):
    """A message as a consumer gets it; `deliveries` counts this one too."""

    id: int
    message_id: str | None
    body: bytes
    deliveries: int
    requeued: bool


class Dead(NamedTuple):
    """A dead letter as the file keeps it; `deliveries` and `requeued` as it was claimed.

    `QueueFile.dead` reads the columns in this order.
    """

    letter_id: str
    reason: str
    body: bytes
    message_id: str | None
    died_at: str
    deliveries: int
    requeued: bool


def headers_of(*, deliveries: int, requeued: bool) -> dict[str, object]:
    """Return a message's headers; earlier deliveries stand in that of RabbitMQ's quorum queues."""
    headers: dict[str, object] = {}
    if deliveries > 1:
        headers["x-delivery-count"] = deliveries - 1
    if requeued:
        headers[REQUEUED_HEADER] = 1
    return headers


@retry(
    retry=retry_if_exception_message(match="database is locked"),
    stop=stop_after_delay(BUSY_TIMEOUT_SECONDS),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the journal mode: the one statement that SQLite's own busy timeout does not cover."""
    connection.execute("PRAGMA journal_mode=WAL")


class QueueFile:
    """One connection to the file, for one thread at a time.

    `survives_power_cut` False: the last changes may be undone by a power cut, none by a killed
    process. That is right for settlements (the message comes again), not for publishing.
    """

    def __init__(self, path: Path, *, survives_power_cut: bool) -> None:
        self._connection = sqlite3.connect(
            make_private(path),
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        synchronous = "FULL" if survives_power_cut else "NORMAL"
        try:
            _write_ahead(self._connection)
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
            with self.transaction():
                self._complete_schema()
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several changes one; an error undoes them all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def put(self, messages: Iterable[tuple[bytes, str]]) -> None:
        """Add messages, all or none."""
        with self.transaction():
            self._connection.executemany(
                "INSERT INTO messages (body, message_id) VALUES (?, ?)", messages
            )

    def claim(self, seat: int, number: int) -> list[Claimed]:
        """Take the oldest waiting messages for a seat, up to a number."""
        if not number or not self._connection.execute(WAITING, (1,)).fetchone():
            return []
        rows = self._connection.execute(CLAIM, (seat, number)).fetchall()
        return sorted(Claimed(*row) for row in rows)

    def seats(self) -> list[int]:
        """Return the seats that hold messages."""
        rows = self._connection.execute(
            "SELECT DISTINCT seat FROM messages WHERE seat IS NOT NULL"
        ).fetchall()
        return [seat for (seat,) in rows]

    def clear_seat(self, seat: int) -> int:
        """Have everything on a seat wait again, and return how many messages that were."""
        return self._connection.execute(
            "UPDATE messages SET seat = NULL WHERE seat = ?", (seat,)
        ).rowcount

    def remove(self, id_: int) -> None:
        """Forget a message."""
        self._connection.execute("DELETE FROM messages WHERE id = ?", (id_,))

    def release(self, id_: int) -> None:
        """Have a message wait again, at its old place."""
        self._connection.execute("UPDATE messages SET seat = NULL WHERE id = ?", (id_,))

    def bury(self, id_: int, reason: str) -> None:
        """Move a message to the dead letters."""
        self._connection.execute(
            "INSERT INTO dead (message_id, body, deliveries, requeued, reason, letter_id)"
            " SELECT message_id, body, deliveries, requeued, ?, ? FROM messages WHERE id = ?",
            (reason[:LONGEST_REASON_CHARACTERS], uuid4().hex, id_),
        )
        self.remove(id_)

    def waiting(self) -> int:
        """Return how many messages nobody has yet."""
        query = "SELECT count(*) FROM messages WHERE seat IS NULL"
        return int(self._connection.execute(query).fetchone()[0])

    def dead_ids(self) -> list[str]:
        """Return the ids of the dead letters, the oldest first; from the index, past the bodies."""
        query = "SELECT letter_id FROM dead INDEXED BY letters ORDER BY id"
        return [id_ for (id_,) in self._connection.execute(query)]

    def dead(self) -> Iterator[Dead]:
        """Read the dead letters, the oldest first."""
        rows = self._connection.execute(
            "SELECT letter_id, reason, body, message_id, died_at, deliveries, requeued FROM dead"
            " ORDER BY id"
        )
        return (Dead(*row) for row in rows)

    def revive(self, letter_id: str) -> None:
        """Have a dead letter wait as a new message."""
        query = "SELECT message_id, body FROM dead WHERE letter_id = ?"
        message_id, body = self._connection.execute(query, (letter_id,)).fetchone()
        self._connection.execute(
            "INSERT INTO messages (message_id, body, requeued) VALUES (?, ?, 1)",
            (identity_of(message_id, body), body),
        )
        self.forget(letter_id)

    def forget(self, letter_id: str) -> None:
        """Delete a dead letter."""
        self._connection.execute("DELETE FROM dead WHERE letter_id = ?", (letter_id,))

    def _complete_schema(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        for schema in SCHEMAS[version:]:
            for statement in schema.split(";"):
                self._connection.execute(statement)
            version += 1
            self._connection.execute(f"PRAGMA user_version={version}")
