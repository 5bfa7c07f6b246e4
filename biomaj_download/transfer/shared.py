"""The one engine of this process, made on first use.

A service says how it shall be made before that (`set_up`); a notebook takes the defaults.
"""

from __future__ import annotations

import os
import threading

from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.engine import Engine

_lock = threading.Lock()
_settings = TransferSettings()
_engine: Engine | None = None


def set_up(settings: TransferSettings) -> None:
    """Make the engine by these settings; one that runs by others is closed."""
    global _settings
    with _lock:
        if settings != _settings:
            _close()
            _settings = settings


def engine() -> Engine:
    """Return the process's engine."""
    global _engine
    with _lock:
        if _engine is None:
            _engine = Engine(_settings)
        return _engine


def close() -> None:
    """End the engine; the next use makes a new one."""
    with _lock:
        _close()


def _close() -> None:
    global _engine
    if _engine is not None:
        _engine.close()
        _engine = None


def _forget() -> None:
    """Threads do not live on in a forked child: it makes an engine of its own."""
    global _engine, _lock
    _engine = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
