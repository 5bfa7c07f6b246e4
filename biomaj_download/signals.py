"""What SIGTERM and SIGINT mean: the first asks a service to stop, the second ends it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def obey_stop_signals(
    stop: Callable[[], object], *, before_the_end: Callable[[], object] = lambda: None
) -> None:
    """Call `stop` at the first stop signal; end the process at the second one.

    That loses nothing: what is unfinished is unacknowledged, and its parts are kept. Both are
    called from the signal handler.
    """
    is_stopping = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            before_the_end()
            # Not by the signal's default action: a container's first process is spared from it.
            os._exit(128 + number)
        is_stopping = True
        stop()

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
