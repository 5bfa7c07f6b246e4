"""Read what an FTP server answers to LIST or MLSD: text in, a `Listing` out.

LIST has no standard: the forms of Unix `ls` and of MS-DOS are read, lines of other forms (`total
12`, a greeting) are skipped. Its times have no zone and are taken as UTC; its size of a link is
the length of a path, so it is left out. MLSD is RFC 3659, section 7.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from enum import Enum, auto
from typing import NamedTuple

from biomaj_download.download.listing.bounds import BOUNDS, Bounds
from biomaj_download.download.listing.fields import (
    day_or_none,
    four_digit_year,
    identity_hash,
    month_number,
)
from biomaj_download.errors import ListingError
from biomaj_download.job import Listing, RemoteFile

#: A server's clock may be in a zone ahead of UTC, so a file may seem to be of tomorrow.
_CLOCK_TOLERANCE = timedelta(days=1)
#: How far back a date without a year may lie: to the last February 29 across a century year.
_YEARS_BACK = 8

_UNIX = re.compile(
    r"(?P<mode>[-bcdlpsDn][-rwxsStTlL]{9})[+.@]?(?P<owners>\s.*?)??\s(?P<size>\d{1,18})\s+"
    r"(?:(?P<month>[^\W\d_]{3,9})\.?\s+(?P<day>\d{1,2})"
    r"|(?P<day_first>\d{1,2})\.?\s+(?P<month_second>[^\W\d_]{3,9})\.?)\s+"
    r"(?:(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?|(?P<year>\d{4}))\s(?P<name>.+)"
)
_UNIX_ISO = re.compile(
    r"(?P<mode>[-bcdlpsDn][-rwxsStTlL]{9})[+.@]?(?P<owners>\s.*?)??\s(?P<size>\d{1,18})\s+"
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:\s+(?P<hour>\d\d):(?P<minute>\d\d)\S*(?:\s+[-+]\d{4})?)?\s(?P<name>.+)"
)
_DOS = re.compile(
    r"\s*(?P<first>\d{1,4})[-/.](?P<second>\d{1,2})[-/.](?P<third>\d{2,4})\s+"
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?(?:\s*(?P<half>[AaPp][Mm]))?\s+"
    r"(?:<(?P<mark>[A-Z]+)>\s+|(?P<size>\d[\d,.]{0,22})\s)(?P<name>.+)"
)
_MLSD_BEGINNING = re.compile(r"\s*[\w.-]+=[^;\r\n]*;\S* ")
#: Facts end with `;`, the last one of some servers does not; the place of a link may have blanks.
#: Each fact fits in one way alone: else a row of many would take forever to be refused.
_MLSD_ROW = re.compile(
    r"\s*(?P<facts>(?:[\w.-]+=(?:os\.unix=s(?:ym)?link:[^;]*"
    r"|(?!os\.unix=s(?:ym)?link:)[^;\s]*);)*(?:[\w.-]+=[^;\s]*)?)"
    r" (?P<path>.*)",
    re.DOTALL | re.IGNORECASE,
)
_TOTAL = re.compile(r"total\s+\d+", re.IGNORECASE)

_MONTHS_A_YEAR = 12


class _Kind(Enum):
    """What a row is; a link counts as file and as directory, for only the server knows which."""

    FILE = auto()
    DIRECTORY = auto()
    LINK = auto()
    NEITHER = auto()


_UNIX_KINDS = {"-": _Kind.FILE, "d": _Kind.DIRECTORY, "l": _Kind.LINK}
_DOS_MARKS = {"DIR": _Kind.DIRECTORY, "JUNCTION": _Kind.LINK}
_NOTHING = (_Kind.NEITHER, RemoteFile(name=""))

_Row = tuple[_Kind, RemoteFile]


class _Stamp(NamedTuple):
    """When a file changed: the day as listed, and the instant in UTC where there is a time."""

    day: date | None
    moment: datetime | None = None


class _Owner(NamedTuple):
    """What a row says about rights."""

    permissions: str = ""
    user: str = ""
    group: str = ""


_NO_OWNER = _Owner()


def read_directory(text: str, *, bounds: Bounds = BOUNDS) -> Listing:
    """Read what a server answered, LIST or MLSD: the first row shows which.

    Raises:
        ListingError: there is text, but no row that can be read; or it is out of bounds.
    """
    return (read_mlsd if _MLSD_BEGINNING.match(text) else read_list)(text, bounds=bounds)


def read_list(text: str, *, now: datetime | None = None, bounds: Bounds = BOUNDS) -> Listing:
    """Read a LIST answer; `now` None: the clock, by which a row without a year gets one.

    Raises:
        ListingError: there is text, but no row that can be read; or it is out of bounds.
    """
    moment = now or datetime.now(timezone.utc)
    return _read(text, lambda line: _list_row(line, moment), bounds)


def read_mlsd(text: str, *, bounds: Bounds = BOUNDS) -> Listing:
    """Read an MLSD answer.

    Raises:
        ListingError: there is text, but no row that can be read; or it is out of bounds.
    """
    return _read(text, _mlsd_row, bounds)


def _read(text: str, read_row: Callable[[str], _Row | None], bounds: Bounds) -> Listing:
    lines = bounds.lines(text)
    rows = [row for row in map(read_row, lines) if row is not None]
    if lines and not rows:
        raise ListingError(f"expected the rows of an FTP listing, got {lines[0][:200]!r}")
    named = [(kind, file) for kind, file in rows if file.name not in ("", ".", "..")]
    return Listing(
        files=tuple(file for kind, file in named if kind in (_Kind.FILE, _Kind.LINK)),
        directories=tuple(file for kind, file in named if kind in (_Kind.DIRECTORY, _Kind.LINK)),
    )


def _list_row(line: str, now: datetime) -> _Row | None:
    unix = _UNIX.match(line)
    if unix:
        return _unix_row(unix, _unix_stamp(unix, now))
    unix = _UNIX_ISO.match(line)
    if unix:
        return _unix_row(unix, _iso_stamp(unix))
    dos = _DOS.match(line)
    if dos:
        return _dos_row(dos)
    return _NOTHING if _TOTAL.match(line) else None


def _unix_row(row: re.Match[str], stamp: _Stamp) -> _Row:
    kind = _UNIX_KINDS.get(row["mode"][0], _Kind.NEITHER)
    name = row["name"]
    if kind is _Kind.LINK:
        name = name.partition(" -> ")[0]
    size_bytes = int(row["size"]) if kind is _Kind.FILE else None
    return kind, _file(name, size_bytes, stamp, _owner(row["mode"], row["owners"] or ""))


def _owner(mode: str, owners: str) -> _Owner:
    """Read mode, user and group out of `  1 ftp anonymous`; some servers leave out some of it."""
    words = owners.split()
    if len(words) > 1 and words[0].isdigit():
        words = words[1:]
    return _Owner(mode, "".join(words[:1]), " ".join(words[1:]))


def _unix_stamp(row: re.Match[str], now: datetime) -> _Stamp:
    month = month_number(row["month"] or row["month_second"])
    day = int(row["day"] or row["day_first"])
    if row["year"]:
        return _Stamp(day_or_none(int(row["year"]), month, day))
    return _stamp(_latest((month, day, int(row["hour"]), int(row["minute"])), now))


def _stamp(moment: datetime | None) -> _Stamp:
    return _Stamp(moment.date() if moment else None, moment)


def _latest(clock: tuple[int | None, int, int, int], now: datetime) -> datetime | None:
    """Return the last such month, day, hour and minute up to now; None: there is no such date."""
    month, *rest = clock
    if month is None:
        return None
    for year in range(now.year + 1, now.year - _YEARS_BACK - 1, -1):
        moment = _moment(year, month, *rest)
        if moment and moment <= now + _CLOCK_TOLERANCE:
            return moment
    return None


def _moment(*numbers: int) -> datetime | None:
    """Return the instant of year, month, day, hour, minute and perhaps second."""
    try:
        return datetime(*numbers, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]  # types do not count
    except ValueError:
        return None


def _iso_stamp(row: re.Match[str]) -> _Stamp:
    day = (int(row["year"]), int(row["month"]), int(row["day"]))
    if row["hour"]:
        return _stamp(_moment(*day, int(row["hour"]), int(row["minute"])))
    return _Stamp(day_or_none(*day))


def _dos_row(row: re.Match[str]) -> _Row:
    kind = _DOS_MARKS.get(row["mark"], _Kind.LINK) if row["mark"] else _Kind.FILE
    name = row["name"]
    if kind is _Kind.LINK:
        name = name.partition(" [")[0]
    size_bytes = int(re.sub("[,.]", "", row["size"])) if row["size"] else None
    day = _dos_day(row["first"], row["second"], row["third"])
    hour = int(row["hour"])
    if row["half"]:
        hour = hour % 12 + (12 if row["half"].lower() == "pm" else 0)
    return kind, _file(name, size_bytes, _stamp(_moment(*day, hour, int(row["minute"]))))


def _dos_day(first: str, second: str, third: str) -> tuple[int, int, int]:
    """Return year, month, day of `2023-03-14`, `03-14-23` or, where it must be, `14-03-23`."""
    if len(first) == len("2023"):
        return int(first), int(second), int(third)
    year = four_digit_year(int(third))
    month, day = int(first), int(second)
    return (year, month, day) if month <= _MONTHS_A_YEAR else (year, day, month)


def _mlsd_row(line: str) -> _Row | None:
    row = _MLSD_ROW.fullmatch(line)
    if row is None or "=" not in row["facts"]:
        return None
    facts_text, path = row["facts"], row["path"]
    facts = {
        name.lower(): value
        for name, _, value in (fact.partition("=") for fact in facts_text.split(";"))
    }
    kind = _mlsd_kind(facts.get("type", "file").lower())
    size = facts.get("size", "")[:18]
    size_bytes = int(size) if kind is _Kind.FILE and size.isdecimal() else None
    owner = _Owner(
        _mode_text(kind, facts.get("unix.mode", "")),
        facts.get("unix.ownername", facts.get("unix.owner", "")),
        facts.get("unix.groupname", facts.get("unix.group", "")),
    )
    return kind, _file(path, size_bytes, _stamp(_mlsd_moment(facts.get("modify", ""))), owner)


def _mlsd_kind(fact: str) -> _Kind:
    if fact.startswith(("os.unix=slink", "os.unix=symlink")):
        return _Kind.LINK
    return {"file": _Kind.FILE, "dir": _Kind.DIRECTORY}.get(fact, _Kind.NEITHER)


def _mlsd_moment(fact: str) -> datetime | None:
    """Return the instant of a `modify` fact: `YYYYMMDDHHMMSS`, perhaps with a fraction, in UTC."""
    if not fact[:14].isdecimal():
        return None
    year, rest = int(fact[:4]), (int(fact[at : at + 2] or 0) for at in range(4, 14, 2))
    return _moment(year, *rest)


def _mode_text(kind: _Kind, octal: str) -> str:
    """Return the mode as `ls` writes it."""
    if not octal or not set(octal) <= set("01234567"):
        return ""
    kinds = {_Kind.DIRECTORY: stat.S_IFDIR, _Kind.LINK: stat.S_IFLNK}
    return stat.filemode(kinds.get(kind, stat.S_IFREG) | int(octal, 8) & 0o7777)


def _file(
    path: str, size_bytes: int | None, stamp: _Stamp, owner: _Owner = _NO_OWNER
) -> RemoteFile:
    """Build a row's value; a path is cut to its base name, so that no name leaves the directory."""
    name = path.rstrip("/").rpartition("/")[2].replace("\0", "")
    return RemoteFile(
        name=name,
        size_bytes=size_bytes,
        day=stamp.day,
        modified_at=stamp.moment,
        hash=identity_hash(name, size_bytes, stamp.day),
        permissions=owner.permissions,
        user=owner.user,
        group=owner.group,
    )
