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

from biomaj_download.errors import ExpressionTooSlow

#: Seconds for all expressions that are held against one listing, unless the settings say so. Usual
#: ones take some microseconds a name: a million names and ten patterns take half of it.
MATCH_SECONDS = 60.0

#: To `regex`, `a{e}` is an inexact match; to `re`, a brace that is no number of times is itself.
_BRACE = re.compile(
    r"(?P<kept>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})|\{", re.DOTALL
)

Expression = regex.Pattern[str]
_Entry = TypeVar("_Entry")


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
    """The seconds that all expressions held against one listing may take.

    They are those of the clock, and to `regex` those of the processor, to which busy threads
    beside this one add: the default leaves room for them.
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
        with self._running(expression) as left:
            return [entry for entry in entries if expression.match(name_of(entry), timeout=left())]

    def groups(
        self, expression: Expression, page: str, *, most: int | None = None
    ) -> list[tuple[str | None, ...]]:
        """Return the text of the matches in a page, and of each of their groups (None: not in it).

        `most`: so many are enough.

        Raises:
            ExpressionTooSlow: the seconds are over.
        """
        with self._running(expression) as left:
            rows = expression.finditer(page, timeout=left())
            return [(row[0], *row.groups()) for row in islice(rows, most)]

    @contextmanager
    def _running(self, expression: Expression) -> Iterator[Callable[[], float]]:
        """Give what says how many seconds are left, and take those off that were needed."""
        end = time.monotonic() + self._left_seconds

        def left() -> float:
            # A timeout of 0 stops at the first look at the clock, a negative one is none.
            return max(end - time.monotonic(), 0.0)

        try:
            yield left
        except TimeoutError as error:
            raise ExpressionTooSlow(
                f"{expression.pattern!r}: expected an expression that is held against a listing "
                f"within {self._seconds:g} s, got one that takes longer"
            ) from error
        finally:
            self._left_seconds = left()
