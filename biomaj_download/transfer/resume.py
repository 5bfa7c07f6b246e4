"""Go on where a transfer broke off, or begin again: decided by the server's answer, byte 0 or N.

In: the lines of an answer, and its body.  Out: a part that holds one version of the file, never
two. HTTP: RFC 9110, sections 13.1.5 (If-Range), 14.4 (Content-Range); FTP: RFC 3659 (MDTM, SIZE,
REST).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256

import pycurl

from biomaj_download.errors import BadStatus, TransferError
from biomaj_download.transfer.kept import FROM_BYTES, Validators
from biomaj_download.transfer.partial import Part

_STATUS_LINE = re.compile(rb"HTTP/[\d.]+ (\d{3})")
_CONTENT_RANGE = re.compile(rb"bytes (\d+)-(\d+)/(\d+|\*)")
_MDTM_REPLY = re.compile(rb"213 (\d{14}(?:\.\d+)?)\s*$")
_SIZE_REPLY = re.compile(rb"213 (\d{1,13})\s*$")
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416


class Continuation:
    """Takes one answer for a part: `look` at its lines, `write` its body.

    `told`: what the server said of the file just now, where its answer has no such lines (SFTP).
    """

    def __init__(self, part: Part, url: str, *, told: Validators | None = None) -> None:
        self._part = part
        self._is_http = url.startswith("http")
        self._url_digest = sha256(url.encode("utf-8", "surrogateescape")).hexdigest()
        self._told = None if told is None else replace(told, url=self._url_digest)
        self._known = part.resume()
        if self._known is not None and self._known.url != self._url_digest:
            part.restart()
            self._known = None
        self._offset = part.written_bytes
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._modified: str | None = None
        self._size_bytes: int | None = None
        self._has_begun = False
        #: Why the body was not taken, where it was not.
        self.refusal: TransferError | None = None

    @property
    def offset(self) -> int:
        """Return how many bytes were there before this answer."""
        return self._offset

    def libcurl_options(self) -> dict[int, object]:
        """Return what asks for the rest alone."""
        if self._known is None or not self._offset:
            return {}
        if not self._is_http:
            return {pycurl.RESUME_FROM_LARGE: self._offset}
        validator = self._known.etag or self._known.modified
        # A range, for then libcurl takes a 200 as well: the whole of another version.
        return {
            pycurl.RANGE: f"{self._offset}-",
            pycurl.HTTPHEADER: [f"If-Range: {validator}"],
        }

    def look(self, line: bytes) -> None:
        """Take a line of the answer's head: an HTTP header, or an FTP reply."""
        status = _STATUS_LINE.match(line)
        if status:  # of a redirection, or of the answer after it
            self._status, self._headers = int(status[1]), {}
        elif self._status:
            name, _, value = line.partition(b":")
            self._headers[name.strip().lower()] = value.strip()
        elif moment := _MDTM_REPLY.match(line):
            self._modified = moment[1].decode()
        elif size := _SIZE_REPLY.match(line):
            self._size_bytes = int(size[1])

    def write(self, chunk: bytes, /) -> int:
        """Take a chunk; 0 refuses it, and ends the transfer."""
        if not self._has_begun:
            self._has_begun = True
            self.refusal = self._begin()
            if self.refusal is not None:
                return 0
        written = self._part.write(chunk)
        if not self._part.is_kept and self._part.written_bytes >= FROM_BYTES:
            self._part.keep(self._validators())
        return written

    def is_complete(self, error: TransferError) -> bool:
        """Say whether a server refused to send the rest because there is none."""
        known = self._known
        told = self._headers.get(b"content-range", b"")
        return (
            known is not None
            and error.reply == _RANGE_NOT_SATISFIABLE
            and known.size_bytes in (None, self._offset)
            and told == b"bytes */%d" % self._offset
        )

    def _begin(self) -> TransferError | None:
        """Say what is wrong with the answer; begin again where it is the whole file."""
        if not self._offset:
            if self._status == _PARTIAL:
                return TransferError("expected the whole file, got a part of it")
            return None
        if self._status == _OK:
            self._part.restart()
            self._offset = 0
            return None
        if self._status == _PARTIAL:
            return self._judge_range()
        if self._status:
            return BadStatus(f"expected the rest of a file, got HTTP status {self._status}")
        return self._judge_version()

    @property
    def brought_nothing(self) -> bool:
        """Say whether the answer had no body, for the part was whole already."""
        return self._offset > 0 and not self._has_begun

    def judge_end(self) -> None:
        """Say what is wrong with an answer that had no body: the part was whole already.

        Raises:
            TransferError: it is not the version that the server has now.
        """
        if self.brought_nothing and not self._is_http:
            self.refusal = self._judge_version()
            if self.refusal is not None:
                raise self.refusal

    def _judge_version(self) -> TransferError | None:
        if self._known != self._validators():
            return TransferError("the file has changed since its beginning came")
        return None

    def _judge_range(self) -> TransferError | None:
        told = _CONTENT_RANGE.fullmatch(self._headers.get(b"content-range", b""))
        known = self._known.size_bytes if self._known else None
        if told is None or int(told[1]) != self._offset or self._is_encoded():
            return TransferError(f"expected the bytes from {self._offset} on, got others")
        if known is not None and told[3] not in (b"*", b"%d" % known):
            return TransferError(f"expected a file of {known} bytes, got another one")
        return None

    def _validators(self) -> Validators:
        """Return what this answer says of the file's version."""
        if self._told is not None:
            return self._told
        if not self._status:
            return Validators(
                url=self._url_digest, size_bytes=self._size_bytes, modified=self._modified
            )
        if self._is_encoded():  # what is in the part is not what the server counts
            return Validators(url=self._url_digest)
        length = self._headers.get(b"content-length", b"")
        etag = self._headers.get(b"etag", b"").decode("latin-1")
        return Validators(
            url=self._url_digest,
            size_bytes=int(length) if length.isdigit() else None,
            etag=etag if etag.startswith('"') else None,
            modified=self._strong_date(),
        )

    def _is_encoded(self) -> bool:
        return self._headers.get(b"content-encoding", b"identity").lower() != b"identity"

    def _strong_date(self) -> str | None:
        """Return Last-Modified, unless the file may change again within that same second.

        RFC 9110, section 8.8.2.2: it is a strong validator where Date is at least a second later.
        """
        told = self._headers.get(b"last-modified", b"").decode("latin-1")
        try:
            modified = parsedate_to_datetime(told)
            answered = parsedate_to_datetime(self._headers.get(b"date", b"").decode("latin-1"))
            return told if answered - modified >= timedelta(seconds=1) else None
        except (TypeError, ValueError, IndexError):
            return None
