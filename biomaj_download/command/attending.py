"""Work that a person may end: by a signal, once to end it well, twice to end it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.signals import STOP_SIGNALS

Result = TypeVar("Result")

_LOOK_SECONDS = 0.1
#: Bars hide it (ECMA-48, DECTCEM).
_SHOW_CURSOR = b"\x1b[?25h\n"


class Stop:
    """Which signal asked for the end; None: none did."""

    def __init__(self) -> None:
        self.number: int | None = None

    def is_wanted(self) -> bool:
        """Say whether a signal came."""
        return self.number is not None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Note the first stop signal; the second one ends the process at once."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.number is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os._exit(128 + number)
        stop.number = number

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attend(work: Callable[[], Result], cancellation: Cancellation, what: str) -> Result:
    """Do work that may take long, unless a signal ends it; `what` is shown on a terminal.

    Raises:
        Interrupted: a signal ended it.
        DownloadError: as the work.
    """
    console = Console(stderr=True, highlight=False)
    waiting = console.status(Text(what)) if console.is_terminal else nullcontext()
    future: Future[Result] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it comes out where the work is awaited
            future.set_exception(error)

    with stop_signals() as stop, waiting:
        threading.Thread(target=do, name="work", daemon=True).start()
        while not future.done():
            time.sleep(_LOOK_SECONDS)
            if stop.is_wanted():
                cancellation.order(Why.STOPPING)
    if stop.number is not None:
        raise Interrupted(stop.number)
    return future.result()


class Interrupted(Exception):
    """A signal ended the command; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number
