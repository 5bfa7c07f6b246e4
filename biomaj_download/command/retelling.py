"""A second attempt at a file, as a person reads it: the log's line is for programs.

In: what `retry` logs.  Out: a sentence on the standard error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import click

from biomaj_download.retry import RETRY_RECORD
from biomaj_download.settings import Settings
from biomaj_download.transfer.outcome import redact


class _Sentences(logging.Handler):
    """Says what failed and when it is tried again; other records are told as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[str], object] = partial(click.echo, err=True)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.msg == RETRY_RECORD and isinstance(record.args, tuple):
            _attempts, wait_seconds, _code, error = record.args
            text = f"{error}; again in {wait_seconds:.0f} s"
        self.tell(redact(text))


def tell_of_retries(settings: Settings) -> None:
    """Have attempts that failed told in sentences, unless the configuration says how to log."""
    root = logging.getLogger()
    if settings.log_config is None and not root.handlers:
        root.addHandler(_Sentences())


def retell(tell: Callable[[str], object]) -> None:
    """Have the sentences handed to `tell`, where another process has the screen."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Sentences):
            handler.tell = tell
