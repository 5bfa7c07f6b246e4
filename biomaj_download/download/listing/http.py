"""Read the index page of an HTTP directory: text in, a `Listing` out.

A site's own `http.parse` expressions rule where there are any. Otherwise the page is read by its
links, as all servers have those: a link to a direct child is an entry, the text beside it in the
row says day and size. That text is in the server's zone and its sizes are often rounded.

The page is scanned with regular expressions, not parsed to a tree: index pages are made by
programs, rows of a `<pre>` have no element of their own, and 100,000 of them take a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from itertools import islice
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from biomaj_download.download.listing.bounds import BOUNDS, Bounds
from biomaj_download.download.listing.fields import (
    FoundDay,
    Size,
    find_day,
    identity_hash,
    leading_size,
    name_of,
    trailing_size,
)
from biomaj_download.download.listing.http_patterns import read_with_patterns
from biomaj_download.errors import ListingError
from biomaj_download.job import HttpPatterns, Listing, RemoteFile

#: The expressions of a message whose bank sets none (defaults of HttpParse in the wire schema).
DEFAULT_DIR_LINE = (
    r'<img[\s]+src="[\S]+"[\s]+alt="\[DIR\]"[\s]*/?>[\s]*<a[\s]+href="([\S]+)/"[\s]*>'
    r".*([\d]{2}-[\w\d]{2,5}-[\d]{4}\s[\d]{2}:[\d]{2})"
)
DEFAULT_FILE_LINE = (
    r'<img[\s]+src="[\S]+"[\s]+alt="\[[\s]+\]"[\s]*/?>[\s]<a[\s]+href="([\S]+)"'
    r".*([\d]{2}-[\w\d]{2,5}-[\d]{4}\s[\d]{2}:[\d]{2})[\s]+([\d\.]+[MKG]{0,1})"
)

_HIDDEN = re.compile(r"(?is)<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)")
_ANCHOR = re.compile(r"(?i)<a\s([^<>]*)>")
_ANCHOR_END = re.compile(r"(?i)</a\s*>")
_HREF = re.compile(r"""(?i)(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""")
_TAG = re.compile(r"<[^<>]*>")
_CELL = re.compile(r"(?i)</?td\b")
_ROW_BEGIN = re.compile(r"(?i)\n|<br\s*/?>|<hr\b[^<>]*>|<pre\b[^<>]*>|<tr\b[^<>]*>")
_ROW_END = re.compile(r"(?i)</?tr\b")
_LINE_END = re.compile(r"(?i)\n|<br\b|<hr\b|</li\b|</pre\b")
_EXACT_SIZE = re.compile(r'(?i)\bdata-value="(\d{1,18})"')  # lighttpd
_DIRECTORY_MARK = re.compile(r'(?i)alt="\[DIR\]"|&lt;dir&gt;')
_WEB_ADDRESS = re.compile(r"(?i)https?://|/")
_OTHER_ADDRESS = re.compile(r"(?i)(?:mailto|javascript|data|tel|ftps?|news|irc|file):")
_DEFAULT_PORTS = (80, 443)
_PAGE_BEGIN = re.compile(r"(?i)\ufeff?\s*<(?:!doctype|html)\b")
_PAGE_END = re.compile(r"(?i)</html\s*>")
#: Programs that write an index add no more than a remark behind its end.
_END_LENGTH = 1024
_SHOWN_LENGTH = 40
#: A row may link its icon, too; the page its columns, its way up, its site.
_LINKS_A_ROW, _OTHER_LINKS = 2, 1000
#: What an index shows even of an empty directory.
_INDEX_SIGN = re.compile(
    r"(?i)<(?:title|h1)\b[^<>]*>\s*(?:index of|directory listing)"
    r"|>\s*(?:\[to )?parent directory"
    r"""|href\s*=\s*["']?\.\./?["'\s>]|href\s*=\s*["']?\?C=[NMSD]"""
)


@dataclass(frozen=True)
class _Child:
    """A direct child of the directory that a link names."""

    name: str
    is_directory: bool


def check_whole(page: str, *, url: str) -> None:
    """Return if a page ends, where the server marked no end of its answer.

    Raises:
        ListingError: it was cut.
    """
    if _PAGE_BEGIN.match(page) and not _PAGE_END.search(page, max(len(page) - _END_LENGTH, 0)):
        raise ListingError(
            f"{url}: expected a whole page, got one without an end: {page[-_SHOWN_LENGTH:]!r}"
        )


def read_index(
    page: str, *, url: str, patterns: HttpPatterns | None = None, bounds: Bounds = BOUNDS
) -> Listing:
    """Read an index page; `url` is the address of the directory, after redirections.

    A page that a site's own expressions find nothing in is an empty listing.

    Raises:
        ListingError: there is no entry, and nothing shows that the page is an index; or it is out
            of bounds.
        OptionError: an expression of the site is wrong.
    """
    if patterns is not None and not _are_defaults(patterns):
        return read_with_patterns(page, patterns, bounds=bounds)
    is_json = page.lstrip()[:1] == "["
    entries = list((_read_json if is_json else _read_html)(page, url, bounds))
    return Listing(
        files=tuple(entry for child, entry in entries if not child.is_directory),
        directories=tuple(entry for child, entry in entries if child.is_directory),
    )


def _are_defaults(patterns: HttpPatterns) -> bool:
    return (patterns.dir_line, patterns.file_line) == (DEFAULT_DIR_LINE, DEFAULT_FILE_LINE)


def _read_html(page: str, url: str, bounds: Bounds) -> Iterable[tuple[_Child, RemoteFile]]:
    visible = _HIDDEN.sub("", page)
    entries: dict[str, tuple[_Child, RemoteFile]] = {}
    for child, before, after in _rows(visible, _directory_of(url), bounds):
        entry = _entry(child, before, after)
        known = entries.get(child.name)
        # A row may link its icon, too: the link with the text beside it counts.
        if known is None or (known[1].day is None and entry[1].day is not None):
            entries[child.name] = entry
    if not entries and not _INDEX_SIGN.search(visible):
        raise ListingError(f"{url}: expected the index of a directory, got {page[:200]!r}")
    return entries.values()


def _rows(page: str, directory: SplitResult, bounds: Bounds) -> Iterator[tuple[_Child, str, str]]:
    """Yield each link to a child, with the HTML before and after it up to its neighbours."""
    most_links = bounds.most_entries * _LINKS_A_ROW + _OTHER_LINKS
    anchors = list(islice(_ANCHOR.finditer(page), most_links + 1))
    if len(anchors) > most_links:
        bounds.check_entries(len(anchors))
    starts = [anchor.start() for anchor in anchors] + [len(page)]
    before = page[: starts[0]]
    for anchor, next_start in zip(anchors, starts[1:], strict=True):
        end = _ANCHOR_END.search(page, anchor.end(), next_start)
        after = page[end.end() if end else anchor.end() : next_start]
        child = _child(_href(anchor[1]), directory)
        if child is not None:
            yield child, before, after
        before = after


def _entry(child: _Child, before: str, after: str) -> tuple[_Child, RemoteFile]:
    """Read day and size beside a link: after it, or, as IIS writes them, before it."""
    beginning = _ROW_BEGIN.split(before)[-1]
    row = after[: _row_length(after)]
    text = _text(row)
    found = find_day(text)
    if found is None:
        row, text = beginning, _text(beginning)
        found = find_day(text)
    if _DIRECTORY_MARK.search(beginning):
        child = replace(child, is_directory=True)
    size = Size() if child.is_directory else _size(row, text, found)
    return child, _file(child.name, size, found.day if found else None)


def _row_length(after: str) -> int:
    end = (_ROW_END if _CELL.search(after) else _LINE_END).search(after)
    return end.start() if end else len(after)


def _text(html: str) -> str:
    return unescape(_TAG.sub(" ", html) if "<" in html else html)


def _size(row: str, text: str, found: FoundDay | None) -> Size:
    exact = _EXACT_SIZE.search(row)
    if exact:
        return Size(int(exact[1]))
    if found is None:
        return Size()
    size = leading_size(text[found.end :])
    return size if size.size_bytes is not None else trailing_size(text[: found.start])


def _file(
    name: str, size: Size, day: date | None, modified_at: datetime | None = None
) -> RemoteFile:
    return RemoteFile(
        name=name,
        size_bytes=size.size_bytes,
        size_is_exact=size.is_exact,
        day=day,
        modified_at=modified_at,
        hash=identity_hash(name, size.size_bytes, day),
    )


def _directory_of(url: str) -> SplitResult:
    parts = urlsplit(url)
    return parts if parts.path.endswith("/") else parts._replace(path=f"{parts.path}/")


def _href(attributes: str) -> str:
    found = _HREF.search(attributes)
    return unescape(found[1] or found[2] or found[3] or "").strip() if found else ""


def _child(href: str, directory: SplitResult) -> _Child | None:
    """Return the direct child that a link leads to; None: parents, other hosts, sort links."""
    path = href.partition("#")[0]
    if "?" in path or _OTHER_ADDRESS.match(path):
        return None
    if _WEB_ADDRESS.match(path):
        below = _path_below(path, directory)
        if below is None:
            return None
        path = below
    return _named_child(name_of(path.removeprefix("./")))


def _path_below(address: str, directory: SplitResult) -> str | None:
    """Return the part of an absolute address below the directory, still percent-encoded."""
    try:
        parts = urlsplit(urljoin(directory.geturl(), address))
        if _host(parts) != _host(directory):
            return None
    except ValueError:
        return None
    depth = directory.path.count("/")
    above, below = parts.path.split("/")[:depth], parts.path.split("/")[depth:]
    if unquote("/".join(above)) != unquote(directory.path.rstrip("/")):
        return None
    return "/".join(below)


def _host(parts: SplitResult) -> tuple[str | None, int | None]:
    """Return host and port; http and https of one host are one, for proxies mix them up."""
    port = parts.port
    return parts.hostname, None if port in _DEFAULT_PORTS else port


def _named_child(path: str) -> _Child | None:
    name = path.removesuffix("/")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return None
    return _Child(name, is_directory=path.endswith("/"))


def _read_json(page: str, url: str, bounds: Bounds) -> Iterator[tuple[_Child, RemoteFile]]:
    """Read the index that nginx writes with `autoindex_format json`."""
    bounds.check_json(page)
    try:
        for row in json.loads(page):
            child = _named_child(row["name"])
            if child is not None and row["type"] in ("file", "directory"):
                yield replace(child, is_directory=row["type"] == "directory"), _json_file(row)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ListingError(f"{url}: expected a JSON index, got {page[:200]!r}") from error


def _json_file(row: dict[str, Any]) -> RemoteFile:
    modified_at = parsedate_to_datetime(row["mtime"])
    size = row.get("size")
    return _file(
        row["name"],
        Size(size if isinstance(size, int) else None),
        modified_at.date(),
        modified_at,
    )
