"""Write many files through to the disk at once.

In: open files.  Out: for each, nothing or what the disk said.
A thread that syncs one file after the other waits for the disk, and then for Python's lock, as
often as there are files. The kernel's asynchronous fsync (io_submit(2), IOCB_CMD_FSYNC) takes them
all in one call, and the disk syncs them side by side.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caio.linux_aio import Context

log = logging.getLogger("biomaj.download.flush")

#: Files that the kernel is given at once.
MOST_AT_ONCE = 64
#: What caio raises where the kernel refuses: a kind for each reason.
_REFUSALS = (ImportError, OSError, OverflowError, RuntimeError, SystemError, ValueError)
#: What it raises where nothing has ended, or a signal came.
_NOTHING_YET = (BlockingIOError, SystemError)
#: It tells results as unsigned numbers, and errors as negative ones of 64 bits.
_UNSIGNED = 2**64
#: Who waits looks so often, whatever the kernel has told.
_LOOK_MILLISECONDS = 1000


class Flusher:
    """Writes files through; used by one thread at a time, of the process that made it."""

    def __init__(self) -> None:
        self._ended = select.poll()
        self._context = self._opened()

    def _opened(self) -> Context | None:
        """Open what the kernel tells results by; None: this host does not let us (seccomp)."""
        try:
            from caio.linux_aio import Context  # noqa: PLC0415 - it asks the kernel

            context = Context(max_requests=MOST_AT_ONCE)
        except _REFUSALS as error:
            log.debug("files are synced one by one error=%s", error)
            return None
        self._ended.register(context.fileno, select.POLLIN)
        return context

    def flush(self, descriptors: Sequence[int]) -> list[OSError | None]:
        """Have the bytes of open files outlive a power cut (fsync(2)).

        Each is synced once: after an error, a second time may well say that all is there.
        """
        results: list[OSError | None] = []
        for first in range(0, len(descriptors), MOST_AT_ONCE):
            results += self._flush(descriptors[first : first + MOST_AT_ONCE])
        return results

    def _flush(self, descriptors: Sequence[int]) -> list[OSError | None]:
        numbers = self._numbers_of(descriptors) if len(descriptors) > 1 else {}
        return [
            _synced(descriptor) if place not in numbers else _error(numbers[place])
            for place, descriptor in enumerate(descriptors)
        ]

    def _numbers_of(self, descriptors: Sequence[int]) -> dict[int, int]:
        """Return the kernel's result for each place; none for what it does not take."""
        if self._context is None:
            return {}
        from caio.linux_aio import Operation  # noqa: PLC0415 - as above

        results: dict[int, int] = {}
        operations = [Operation.fsync(descriptor) for descriptor in descriptors]
        for place, operation in enumerate(operations):
            operation.set_callback(partial(results.__setitem__, place))
        try:
            taken = self._context.submit(*operations)
        except _REFUSALS as error:  # of its first one: then it took none
            log.debug("files are synced one by one error=%s", error)
            return {}
        while len(results) < taken:
            self._ended.poll(_LOOK_MILLISECONDS)
            with suppress(*_NOTHING_YET):
                self._context.poll()
            with suppress(*_NOTHING_YET):
                self._context.process_events()
        return results


def _error(result: int) -> OSError | None:
    """Return what a result means: nothing, or the negative of an error number."""
    if not result:
        return None
    number = -result % _UNSIGNED
    return OSError(number, os.strerror(number))


def _synced(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None
