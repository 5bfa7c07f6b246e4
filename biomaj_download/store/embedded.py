"""Sessions in one SQLite file, for a service without a server; several processes may share it.

After a power cut the last changes may be missing (see `sqlite_file`), but no outcome.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

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
from biomaj_download.store.sqlite_file import SqliteFile

#: A waiting client looks so often for what another process has stored.
LOOK_SECONDS = 0.25


class EmbeddedStore(Store):
    """Sessions in a file."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path, steps.SCHEMA)
        self._settled = threading.Condition()

    def create_session(self, bank: str) -> str:
        """Open a session and return its id."""
        session = str(uuid.uuid4())
        with self._file.transaction() as database:
            database.execute("INSERT INTO session (bank, id) VALUES (?, ?)", (bank, session))
        return session

    def delete_session(self, bank: str, session: str) -> None:
        """Forget a session and all that is under it."""
        with self._file.transaction() as database:
            database.execute("DELETE FROM session WHERE bank = ? AND id = ?", (bank, session))

    def unwanted(self, sessions: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Look for each session; the cancel flag is one of Redis alone."""
        return {key for key in sessions if not self._file.row(steps.IS_OPEN, *key)}

    def claim_many(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Claim messages in one transaction."""
        with self._file.transaction() as database:
            steps.forget_old_leases(database)
            verdicts = [steps.claim_message(database, claim) for claim in claims]
        if any(verdict.answer is Answer.SETTLED for verdict in verdicts):
            self._tell()  # one may have been counted like its twin
        return verdicts

    def renew(self, messages: Sequence[Message]) -> list[Message]:
        """Prolong leases in one transaction."""
        with self._file.transaction() as database:
            return [message for message in messages if steps.lease(database, message)]

    def release(self, messages: Sequence[Message]) -> None:
        """Give leases back in one transaction."""
        with self._file.transaction() as database:
            for message in messages:
                steps.release(database, message)

    def note_start(self, message: Message) -> int:
        """Count a start."""
        with self._file.transaction() as database:
            return steps.note_start(database, message)

    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store and count outcomes in one transaction.

        It outlives a power cut: a queue on this host may keep the removal of their messages.
        """
        with self._file.transaction(survives_power_cut=True) as database:
            counted = [steps.settle(database, outcome) for outcome in outcomes]
        if any(counted):
            self._tell()
        return counted

    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""
        row = self._file.row(
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
        with self._file.transaction() as database:
            rows = database.execute(f"SELECT text {where} ORDER BY number", (bank, session))
            texts = [text for (text,) in rows]
            database.execute(f"DELETE {where}", (bank, session))
        return texts

    def file_list(self, bank: str, session: str) -> bytes | None:
        """Return the serialized FileList of a LIST request."""
        row = self._file.row("SELECT files FROM session WHERE bank = ? AND id = ?", bank, session)
        files: bytes | None = row[0] if row else None
        return files

    def ping(self) -> None:
        """Return if the file can be read."""
        self._file.row("SELECT 1")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _tell(self) -> None:
        with self._settled:
            self._settled.notify_all()
