"""Count what a message holds before it is read: two bytes of it may become a hundred in memory.

In: the bytes of an Operation.  Out: how many records it has where the schema repeats them, and the
names of its bank and session.  Source of the form: Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

#: No record is shorter: a tag, and a value or its length.
RECORD_BYTES = 2

#: Numbers of fields, from the outside in: Operation.download, DownloadFile.remote_file.
_Path = tuple[int, ...]
_DOWNLOAD, _REMOTE_FILE = (2,), (2, 5)
_BANK, _SESSION = (2, 1), (2, 2)
#: Kinds of values that have a length of their own, or one that is told before them.
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT, _TOLD = 0, 2
_MORE = 0x80
_LONGEST_VARINT_BYTES = 10


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a message holds, up to where it is none."""

    records: int
    bank: str
    session: str


def survey(body: bytes, *, most_records: int) -> Survey:
    """Look over a message; `most_records`: so many are enough."""
    number, names = 0, {_BANK: "", _SESSION: ""}
    for path, start, end in islice(_records(body, 0, len(body)), most_records):
        number += 1
        if path in names:
            names[path] = body[start:end].decode(errors="replace")
    return Survey(records=number, bank=names[_BANK], session=names[_SESSION])


def _records(body: bytes, at: int, end: int, above: _Path = ()) -> Iterator[tuple[_Path, int, int]]:
    """Yield the fields of each record and where its value stands; it ends where there is none."""
    while at < end:
        tag, at = _varint(body, at)
        path = (*above, tag >> 3)
        kind = tag & 7
        if kind == _TOLD:
            length, at = _varint(body, at)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        elif kind == _VARINT:
            length = _varint(body, at)[1] - at
        else:  # groups, which no message of BioMAJ has
            return
        if (length <= 0 and kind != _TOLD) or at + length > end:
            return
        yield path, at, at + length
        if kind == _TOLD and path in (_DOWNLOAD, _REMOTE_FILE):
            yield from _records(body, at, at + length, path)
        at += length


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends; 0, where it does not."""
    number = 0
    for place, byte in enumerate(body[at : at + _LONGEST_VARINT_BYTES]):
        number |= (byte & ~_MORE) << (7 * place)
        if byte < _MORE:
            return number, at + place + 1
    return 0, len(body)
