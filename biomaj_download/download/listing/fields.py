"""What the rows of all listings have in common: days, sizes, and the identity of a file."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import NamedTuple
from urllib.parse import unquote

_ENGLISH_MONTHS = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_MONTHS = {name: number for number, name in enumerate(_ENGLISH_MONTHS, start=1)}
_YEAR_HAS_MONTHS = 12
#: Two-digit years from here on are of the last century (POSIX, `strptime` %y).
_FIRST_TWO_DIGIT_YEAR = 69
_FIRST_FOUR_DIGIT_YEAR = 1000

_DAY = re.compile(
    r"\b(?:(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"  # 2023-01-24
    r"|(?P<day_named>\d{1,2})[- ](?P<named>[A-Za-z]{3,9})[- ](?P<year_named>\d{4})"  # 24-Jan-2023
    r"|(?P<year_light>\d{4})-(?P<light>[A-Za-z]{3})-(?P<day_light>\d{1,2})"  # 2023-Jan-24
    r"|(?P<long>[A-Za-z]{3,9}) (?P<day_long>\d{1,2}), (?P<year_long>\d{4})"  # January 24, 2023
    r"|(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year_last>\d{4}))"  # 1/24/2023 or 24/1/2023
    r"(?:[T ,]*\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?(?P<half>[AP]M)\b)?"
    r"(?:\s?(?:Z|UTC|GMT|[-+]\d\d:?\d\d)\b)?)?"
)
_SIZE = r"(?P<number>\d[\d,]{0,22}(?:\.\d{1,6})?)\s?(?P<unit>[KMGTP]?)(?:i?B|\sbytes)?"
_LEADING_SIZE = re.compile(rf"\s*{_SIZE}(?!\S)", re.IGNORECASE)
_TRAILING_SIZE = re.compile(rf"(?:^|\s){_SIZE}\s*$", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}


class FoundDay(NamedTuple):
    """A date in a text and where it stands; `day` None: it looks like one, but is none."""

    day: date | None
    start: int
    end: int


class Size(NamedTuple):
    """A size in bytes; not `is_exact`: rounded to a unit (`2.3K`)."""

    size_bytes: int | None = None
    is_exact: bool = True


def month_number(name: str) -> int | None:
    """Return the number of a month by its English name, long or short."""
    return _MONTHS.get(name[:3].lower())


def day_or_none(year: int, month: int | None, day: int) -> date | None:
    """Return a date, or None where the numbers are none."""
    try:
        return date(year, month or 0, day)
    except ValueError:
        return None


def four_digit_year(year: int) -> int:
    """Return the year that two digits stand for."""
    if year >= _FIRST_FOUR_DIGIT_YEAR:
        return year
    return year + (1900 if year >= _FIRST_TWO_DIGIT_YEAR else 2000)


def find_day(text: str) -> FoundDay | None:
    """Return the first date in a text, in any of the forms that index pages use."""
    found = _DAY.search(text)
    return FoundDay(_day_of(found), found.start(), found.end()) if found else None


def _day_of(found: re.Match[str]) -> date | None:
    if found["year"]:
        return day_or_none(int(found["year"]), int(found["month"]), int(found["day"]))
    for name in ("named", "light", "long"):
        if found[name]:
            year, day = int(found[f"year_{name}"]), int(found[f"day_{name}"])
            return day_or_none(year, month_number(found[name]), day)
    month, day = int(found["first"]), int(found["second"])
    # IIS: a twelve-hour clock goes with month first, a full one with day first.
    if not found["half"] or month > _YEAR_HAS_MONTHS:
        month, day = day, month
    if month > _YEAR_HAS_MONTHS:
        month, day = day, month
    return day_or_none(int(found["year_last"]), month, day)


def leading_size(text: str) -> Size:
    """Return the size that a text begins with: `118`, `1,234`, `2.3K`, `12 MB`; none: `-`."""
    return _size_of(_LEADING_SIZE.match(text))


def trailing_size(text: str) -> Size:
    """Return the size that a text ends with."""
    return _size_of(_TRAILING_SIZE.search(text))


def _size_of(found: re.Match[str] | None) -> Size:
    if found is None:
        return Size()
    number, unit = found["number"].replace(",", ""), found["unit"].upper()
    if not unit and number.isdecimal():
        return Size(int(number))
    return Size(round(float(number) * _UNITS[unit]), is_exact=False)


def name_of(path: str) -> str:
    """Return a name that stands percent-encoded in a page; not all are UTF-8."""
    return unquote(path, errors="surrogateescape")


def identity_hash(name: str, size_bytes: int | None, day: date | None) -> str:
    """Return what stays the same while the file does.

    Not of the whole row: after half a year `ls` shows the year in place of the time of day.
    """
    return hash_of(f"{name}\n{size_bytes}\n{day}")


def hash_of(face: str) -> str:
    """Return a short text that is another one for another face; names may be of any bytes."""
    return hashlib.md5(face.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
