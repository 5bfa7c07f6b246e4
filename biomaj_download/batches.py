"""Take what comes singly, many at a time: what a batch costs is paid once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

#: The first of a batch waits so long for others; longer where many came together before.
GATHER_SECONDS = 0.005
GATHER_MANY_SECONDS = 0.03
MANY = 5

T = TypeVar("T")


def batches(line: SimpleQueue[T | None]) -> Iterator[list[T]]:
    """Yield what stands in a line, until None does."""
    batch: list[T] = []
    while (first := line.get()) is not None:
        time.sleep(GATHER_SECONDS if len(batch) < MANY else GATHER_MANY_SECONDS)
        batch = [first]
        with suppress(Empty):
            while (one := line.get_nowait()) is not None:
                batch.append(one)
            line.put(None)  # seen again after this batch
        yield batch
