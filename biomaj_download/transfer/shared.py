"""The one engine of this process, made on first use, and its other limits.

A service says how it shall be made before that (`set_up`); a notebook takes the defaults.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from biomaj_download.cancellation import Cancellation
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.hosts import Host
from biomaj_download.transfer.places import Common, Places
from biomaj_download.transfer.turns import Turns


class _Shared:
    """The engine and how to make it; usable from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.settings = TransferSettings()
        self.engine: Engine | None = None
        self.turns = Turns()
        self.places_at: Callable[[str], Places] | None = None

    def close(self) -> None:
        """End the engine; the lock is held."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None


_shared = _Shared()
# Threads do not live on in a forked child: it makes an engine of its own.
os.register_at_fork(after_in_child=_shared.__init__)  # type: ignore[misc]


def set_up(settings: TransferSettings) -> None:
    """Make the engine by these settings; one that runs by others is closed."""
    with _shared.lock:
        if settings != _shared.settings:
            _shared.close()
            _shared.settings = settings


def join(common: Common, index: int) -> None:
    """Have the engine, which is not made yet, lend and borrow connections among processes."""
    _shared.places_at = partial(common.at, index=index)


def engine() -> Engine:
    """Return the process's engine."""
    with _shared.lock:
        if _shared.engine is None or not _shared.engine.is_alive:
            _shared.engine = Engine(_shared.settings, _shared.places_at)
        return _shared.engine


def hosts() -> list[Host]:
    """Return the hosts that the engine was asked for; none before its first use."""
    engine = _shared.engine
    return [] if engine is None else engine.hosts()


def settings() -> TransferSettings:
    """Return what the process's transfers are limited by."""
    return _shared.settings


@contextmanager
def turn(
    host: str, cancellation: Cancellation, *, max_connections: int | None = None
) -> Iterator[None]:
    """Wait for one of a host's connections, for what the engine does not move.

    `host`: scheme, name and port. `max_connections`: fewer than the settings allow.

    Raises:
        Cancelled: the job ended before its turn came.
    """
    limit = _shared.settings.connections_to(host)
    with _shared.turns.turn(host, cancellation, most=min(limit, max_connections or limit)):
        yield


def close() -> None:
    """End the engine; the next use makes a new one."""
    with _shared.lock:
        _shared.close()
