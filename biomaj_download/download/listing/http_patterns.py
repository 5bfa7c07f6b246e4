"""Read an index page by a site's own `http.parse` expressions: text in, a `Listing` out.

Every place in the page where an expression matches is a row; its groups are name, day and size.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from html import unescape

from biomaj_download.download.expressions import MatchTime, compile_expression
from biomaj_download.download.listing.bounds import BOUNDS, Bounds
from biomaj_download.download.listing.fields import (
    Size,
    find_day,
    identity_hash,
    leading_size,
    name_of,
)
from biomaj_download.errors import OptionError
from biomaj_download.job import HttpPatterns, Listing, RemoteFile


def read_with_patterns(page: str, patterns: HttpPatterns, *, bounds: Bounds = BOUNDS) -> Listing:
    """Read the page; a group number below 1 says that the page does not tell.

    Raises:
        ExpressionTooSlow, ListingError: the page is out of bounds.
        OptionError: no expression, no such group, or a date that is not of the given format.
    """
    reader = _Reader(page, bounds)
    return Listing(
        files=tuple(_files(reader, patterns)), directories=tuple(_directories(reader, patterns))
    )


class _Reader:
    """Finds rows in one page, within its bounds."""

    def __init__(self, page: str, bounds: Bounds) -> None:
        self._page = page
        self._bounds = bounds
        self._time = MatchTime(bounds.match_seconds)

    def rows(self, option: str, line: str, groups: dict[str, int]) -> Iterator[tuple[str, ...]]:
        """Yield the groups of each match, `""` for what is not in the page or not in the row."""
        try:
            expression = compile_expression(line)
        except ValueError as error:
            raise OptionError(
                f"{option}: expected a regular expression, got {line!r}: {error}"
            ) from error
        for name, number in groups.items():
            if number > expression.groups:
                raise OptionError(
                    f"{name}: expected one of the {expression.groups} groups of {line!r}, "
                    f"got {number}"
                )
        rows = self._time.groups(expression, self._page, most=self._bounds.most_entries + 1)
        self._bounds.check_entries(len(rows))
        for row in rows:
            yield tuple((row[number] or "") if number > 0 else "" for number in groups.values())


def _files(reader: _Reader, patterns: HttpPatterns) -> Iterator[RemoteFile]:
    groups = {
        "http.parse.file.name": patterns.file_name,
        "http.parse.file.date": patterns.file_date,
        "http.parse.file.size": patterns.file_size,
    }
    for name, day_text, size_text in reader.rows(
        "http.parse.file.line", patterns.file_line, groups
    ):
        if not name.endswith("/"):
            day = _day(day_text, patterns.file_date_format)
            yield from _entry(name, leading_size(size_text), day)


def _directories(reader: _Reader, patterns: HttpPatterns) -> Iterator[RemoteFile]:
    groups = {
        "http.parse.dir.name": patterns.dir_name,
        "http.parse.dir.date": patterns.dir_date,
    }
    for name, day_text in reader.rows("http.parse.dir.line", patterns.dir_line, groups):
        found = find_day(day_text)
        yield from _entry(name.rstrip("/"), Size(), found.day if found else None)


def _entry(captured: str, size: Size, day: date | None) -> Iterator[RemoteFile]:
    """Yield the entry, unless its name is none; a captured path is cut to its base name."""
    name = name_of(unescape(captured).strip()).rpartition("/")[2]
    if name not in ("", ".", "..") and "\0" not in name:
        yield RemoteFile(
            name=name,
            size_bytes=size.size_bytes,
            size_is_exact=size.is_exact,
            day=day,
            hash=identity_hash(name, size.size_bytes, day),
        )


def _day(text: str, date_format: str | None) -> date | None:
    """Read a date; formats come from a file where `%` is doubled."""
    if not text:
        return None
    if not date_format:
        found = find_day(text)
        return found.day if found else None
    plain_format = date_format.replace("%%", "%")
    try:
        return datetime.strptime(text.strip(), plain_format).date()
    except ValueError as error:
        raise OptionError(
            f"http.parse.file.date.format: expected dates such as {text!r}, got {plain_format!r}"
        ) from error
