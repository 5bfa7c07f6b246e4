"""What an answer says of the file it brings: its version, and which bytes.

In: the lines of its head, HTTP headers or FTP replies.  Out: `Validators`, a range. HTTP: RFC 9110,
sections 8.8 (validators), 14.4 (Content-Range); FTP: RFC 3659 (MDTM, SIZE).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256

from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.request import TransferRequest

OK, PARTIAL = 200, 206
_STATUS_LINE = re.compile(rb"HTTP/[\d.]+ (\d{3})")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LENGTH = re.compile(rb"\d{1,18}")
_MDTM_REPLY = re.compile(rb"213 (\d{14}(?:\.\d+)?)\s*$")
_SIZE_REPLY = re.compile(rb"213 (\d{1,13})\s*$")


class Answer:
    """The head of one answer, told line by line.

    `told`: what the server said of the file just now, where its answer has no such lines (SFTP).
    `status`: HTTP's; 0: it came by another protocol.
    """

    def __init__(self, request: TransferRequest, *, told: Validators | None = None) -> None:
        self.url_digest = sha256(request.url.encode("utf-8", "surrogateescape")).hexdigest()
        self._keeps_encoding = request.keeps_encoding
        self.status = 0
        self._told = None if told is None else replace(told, url=self.url_digest)
        self._headers: dict[bytes, bytes] = {}
        self._modified: str | None = None
        self._size_bytes: int | None = None

    def look(self, line: bytes) -> None:
        """Take a line of the answer's head: an HTTP header, or an FTP reply."""
        status = _STATUS_LINE.match(line)
        if status:  # of a redirection, or of the answer after it
            self.status, self._headers = int(status[1]), {}
        elif self.status:
            name, _, value = line.partition(b":")
            self._headers[name.strip().lower()] = value.strip()
        elif moment := _MDTM_REPLY.match(line):
            self._modified = moment[1].decode()
        elif size := _SIZE_REPLY.match(line):
            self._size_bytes = int(size[1])

    def header(self, name: bytes) -> bytes:
        """Return a header's value; empty: there is none."""
        return self._headers.get(name, b"")

    def range(self) -> tuple[int, int, int | None] | None:
        """Return first byte, the one behind the last, and the file's size, where it is told."""
        told = _CONTENT_RANGE.fullmatch(self.header(b"content-range"))
        if told is None or self.is_encoded():
            return None
        return int(told[1]), int(told[2]) + 1, None if told[3] == b"*" else int(told[3])

    def validators(self) -> Validators:
        """Return what this answer says of the file's version."""
        if self._told is not None:
            return self._told
        if not self.status:
            return Validators(
                url=self.url_digest, size_bytes=self._size_bytes, modified=self._modified
            )
        if self.is_encoded():  # what is in the part is not what the server counts
            return Validators(url=self.url_digest)
        etag = self.header(b"etag").decode("latin-1")
        return Validators(
            url=self.url_digest,
            size_bytes=self._whole_bytes(),
            etag=etag if etag.startswith('"') else None,
            modified=self._strong_date(),
        )

    def is_encoded(self) -> bool:
        """Say whether the body is compressed on its way, and unpacked here.

        Servers say so of a `.gz`, too, which stays as it is.
        """
        if self._keeps_encoding:
            return False
        return self._headers.get(b"content-encoding", b"identity").lower() != b"identity"

    def _whole_bytes(self) -> int | None:
        if self.status == PARTIAL:
            told = self.range()
            return told[2] if told else None
        length = self.header(b"content-length")
        return int(length) if _LENGTH.fullmatch(length) else None

    def _strong_date(self) -> str | None:
        """Return Last-Modified, unless the file may change again within that same second.

        RFC 9110, section 8.8.2.2: it is a strong validator where Date is at least a second later.
        """
        told = self.header(b"last-modified").decode("latin-1")
        try:
            modified = parsedate_to_datetime(told)
            answered = parsedate_to_datetime(self.header(b"date").decode("latin-1"))
            return told if answered - modified >= timedelta(seconds=1) else None
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
