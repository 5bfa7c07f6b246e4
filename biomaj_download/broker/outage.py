"""How a consumer bears a broker that is away: wait longer and longer, and say so once."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from biomaj_download.broker.base import TURN_SECONDS

log = logging.getLogger("biomaj.download.broker")

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


class Outage:
    """The failures since the broker last worked.

    Each kind of error is logged once an outage: a broker that starts again first refuses the
    connection, then perhaps the account, and an operator wants to read both, but not every second.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._began: float | None = None
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._logged: set[type[Exception]] = set()

    def failed(self, error: Exception, reason: str) -> float:
        """Take note of a failure and return how many seconds to wait before the next try."""
        if self._began is None:
            self._began = time.monotonic()
        if type(error) not in self._logged:
            self._logged.add(type(error))
            log.error(
                "broker lost server=%s, trying again until it is back: %s", self._server, reason
            )
        wait_seconds = self._wait_seconds
        self._wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)
        return wait_seconds * random.uniform(0.5, 1)  # nosec B311 # noqa: S311 - no secret

    def over(self) -> None:
        """Take note that the broker works."""
        if self._began is not None:
            seconds = time.monotonic() - self._began
            log.warning("broker back server=%s seconds=%.1f", self._server, seconds)
        self._began = None
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._logged.clear()


def wait_out(seconds: float, ended: threading.Event, on_turn: Callable[[], object]) -> None:
    """Wait before the next try, but not longer than until `ended`; call `on_turn` meanwhile."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not ended.wait(min(left, TURN_SECONDS)):
        on_turn()
