"""Sessions in one SQLite file, for a service without a server; several processes may share it.

Write-ahead logging without a sync per outcome: what is stored outlives a killed process. After
a power cut the last outcomes may be missing; their messages then come again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from biomaj_download.errors import StoreError
from biomaj_download.permissions import make_private
from biomaj_download.store import embedded_steps as steps
from biomaj_download.store.base import (
    Answer,
    Claim,
    Message,
    Outcome,
    Progress,
    Store,
    Verdict,
)

#: A waiting client looks so often for what another process has stored.
LOOK_SECONDS = 0.25
_BUSY_SECONDS = 30


class EmbeddedStore(Store):
    """Sessions in a file; one connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._settled = threading.Condition()
        with self._mapped():
            self._database = opened(path)

    def create_session(self, bank: str) -> str:
        """Open a session and return its id."""
        session = str(uuid.uuid4())
        with self._transaction() as database:
            database.execute("INSERT INTO session (bank, id) VALUES (?, ?)", (bank, session))
        return session

    def delete_session(self, bank: str, session: str) -> None:
        """Forget a session and all that is under it."""
        with self._transaction() as database:
            database.execute("DELETE FROM session WHERE bank = ? AND id = ?", (bank, session))

    def unwanted(self, sessions: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Look for each session; the cancel flag is one of Redis alone."""
        return {key for key in sessions if not self._row(steps.IS_OPEN, *key)}

    def claim_many(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Claim messages in one transaction."""
        with self._transaction() as database:
            steps.forget_old_leases(database)
            verdicts = [steps.claim_message(database, claim) for claim in claims]
        if any(verdict.answer is Answer.SETTLED for verdict in verdicts):
            self._tell()  # one may have been counted like its twin
        return verdicts

    def renew(self, messages: Sequence[Message]) -> list[Message]:
        """Prolong leases in one transaction."""
        with self._transaction() as database:
            return [message for message in messages if steps.lease(database, message)]

    def release(self, messages: Sequence[Message]) -> None:
        """Give leases back in one transaction."""
        with self._transaction() as database:
            for message in messages:
                steps.release(database, message)

    def note_start(self, message: Message) -> int:
        """Count a start."""
        with self._transaction() as database:
            return steps.note_start(database, message)

    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store and count outcomes in one transaction."""
        with self._transaction() as database:
            counted = [steps.settle(database, outcome) for outcome in outcomes]
        if any(counted):
            self._tell()
        return counted

    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""
        row = self._row(
            "SELECT progress, error FROM session WHERE bank = ? AND id = ?", bank, session
        )
        return Progress(*row) if row else Progress(None, None, is_open=False)

    def wait_for_progress(
        self, bank: str, session: str, *, after: int, timeout_seconds: float
    ) -> Progress:
        """Return when progress is above `after`: news of this process come at once."""
        deadline = time.monotonic() + timeout_seconds
        with self._settled:
            while True:
                progress = self.progress(bank, session)
                left_seconds = deadline - time.monotonic()
                is_news = (progress.done or 0) > after or not progress.is_open
                if is_news or left_seconds <= 0:
                    return progress
                self._settled.wait(min(left_seconds, LOOK_SECONDS))

    def pop_errors(self, bank: str, session: str) -> list[str]:
        """Return the errors of a session, oldest first, and forget them."""
        where = "FROM error WHERE bank = ? AND session = ?"
        with self._transaction() as database:
            rows = database.execute(f"SELECT text {where} ORDER BY number", (bank, session))
            texts = [text for (text,) in rows]
            database.execute(f"DELETE {where}", (bank, session))
        return texts

    def file_list(self, bank: str, session: str) -> bytes | None:
        """Return the serialized FileList of a LIST request."""
        row = self._row("SELECT files FROM session WHERE bank = ? AND id = ?", bank, session)
        files: bytes | None = row[0] if row else None
        return files

    def ping(self) -> None:
        """Return if the file can be read."""
        self._row("SELECT 1")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _tell(self) -> None:
        with self._settled:
            self._settled.notify_all()

    def _row(self, query: str, *values: str) -> tuple[Any, ...]:
        with self._mapped(), self._lock:
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return row or ()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mapped(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk ends it before we do
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"store {self._path}: {error}") from error


def opened(path: Path) -> sqlite3.Connection:
    """Open the file, and make what is missing in it."""
    database = sqlite3.connect(
        make_private(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _write_ahead(database)
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA foreign_keys=ON")
        database.executescript(steps.SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


@retry(
    retry=retry_if_exception_message(match="database is locked"),
    stop=stop_after_delay(_BUSY_SECONDS),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; two that do so at once are told "locked" without a wait."""
    database.execute("PRAGMA journal_mode=WAL")
