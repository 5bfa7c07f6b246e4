"""One SQLite file: statements in, rows or changes out, its errors told as the store's.

Write-ahead logging: what is stored outlives a killed process. After a power cut the last changes
may be missing, but for those that are synced.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from biomaj_download.errors import StoreError, mapped
from biomaj_download.permissions import make_private

_BUSY_SECONDS = 30


class SqliteFile:
    """A connection of its own, used by one thread at a time; any thread may call.

    `schema` makes what is missing. Each call raises StoreError where the file fails.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._lock = threading.Lock()
        self._mapped = mapped(
            {sqlite3.Error: StoreError, OSError: StoreError}, subject=f"store {path}"
        )
        with self._mapped:
            self._database = _opened(path, schema)

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return all that a query finds."""
        with self._mapped, self._lock:
            return self._database.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> tuple[Any, ...]:
        """Return the first that a query finds; empty: it finds nothing."""
        with self._mapped, self._lock:
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return row or ()

    @contextmanager
    def transaction(self, *, survives_power_cut: bool = False) -> Iterator[sqlite3.Connection]:
        """Change the file, wholly or, where an error comes out, not at all."""
        with self._mapped, self._lock:
            self._database.execute(
                f"PRAGMA synchronous={'FULL' if survives_power_cut else 'NORMAL'}"
            )
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk ends it before we do
                    self._database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


def _opened(path: Path, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(
        make_private(path), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _write_ahead(database)
        database.execute("PRAGMA foreign_keys=ON")
        database.executescript(schema)
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
