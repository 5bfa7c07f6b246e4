"""What people want to see of the service, in the SQLite file of the sessions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biomaj_download.store.activity import (
    BUCKETS,
    MOST_ENDED,
    PULSE_SECONDS,
    Activity,
    EndedFile,
    Page,
    Pulse,
    Session,
    SessionKey,
    State,
    bucket_now,
    instant,
)
from biomaj_download.store.embedded_steps import SCHEMA as SESSIONS_SCHEMA
from biomaj_download.store.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS activity (
    bank TEXT NOT NULL, session TEXT NOT NULL, opened_at REAL NOT NULL, changed_at REAL NOT NULL,
    expected INTEGER, bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bank, session),
    FOREIGN KEY (bank, session) REFERENCES session (bank, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (
    number INTEGER PRIMARY KEY, bank TEXT NOT NULL, session TEXT NOT NULL, state TEXT NOT NULL,
    searched TEXT NOT NULL, body TEXT NOT NULL,
    FOREIGN KEY (bank, session) REFERENCES session (bank, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS ended_of_session ON ended (bank, session, number);
CREATE INDEX IF NOT EXISTS failed ON ended (number) WHERE state = 'failed';
CREATE TABLE IF NOT EXISTS pulse (
    consumer TEXT PRIMARY KEY, until REAL NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS speed (bucket INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
"""

_SESSIONS = """
SELECT session.bank, session.id, opened_at, changed_at, expected, ifnull(progress, 0),
    ifnull(error, 0), ifnull(bytes, 0)
FROM session LEFT JOIN activity ON activity.bank = session.bank AND activity.session = session.id
"""


class EmbeddedActivity(Activity):
    """Activity in a file, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, SESSIONS_SCHEMA + _SCHEMA)
        self._trimmed_at = 0

    def tell(
        self, pulse: Pulse, ended: Sequence[EndedFile], moved: Mapping[SessionKey, int]
    ) -> None:
        """Tell all in one transaction."""
        now, bucket = time.time(), bucket_now()
        touched = {(file.bank, file.session) for file in ended} | {*moved}
        with self._file.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO pulse VALUES (?, ?, ?)",
                (pulse.consumer.name, now + PULSE_SECONDS, pulse.model_dump_json()),
            )
            if any(moved.values()):
                database.execute(
                    "INSERT INTO speed VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
                    (bucket, sum(moved.values())),
                )
            is_open = {key: _touch(database, key, now, moved.get(key, 0)) for key in touched}
            database.executemany(
                "INSERT INTO ended (bank, session, state, searched, body) VALUES (?, ?, ?, ?, ?)",
                [_row(file) for file in ended if is_open[file.bank, file.session]],
            )
            if bucket != self._trimmed_at:
                self._trimmed_at = bucket
                _trim(database, now, bucket)

    def forget_consumer(self, name: str) -> None:
        """Remove a consumer's pulse."""
        with self._file.transaction() as database:
            database.execute("DELETE FROM pulse WHERE consumer = ?", (name,))

    def expect(self, bank: str, session: str, files: int) -> None:
        """Note it with the session."""
        with self._file.transaction() as database:
            if _touch(database, (bank, session), time.time(), 0):
                database.execute(
                    "UPDATE activity SET expected = ? WHERE bank = ? AND session = ?",
                    (files, bank, session),
                )

    def sessions(self, bank: str | None, *, offset: int, limit: int) -> tuple[list[Session], int]:
        """Return sessions; of one that nothing was told of, the time is unknown: it is new."""
        where, values = ("WHERE session.bank = ?", (bank,)) if bank is not None else ("", ())
        query = f"{_SESSIONS} {where} ORDER BY ifnull(opened_at, 9e99) DESC, id LIMIT ? OFFSET ?"
        rows = self._file.rows(query, *values, limit, offset)
        counting = f"SELECT count(*) FROM session {where}"  # nosec B608 # noqa: S608 - two of ours
        count = self._file.rows(counting, *values)
        return [_session(row) for row in rows], count[0][0]

    def session(self, bank: str, session: str) -> Session | None:
        """Look for one."""
        rows = self._file.rows(
            f"{_SESSIONS} WHERE session.bank = ? AND session.id = ?", bank, session
        )
        return _session(rows[0]) if rows else None

    def files(
        self, bank: str, session: str, *, state: State | None, search: str, offset: int, limit: int
    ) -> Page:
        """Look through the session's files."""
        where, values = "bank = ? AND session = ?", [bank, session]
        if state is not None:
            where, values = f"{where} AND state = ?", [*values, state]
        return self._page(where, values, search, offset, limit)

    def errors(self, *, bank: str | None, search: str, offset: int, limit: int) -> Page:
        """Look through all that failed."""
        where, values = "state = 'failed'", []
        if bank is not None:
            where, values = f"{where} AND bank = ?", [bank]
        return self._page(where, values, search, offset, limit)

    def pulses(self) -> list[Pulse]:
        """Read those that have not run out."""
        query = "SELECT body FROM pulse WHERE until > ? ORDER BY consumer"
        return [Pulse.model_validate_json(body) for (body,) in self._file.rows(query, time.time())]

    def speed(self) -> list[int]:
        """Read all buckets."""
        first = bucket_now() - BUCKETS + 1
        told = dict(self._file.rows("SELECT bucket, bytes FROM speed WHERE bucket >= ?", first))
        return [told.get(bucket, 0) for bucket in range(first, first + BUCKETS)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _page(
        self, where: str, values: Sequence[str], search: str, offset: int, limit: int
    ) -> Page:
        # `where` is one of the conditions above, with a place for each value.
        total = None
        if search:
            where, values = f"{where} AND instr(searched, ?)", [*values, search.casefold()]
        else:
            counting = f"SELECT count(*) FROM ended WHERE {where}"  # nosec B608 # noqa: S608 - so
            total = self._file.rows(counting, *values)[0][0]
        asked = f"SELECT body FROM ended WHERE {where}"  # nosec B608 # noqa: S608 - so
        query = f"{asked} ORDER BY number DESC LIMIT ? OFFSET ?"
        bodies = [body for (body,) in self._file.rows(query, *values, limit + 1, offset)]
        return Page(
            files=tuple(EndedFile.model_validate_json(body) for body in bodies[:limit]),
            total=total,
            next_offset=offset + limit if len(bodies) > limit else None,
        )


def _touch(database: sqlite3.Connection, key: SessionKey, now: float, moved: int) -> bool:
    """Note that something was told of a session; say whether it is open."""
    if not database.execute("SELECT 1 FROM session WHERE bank = ? AND id = ?", key).fetchone():
        return False
    database.execute(
        "INSERT INTO activity (bank, session, opened_at, changed_at, bytes) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET changed_at = excluded.changed_at,"
        " bytes = bytes + excluded.bytes",
        (*key, now, now, moved),
    )
    return True


def _trim(database: sqlite3.Connection, now: float, bucket: int) -> None:
    """Forget what is too old, or too much."""
    database.execute("DELETE FROM pulse WHERE until < ?", (now,))
    database.execute("DELETE FROM speed WHERE bucket <= ?", (bucket - BUCKETS,))
    newest = "DELETE FROM ended WHERE number <= (SELECT max(number) FROM ended) - ?"
    database.execute(newest, (MOST_ENDED,))


def _row(file: EndedFile) -> tuple[str, ...]:
    searched = "\n".join(filter(None, (file.name, file.host, file.code, file.error))).casefold()
    return (file.bank, file.session, file.state, searched, file.model_dump_json())


def _session(row: Sequence[Any]) -> Session:
    bank, session, opened_at, changed_at, expected, progress, failed, moved = row
    return Session(
        bank=bank,
        session=session,
        opened_at=instant(opened_at),
        changed_at=instant(changed_at),
        expected=expected,
        done=progress - failed,
        failed=failed,
        received_bytes=moved,
    )
