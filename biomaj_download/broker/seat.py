"""Which consumers of a queue file live: each one sits on a numbered seat, held by a file lock.

The system lets go of the lock when the process ends, however it ends, so a free seat with messages
on it means a dead consumer. Seats are taken lowest number first, and their files stay.
"""

from __future__ import annotations

import fcntl
from itertools import count
from pathlib import Path
from typing import IO


class Seat:
    """A consumer's number, its own for as long as it lives and does not leave."""

    def __init__(self, queue_path: Path, number: int, file: IO[bytes]) -> None:
        self.queue_path = queue_path
        self.number = number
        self._file = file

    def close(self) -> None:
        """Let another consumer sit here."""
        self._file.close()


def take_seat(queue_path: Path) -> Seat:
    """Take the first free seat of a queue.

    Raises:
        OSError: the lock file cannot be made.
    """
    tries = (take_seat_if_free(queue_path, number) for number in count())
    return next(seat for seat in tries if seat is not None)


def take_seat_if_free(queue_path: Path, number: int) -> Seat | None:
    """Take one seat of a queue; None: its consumer lives."""
    file = queue_path.with_name(f"{queue_path.name}.consumer-{number}").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return Seat(queue_path, number, file)
