"""A bank's regular expressions: text in, matches within a time out.

The patterns come with messages and the text they are held against from servers: `(a|aa)+$` is
enough to keep Python's own `re` busy for years, and all other threads with it, for it keeps the
interpreter's lock. The library `regex` reads the same expressions, gives the lock up while it
works, and stops when its time is over. What `re` does not read is no expression here either.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import regex

from biomaj_download.cores import any_core
from biomaj_download.errors import ExpressionTooSlow

#: Seconds for all expressions that are held against one listing, unless the settings say so. Usual
#: ones take some microseconds a name: a million names and ten patterns take half of it.
MATCH_SECONDS = 60.0
#: However busy a machine is: so many times its seconds by the clock, and an expression is given up.
MOST_TIMES = 10

#: To `regex`, `a{e}` is an inexact match; to `re`, a brace that is no number of times is itself.
_BRACE = re.compile(
    r"(?P<kept>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})|\{", re.DOTALL
)

Expression = regex.Pattern[str]
_Entry = TypeVar("_Entry")
_Answer = TypeVar("_Answer")


def compile_expression(text: str) -> Expression:
    """Return the expression.

    Raises:
        ValueError: it is none of Python's.
    """
    try:
        re.compile(text)
        return regex.compile(_BRACE.sub(lambda found: found["kept"] or r"\{", text), regex.VERSION0)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


class MatchTime:
    """The seconds of the processor that all expressions held against one listing may take.

    They are those of the thread that asks, for which one object is made: others may be busy beside
    it. To `regex`, they are those of the whole process (C's `clock()`): what it gives up too early
    is tried again with more of them, up to `MOST_TIMES` as long by the clock.
    """

    def __init__(self, seconds: float = MATCH_SECONDS) -> None:
        self._seconds = self._left_seconds = seconds

    def taken(
        self, expression: Expression, entries: Iterable[_Entry], name_of: Callable[[_Entry], str]
    ) -> list[_Entry]:
        """Return the entries whose names the expression takes, from their start.

        Raises:
            ExpressionTooSlow: the seconds are over.
        """
        with self._running(expression) as run:
            return [entry for entry in entries if run.ask(expression.match, name_of(entry))]

    def groups(
        self, expression: Expression, page: str, *, most: int | None = None
    ) -> list[tuple[str | None, ...]]:
        """Return the text of the matches in a page, and of each of their groups (None: not in it).

        `most`: so many are enough.

        Raises:
            ExpressionTooSlow: the seconds are over.
        """

        def rows(page: str, *, timeout: float) -> list[tuple[str | None, ...]]:
            found = expression.finditer(page, timeout=timeout)
            return [(row[0], *row.groups()) for row in islice(found, most)]

        with self._running(expression) as run:
            return run.ask(rows, page)

    @contextmanager
    def _running(self, expression: Expression) -> Iterator[_Run]:
        """Give what asks an expression, and take the seconds off that it needed."""
        run = _Run(self._left_seconds)
        try:
            with any_core():  # `regex` gives the interpreter's lock up
                yield run
        except TimeoutError as error:
            raise ExpressionTooSlow(
                f"{expression.pattern!r}: expected an expression that is held against a listing "
                f"within {self._seconds:g} s, got one that takes longer"
            ) from error
        finally:
            self._left_seconds = run.left_seconds()


class _Run:
    """One expression at work on a listing, for so many seconds of its thread."""

    def __init__(self, seconds: float) -> None:
        self._end_seconds = time.thread_time() + seconds
        # A thread's time never passes faster than the clock's, which costs less to look at.
        self._look_at = time.monotonic() + seconds
        self._latest = time.monotonic() + MOST_TIMES * seconds

    def left_seconds(self) -> float:
        """Return how long the thread may still work: more on a busy machine than by the clock."""
        return max(self._end_seconds - time.thread_time(), 0.0)

    def ask(self, question: Callable[..., _Answer], text: str) -> _Answer:
        """Return what the expression says of a text.

        Raises:
            TimeoutError: the seconds are over.
        """
        # A timeout of 0 stops at the first look at the clock, a negative one is none.
        timeout_seconds = self._look_at - time.monotonic()
        if timeout_seconds <= 0:
            timeout_seconds = self.left_seconds()
            self._look_at = time.monotonic() + timeout_seconds
        while True:
            began_seconds = time.thread_time()
            try:
                return question(text, timeout=timeout_seconds)
            except TimeoutError:
                left_seconds = self._latest - time.monotonic()
                if not self.left_seconds() or left_seconds <= 0:
                    raise
            # It came to nothing by no fault of its own: it begins anew, with all that it had.
            self._end_seconds += time.thread_time() - began_seconds
            timeout_seconds = min(max(2 * timeout_seconds, self.left_seconds()), left_seconds)
