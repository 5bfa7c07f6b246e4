"""What the rows of all listings have in common: months, days, and the identity of a file."""

from __future__ import annotations

import hashlib
from datetime import date

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
#: English abbreviation in lower case -> number; servers list in English whatever their place.
MONTHS = {name: number for number, name in enumerate(_ENGLISH_MONTHS, start=1)}


def month_number(name: str) -> int | None:
    """Return the number of a month by its English name, long or short."""
    return MONTHS.get(name[:3].lower())


def day_or_none(year: int, month: int | None, day: int) -> date | None:
    """Return a date, or None where the numbers are none."""
    try:
        return date(year, month or 0, day)
    except ValueError:
        return None


def four_digit_year(year: int) -> int:
    """Return the year of a two-digit one, as POSIX does: 69 and up are of the last century."""
    if year >= 100:  # noqa: PLR2004  # four digits already
        return year
    return year + (1900 if year >= 69 else 2000)  # noqa: PLR2004


def identity_hash(name: str, size_bytes: int | None, day: date | None) -> str:
    """Return what stays the same while the file does.

    Not of the whole row: after half a year `ls` shows the year in place of the time of day.
    """
    identity = f"{name}\n{size_bytes}\n{day}"
    return hashlib.md5(
        identity.encode("utf-8", "surrogateescape"), usedforsecurity=False
    ).hexdigest()
