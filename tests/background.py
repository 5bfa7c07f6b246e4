"""Run what a test waits for in a thread that a failed test may leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def start(function: Callable[[], Answer]) -> Future[Answer]:
    """Call a function in a thread of its own."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - handed on to whom it concerns
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
