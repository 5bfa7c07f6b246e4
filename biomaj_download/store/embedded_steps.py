"""The steps that the embedded store takes as one: each function runs within a transaction."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from biomaj_download.store.base import LEASE_SECONDS, Answer, Claim, Message, Outcome, Verdict

SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    bank TEXT NOT NULL, id TEXT NOT NULL, progress INTEGER, error INTEGER, files BLOB,
    PRIMARY KEY (bank, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    bank TEXT NOT NULL, session TEXT NOT NULL, key TEXT NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0, counted INTEGER NOT NULL DEFAULT 0,
    starts INTEGER NOT NULL DEFAULT 0, failure TEXT,
    PRIMARY KEY (bank, session, key),
    FOREIGN KEY (bank, session) REFERENCES session (bank, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sight (
    bank TEXT NOT NULL, session TEXT NOT NULL, holder TEXT NOT NULL,
    PRIMARY KEY (bank, session, holder),
    FOREIGN KEY (bank, session) REFERENCES session (bank, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
    target TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS error (
    number INTEGER PRIMARY KEY, bank TEXT NOT NULL, session TEXT NOT NULL, text TEXT NOT NULL,
    FOREIGN KEY (bank, session) REFERENCES session (bank, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS error_of_session ON error (bank, session);
"""

IS_OPEN = "SELECT 1 FROM session WHERE bank = ? AND id = ?"


class _Noted(NamedTuple):
    """What is known of a message; an old client's may have twins, of which some are counted."""

    seen: int
    counted: int
    starts: int
    failure: str | None

    @property
    def is_counted(self) -> bool:
        return self.counted >= max(self.seen, 1)


def claim_message(database: sqlite3.Connection, claim: Claim) -> Verdict:
    """Answer a claim, and lease its targets where it is wanted."""
    message = claim.message
    if not _note(database, message):
        return Verdict(Answer.GONE)
    if not message.is_unique:
        _see(database, claim)
    known = _noted(database, message)
    if known.is_counted and not claim.again:
        return Verdict(Answer.SETTLED)
    if known.counted and not known.is_counted:
        _count(database, Outcome(message=message, error=known.failure))
        return Verdict(Answer.SETTLED)
    holder = lease(database, message, breaks=claim.breaks)
    return Verdict(Answer.BUSY, holder) if holder else Verdict(Answer.WANTED)


def forget_old_leases(database: sqlite3.Connection) -> None:
    """Remove the leases that have run out: of processes that died."""
    database.execute("DELETE FROM lease WHERE until <= ?", (time.time(),))


def settle(database: sqlite3.Connection, outcome: Outcome) -> bool:
    """Count an outcome, unless it is counted or its session is gone; its leases end."""
    message = outcome.message
    _give_back(database, message)
    if not _note(database, message) or _noted(database, message).is_counted:
        return False
    _count(database, outcome)
    return True


def release(database: sqlite3.Connection, message: Message) -> None:
    """Give the leases of a message back, and forget its starts."""
    _give_back(database, message)
    _change(database, message, "starts = 0")


def note_start(database: sqlite3.Connection, message: Message) -> int:
    """Count a start, and return how many there were; a closed session has no such number."""
    if not _note(database, message):
        return 0
    _change(database, message, "starts = starts + 1")
    return _noted(database, message).starts


def _note(database: sqlite3.Connection, message: Message) -> bool:
    """Make a row for a message; say whether its session is open."""
    if not database.execute(IS_OPEN, (message.bank, message.session)).fetchone():
        return False
    database.execute(
        "INSERT INTO message (bank, session, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        _key_of(message),
    )
    return True


def _noted(database: sqlite3.Connection, message: Message) -> _Noted:
    query = (
        "SELECT seen, counted, starts, failure FROM message"
        " WHERE bank = ? AND session = ? AND key = ?"
    )
    return _Noted(*database.execute(query, _key_of(message)).fetchone())


def _change(database: sqlite3.Connection, message: Message, what: str, *values: object) -> None:
    # `what` is a constant of one of those who call.
    statement = f"UPDATE message SET {what} WHERE bank = ? AND session = ? AND key = ?"  # nosec B608 # noqa: S608 - so
    database.execute(statement, (*values, *_key_of(message)))


def _see(database: sqlite3.Connection, claim: Claim) -> None:
    """Count the twins of an old client's message: each is delivered for the first time once."""
    message = claim.message
    if claim.redelivered:
        _change(database, message, "seen = max(seen, 1)")
        return
    sight = "INSERT INTO sight VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    if database.execute(sight, (message.bank, message.session, message.holder)).rowcount:
        _change(database, message, "seen = seen + 1")


def _count(database: sqlite3.Connection, outcome: Outcome) -> None:
    message = outcome.message
    key = (message.bank, message.session)
    failed = int(outcome.error is not None)
    _change(database, message, "counted = counted + 1, failure = ?", outcome.error_text)
    database.execute(
        "UPDATE session SET progress = ifnull(progress, 0) + 1, files = ifnull(?, files),"
        " error = CASE WHEN ? THEN ifnull(error, 0) + 1 ELSE error END WHERE bank = ? AND id = ?",
        (outcome.files, failed, *key),
    )
    if failed:
        database.execute(
            "INSERT INTO error (bank, session, text) VALUES (?, ?, ?)", (*key, outcome.error_text)
        )


def lease(database: sqlite3.Connection, message: Message, *, breaks: str = "") -> str:
    """Lease the targets of a message, or prolong that; return who else holds one, if any."""
    now = time.time()
    for target in message.targets:
        query = "SELECT holder FROM lease WHERE target = ? AND until > ?"
        row = database.execute(query, (target, now)).fetchone()
        if row and row[0] not in (message.holder, breaks):
            return str(row[0])
    database.executemany(
        "INSERT INTO lease VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET holder = excluded.holder, until = excluded.until",
        [(target, message.holder, now + LEASE_SECONDS) for target in message.targets],
    )
    return ""


def _give_back(database: sqlite3.Connection, message: Message) -> None:
    database.executemany(
        "DELETE FROM lease WHERE target = ? AND holder = ?",
        [(target, message.holder) for target in message.targets],
    )


def _key_of(message: Message) -> tuple[str, str, str]:
    return (message.bank, message.session, message.key)
