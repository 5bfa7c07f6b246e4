"""Ask a store that may be away: its answer, however long that takes, or the order to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from biomaj_download.errors import StoreError

log = logging.getLogger("biomaj.download.store")

#: Waits between tries; the last one is repeated.
WAITS_SECONDS = (0.1, 0.5, 1, 2, 5)

Answer = TypeVar("Answer")


class Stopped(Exception):
    """The process is to stop, and the store has not answered."""


def patiently(question: Callable[[], Answer], stopping: threading.Event) -> Answer:
    """Return the store's answer; ask again while it is away.

    Raises:
        Stopped: `stopping` was set, and the last question found the store away.
    """
    tries = 0
    while True:
        try:
            return question()
        except StoreError as error:
            wait_seconds = WAITS_SECONDS[min(tries, len(WAITS_SECONDS) - 1)]
            log.warning("store away wait_seconds=%.1f error=%s", wait_seconds, error)
            if stopping.wait(wait_seconds):
                raise Stopped from error
            tries += 1
