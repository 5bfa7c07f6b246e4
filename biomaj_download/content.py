"""Say whether the beginning of a file is that of the kind its name says.

In: a file's final name, and what reads its beginning.  Out: nothing, or `UnexpectedContent`.
Servers and portals answer with a page of HTML, and with status 200, where a file is gone, a login
is wanted or a limit is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from biomaj_download.errors import UnexpectedContent

#: So much of a file is looked at, and so much of that is shown.
BEGINNING_BYTES = 512
_SHOWN_BYTES = 40

#: Suffix -> the format's name, and how a file of it begins.
_FORMATS: dict[str, tuple[str, tuple[bytes, ...]]] = {
    ".bz2": ("bzip2", (b"BZh",)),
    ".gz": ("gzip", (b"\x1f\x8b",)),
    ".xz": ("xz", (b"\xfd7zXZ\0",)),
    # With members, without any, and cut into volumes.
    ".zip": ("zip", (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")),
    # A frame, or one that is to be skipped (RFC 8878, section 3.1).
    ".zst": ("zstd", (b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % n for n in range(0x50, 0x60)))),
}
_COMPRESS = ("compress", (b"\x1f\x9d",))
_SHORT_SUFFIXES = {
    ".tbz": ".bz2",
    ".tbz2": ".bz2",
    ".tgz": ".gz",
    ".txz": ".xz",
    ".tzst": ".zst",
}
_PAGE = re.compile(
    rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html)\b",
    re.DOTALL,
)
#: Names under which a web server may well have a page.
_PAGE_SUFFIXES = frozenset(
    (".asp", ".aspx", ".cgi", ".htm", ".html", ".jsp", ".php", ".shtml", ".xhtml")
)


def check_content(read: Callable[[int], bytes], name: str, *, is_from_web: bool) -> None:
    """Return if a file begins as its name says; most names say nothing, and all but pages pass.

    `read` gives the first bytes, so many at most; it is called where they matter. `is_from_web`:
    it came by HTTP, where pages come in the place of files.

    Raises:
        UnexpectedContent: it is of another kind.
    """
    expected = _format_of(name)
    if expected is not None:
        kind, beginnings = expected
        beginning = read(BEGINNING_BYTES)
        if not beginning.startswith(beginnings):
            raise _unexpected(name, f"a {kind} file", beginning)
    elif is_from_web and _is_no_page(name):
        beginning = read(BEGINNING_BYTES)
        if _PAGE.match(beginning):
            raise _unexpected(name, "a file", beginning)


def _format_of(name: str) -> tuple[str, tuple[bytes, ...]] | None:
    suffix = _suffix(name)
    if suffix == ".Z":  # .z is another format, or none
        return _COMPRESS
    suffix = suffix.lower()
    return _FORMATS.get(_SHORT_SUFFIXES.get(suffix, suffix))


def _is_no_page(name: str) -> bool:
    suffix = _suffix(name.partition("?")[0]).lower()
    return suffix != "" and suffix not in _PAGE_SUFFIXES


def _suffix(name: str) -> str:
    """Return the last dot and what follows it; "" where there is none, or nothing before it."""
    stem, dot, last = name.rpartition("/")[2].rpartition(".")
    return dot + last if stem and last else ""


def _unexpected(name: str, expected: str, beginning: bytes) -> UnexpectedContent:
    return UnexpectedContent(
        f"{name}: expected {expected}, got {_shown(beginning)} "
        "(taken all the same with the bank's option check_content=false)"
    )


def _shown(beginning: bytes) -> str:
    """Say what came, short and printable."""
    if not beginning:
        return "an empty one"
    what = "an HTML page" if _PAGE.match(beginning) else "one"
    return f"{what} that begins with {beginning[:_SHOWN_BYTES]!r}"
