"""Options of a bank: rows that say what may be set, and the reader that obeys them.

In: what a message or a Python caller gives (`{"tcp_keepalive": "60"}`).  Out: a value per row.
A downloader class holds the rows it obeys; README and the command line are made from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomaj_download.errors import OptionError, OptionTypeError
from biomaj_download.retry import (
    DEFAULT_STOP_CONDITION,
    DEFAULT_WAIT_POLICY,
    option_named,
    parse_stop_condition,
    parse_wait_policy,
)

log = logging.getLogger("biomaj.download.options")

#: "yes" is missing on purpose: up to 3.2 it meant false, so it is refused rather than guessed.
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True)
class Option:
    """One option: its name, the parser of its value, and what holds where a bank is silent.

    `default` is written as a bank would write it; None: no value. `parse` raises `OptionError`
    with the expectation and the value; the name is put before it.
    """

    name: str
    parse: Callable[[Any], Any]
    default: str | int | bool | None
    help: str

    def read(self, value: object) -> Any:
        """Return the parsed value.

        Raises:
            OptionError: the value is wrong; the text names option, expectation and value.
        """
        with option_named(self.name):
            return self.parse(value)

    def read_default(self) -> Any:
        """Return the value for a bank that sets none."""
        return None if self.default is None else self.read(self.default)


def read_options(rows: Iterable[Option], given: Mapping[str, object]) -> dict[str, Any]:
    """Return the value of every row, given or default; options without a row are ignored.

    Raises:
        OptionError: a given value is wrong.
    """
    known = {row.name: row for row in rows}
    unknown = sorted(set(given) - set(known))
    if unknown:
        log.debug("ignored unknown_options=%s", ",".join(unknown))
    return {
        name: row.read(given[name]) if name in given else row.read_default()
        for name, row in known.items()
    }


def parse_boolean(value: object) -> bool:
    """Read true or 1, false or 0, in any case."""
    boolean = _BOOLEANS.get(str(value).strip().lower())
    if boolean is None:
        raise OptionError(f"expected true, 1, false or 0, got {value!r}")
    return boolean


def parse_count(value: object) -> int:
    """Read a whole number from 0 upwards."""
    if not isinstance(value, str | int):
        raise OptionTypeError(f"expected a whole number, got {value!r}")
    try:
        count = int(value)
    except ValueError as error:
        raise OptionError(f"expected a whole number, got {value!r}") from error
    if count < 0:
        raise OptionError(f"expected a number from 0 upwards, got {value!r}")
    return count


def parse_path(value: object) -> Path:
    """Read the path of a file on this host; `~` is the home directory."""
    if not isinstance(value, str | Path):
        raise OptionTypeError(f"expected a path, got {value!r}")
    if not str(value).strip() or "\0" in str(value):
        raise OptionError(f"expected a path, got {value!r}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise OptionError(f"expected a path, got {value!r}: {error}") from error


def one_of(*choices: str) -> Callable[[object], str]:
    """Return a parser that reads one of these words, in any case."""

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in choices:
            raise OptionError(f"expected one of {', '.join(choices)}, got {value!r}")
        return word

    return parse


RETRY_OPTIONS = (
    Option(
        "stop_condition",
        parse_stop_condition,
        default=DEFAULT_STOP_CONDITION,
        help="When to give up: stop_after_attempt(3) | stop_after_delay(60), stop_never, ...",
    ),
    Option(
        "wait_policy",
        parse_wait_policy,
        default=DEFAULT_WAIT_POLICY,
        help="How long to wait between attempts: wait_fixed(3) + wait_random(0, 2), wait_none, ...",
    ),
)
ARCHIVE_OPTIONS = (
    Option(
        "skip_check_uncompress",
        parse_boolean,
        default="false",
        help="true: do not test that compressed files and archives unpack.",
    ),
)
