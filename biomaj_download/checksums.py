"""Publishers' checksum files: text in, the digest of each file that they name out.

Read are the lines of md5sum and its like (`HASH  NAME`, `HASH *NAME`), of BSD (`MD5 (NAME) =
HASH`), of coreutils' `sum` (`36979 1 NAME`: Ensembl's CHECKSUMS), a bare hash beside the file, and
Metalink 3 and 4 (RFC 5854). Lines of other forms are skipped: signatures, comments, headings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

#: Algorithms, weakest first. `sum` is BSD's 16 bit checksum with the number of KiB: `36979:1`.
ALGORITHMS = ("sum", "md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
_BY_LENGTH = {length: algorithm for algorithm, length in _HEX_DIGITS.items()}

#: Names of files that hold the checksums of their directory, as publishers call them.
_OF_DIRECTORY = re.compile(
    r"(?:md5|sha-?(?:1|224|256|384|512))?_?(?:check)?sums?(?:\.(?:txt|md5|sha1|sha256|sha512))?"
    r"|.+\.(?:metalink|meta4)",
    re.IGNORECASE,
)
#: Suffixes of a file that holds the checksum of the one beside it.
_OF_FILE = re.compile(
    r"(?P<name>.+)\.(?:md5|sha1|sha224|sha256|sha384|sha512)(?:sum)?", re.IGNORECASE
)

_HINT = re.compile(r"(?:sums?\b|\.(?:metalink|meta4|md5|sha\d))", re.IGNORECASE)

_SUM_LINE = re.compile(r"\\?(?P<hash>[0-9A-Fa-f]{32,128})[ \t]+\*?(?P<name>\S.*)")
_BSD_LINE = re.compile(
    r"(?P<kind>[A-Za-z0-9-]+) ?\((?P<name>.+)\) ?= ?(?P<hash>[0-9A-Fa-f]{32,128})"
)
_BARE_HASH = re.compile(r"[0-9A-Fa-f]{32,128}")
_BLOCKS_LINE = re.compile(r"\s*(?P<sum>\d{1,5})\s+(?P<blocks>\d{1,15})\s+(?P<name>\S.*)")


class Digest(NamedTuple):
    """What a file's bytes come to: lower-case hex, for `sum` its two numbers."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


def checked_digest(algorithm: str, value: str) -> str:
    """Return a digest in lower case.

    Raises:
        ValueError: the algorithm is unknown, or the digest is none of its kind.
    """
    if algorithm not in _HEX_DIGITS:
        raise ValueError(f"with one of {', '.join(_HEX_DIGITS)}")
    digits = _HEX_DIGITS[algorithm]
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
        raise ValueError(f"with {digits} hexadecimal digits for {algorithm}")
    return value.lower()


def is_of_directory(name: str) -> bool:
    """Say whether a file's name is one that publishers give to the checksums of a directory."""
    return _OF_DIRECTORY.fullmatch(name) is not None


def subject_of(name: str) -> str | None:
    """Return the name of the file whose checksum is in a file called so: `a` for `a.md5`."""
    found = _OF_FILE.fullmatch(name)
    return found["name"] if found else None


def may_name_checksum_files(listing: str) -> bool:
    """Say whether the text of a listing may name one: most do not, and need not be read."""
    return _HINT.search(listing) is not None


def is_checksum_file(path: str) -> bool:
    """Say whether a file holds checksums itself, by its name."""
    name = path.rpartition("/")[2]
    return is_of_directory(name) or subject_of(name) is not None


def read_checksums(text: str, *, subject: str | None = None) -> Mapping[str, Digest]:
    """Return the digest of each file that a checksum file names, of several the strongest.

    Names are relative to the directory of the checksum file. `subject`: what a bare hash is of.
    A text that is no checksum file names none.
    """
    digests: dict[str, Digest] = {}
    is_metalink = text.lstrip()[:1] == "<"
    for name, digest in _metalink(text) if is_metalink else _lines(text, subject):
        known = digests.get(name)
        if known is None or _strength(digest) > _strength(known):
            digests[name] = digest
    return digests


def _strength(digest: Digest) -> int:
    return ALGORITHMS.index(digest.algorithm)


def _lines(text: str, subject: str | None) -> Iterator[tuple[str, Digest]]:
    for line in text.splitlines():
        row = line.rstrip()
        if subject is not None and _BARE_HASH.fullmatch(row):
            yield from _digest(subject, row)
        elif found := _SUM_LINE.fullmatch(row):
            # A leading backslash says that the name is escaped (coreutils).
            yield from _digest(_name(found["name"], is_escaped=row[0] == "\\"), found["hash"])
        elif found := _BSD_LINE.fullmatch(row):
            yield from _digest(_name(found["name"]), found["hash"], kind=found["kind"])
        elif found := _BLOCKS_LINE.fullmatch(row):
            value = f"{int(found['sum'])}:{int(found['blocks'])}"
            yield _name(found["name"]), Digest("sum", value)


def _digest(name: str, value: str, *, kind: str = "") -> Iterator[tuple[str, Digest]]:
    """Yield a digest of a kind that we know; others (BLAKE2, SHA3) may have the same length.

    `kind`: what the file calls it, `SHA256`, `sha-256` or OpenSSL's `SHA2-256`; empty: nothing.
    """
    algorithm = _BY_LENGTH.get(len(value))
    told = kind.lower().replace("sha2-", "sha").replace("-", "")
    if algorithm is not None and told in ("", algorithm):
        yield name, Digest(algorithm, value.lower())


def _name(text: str, *, is_escaped: bool = False) -> str:
    if is_escaped:
        text = text.replace("\\n", "\n").replace("\\\\", "\\")
    return text.removeprefix("./")


def _metalink(text: str) -> Iterator[tuple[str, Digest]]:
    """Read Metalink 3 (`http://www.metalinker.org/`) and 4; entities are refused."""
    reader = _MetalinkReader()
    parser = DefusedXMLParser(target=reader)
    try:
        parser.feed(text)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError):
        return
    for name, kind, value in reader.found:
        yield from _digest(_name(name), value, kind=kind)


class _MetalinkReader:
    """Takes what an XML parser comes upon, in whatever namespace; pieces' hashes are left out.

    No tree is built: one of millions of elements, or as many levels, would fill the memory.
    """

    def __init__(self) -> None:
        #: Name of a file, and kind and value of a hash of it.
        self.found: list[tuple[str, str, str]] = []
        self._kind = ""
        self._file: str | None = None
        self._pieces = 0
        self._hash: list[str] | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take the beginning of an element."""
        name = _local(tag)
        if name == "pieces":
            self._pieces += 1
        elif name == "file" and not self._pieces:
            self._file = attributes.get("name", "")
        elif name == "hash" and self._file is not None and not self._pieces:
            self._hash = []
            self._kind = attributes.get("type", "")

    def data(self, text: str) -> None:
        """Take text."""
        if self._hash is not None:
            self._hash.append(text)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        name = _local(tag)
        if name == "pieces":
            self._pieces -= 1
        elif name == "file" and not self._pieces:
            self._file = None
        elif name == "hash" and self._file is not None and self._hash is not None:
            value = "".join(self._hash).strip()
            if _BARE_HASH.fullmatch(value):
                self.found.append((self._file, self._kind, value))
            self._hash = None

    def close(self) -> None:
        """Take the end of the text."""


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
