"""Outcomes that the store could not take, in a file of this host: they outlive this process.

In: outcomes, when the store is away.  Out: the same ones, for whoever runs here next.
"""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from biomaj_download.permissions import make_private
from biomaj_download.store.base import Message, Outcome

log = logging.getLogger("biomaj.download.outbox")

_SCHEMA = "CREATE TABLE IF NOT EXISTS outcome (holder TEXT PRIMARY KEY, body TEXT NOT NULL)"
_BUSY_SECONDS = 30


class Outbox:
    """A small SQLite file, shared by the consumer's processes; made when it is first needed.

    A folder that cannot be written costs what it is for, no more: it is logged, and the messages
    come again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "outcomes.sqlite"

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes; they are on the disk when this returns."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with closing(self._opened()) as database, database:
                database.executemany(
                    "INSERT OR REPLACE INTO outcome VALUES (?, ?)",
                    [(outcome.message.holder, _written(outcome)) for outcome in outcomes],
                )
        except (OSError, sqlite3.Error) as error:
            log.error("outcomes not kept path=%s number=%d: %s", self._path, len(outcomes), error)

    def remove(self, outcomes: Sequence[Outcome]) -> None:
        """Forget outcomes: the store has them."""
        try:
            if not self._path.exists():
                return
            with closing(self._opened()) as database, database:
                database.executemany(
                    "DELETE FROM outcome WHERE holder = ?",
                    [(outcome.message.holder,) for outcome in outcomes],
                )
        except (OSError, sqlite3.Error) as error:  # they are stored, and not counted, again
            log.warning("outcomes not forgotten path=%s: %s", self._path, error)

    def left(self) -> list[Outcome]:
        """Return what an earlier process has kept."""
        try:
            if not self._path.exists():
                return []
            with closing(self._opened()) as database:
                rows = database.execute("SELECT body FROM outcome").fetchall()
            return [_read(body) for (body,) in rows]
        except (OSError, sqlite3.Error, ValueError, TypeError, LookupError) as error:
            log.error("outcomes not readable path=%s: %s", self._path, error)
            return []

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(make_private(self._path), timeout=_BUSY_SECONDS)
        database.execute(_SCHEMA)
        return database


def _written(outcome: Outcome) -> str:
    values = asdict(outcome)
    if outcome.files is not None:
        values["files"] = base64.b64encode(outcome.files).decode("ascii")
    return json.dumps(values | {"error": outcome.error_text})


def _read(body: str) -> Outcome:
    values = json.loads(body)
    message = values.pop("message")
    message["targets"] = tuple(message["targets"])
    if values["files"] is not None:
        values["files"] = base64.b64decode(values["files"])
    return Outcome(message=Message(**message), **values)
