"""Read what `rsync --list-only` prints in the locale C: text in, a `Listing` out.

Times are those of the zone that rsync runs in, which is UTC here. A link counts as file and as
directory, for only the server knows which; its own size is left out.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone

from biomaj_download.download.listing.bounds import BOUNDS, Bounds
from biomaj_download.download.listing.fields import identity_hash
from biomaj_download.errors import ListingError
from biomaj_download.job import Listing, RemoteFile

#: `-rw-r--r--      1,234,567 2023/01/24 07:45:00 a b.gz` (rsync's generator.c, list_file_entry).
_ROW = re.compile(
    r"(?P<mode>[-bcdlps][-rwxsStT]{9})[+.]?\s+(?P<size>\d[\d,.]{0,25}) "
    r"(?P<moment>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (?P<name>.+)"
)
#: Characters that would disturb a terminal: a backslash, `#`, three octal digits (log.c, rwrite).
_ESCAPED = re.compile(rb"\\#([0-7]{3})")


def read_rsync_list(text: str, *, bounds: Bounds = BOUNDS) -> Listing:
    """Read the rows of one directory.

    Raises:
        ListingError: a line is no row, or they are out of bounds.
    """
    files: list[RemoteFile] = []
    directories: list[RemoteFile] = []
    for line in bounds.lines(text):
        row = _ROW.fullmatch(line)
        if row is None:
            raise ListingError(f"expected the rows of an rsync listing, got {line[:200]!r}")
        try:
            entry = _entry(row)
        except ValueError as error:  # a date that is none
            raise ListingError(
                f"expected a date in an rsync listing, got {line[:200]!r}"
            ) from error
        kind = row["mode"][0]
        if entry.name not in (".", "..") and "/" not in entry.name:
            if kind in "-l":
                files.append(entry)
            if kind in "dl":
                directories.append(entry)
    return Listing(files=tuple(files), directories=tuple(directories))


def _entry(row: re.Match[str]) -> RemoteFile:
    name = os.fsdecode(_ESCAPED.sub(_unescaped, os.fsencode(row["name"])))
    is_file = row["mode"][0] == "-"
    size_bytes = int(re.sub("[,.]", "", row["size"])) if is_file else None
    moment = datetime.strptime(row["moment"], "%Y/%m/%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return RemoteFile(
        name=name,
        size_bytes=size_bytes,
        day=moment.date(),
        modified_at=moment,
        hash=identity_hash(name, size_bytes, moment.date()),
        permissions=row["mode"],
    )


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8) & 0xFF])
