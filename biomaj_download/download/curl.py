"""The protocols ftp, ftps, http, https and sftp, moved by libcurl through the process's engine."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pycurl

from biomaj_download.archives import is_compressed
from biomaj_download.checksums import may_name_checksum_files
from biomaj_download.disk import on_disk
from biomaj_download.download.curl_options import CURL_OPTIONS, libcurl_options
from biomaj_download.download.fallback import T, or_by_https
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.listing.fields import identity_hash
from biomaj_download.download.listing.ftp import read_directory
from biomaj_download.download.listing.http import check_whole, read_index
from biomaj_download.download.options import Option
from biomaj_download.errors import (
    BadStatus,
    Cancelled,
    DownloadError,
    ListingTooLong,
    NoContinuation,
    PublishError,
    TransferError,
    UnknownProtocol,
)
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.transfer.kept import FROM_BYTES, Validators
from biomaj_download.transfer.outcome import is_of_the_moment, redact_url, status_error
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.request import TransferRequest, TransferResult
from biomaj_download.transfer.resume import Continuation
from biomaj_download.transfer.segments import Segments
from biomaj_download.transfer.shared import engine, settings

log = logging.getLogger("biomaj.download.curl")

#: A question for a size may take so long; it is but a question.
SIZE_SECONDS = 30
#: What servers answer that do not like to be asked by HEAD.
NO_HEAD = (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_PARTIAL_OR_WHOLE = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
#: What FTP servers answer to a command that they do not have (RFC 959, section 4.2.1).
_NO_COMMAND = (500, 501, 502, 504)
#: Paths that mean the same as a word of LIST: no blanks, patterns or options.
_PLAIN_PATH = re.compile(r"\w+://[^/]+(/+\w[\w.+=-]*)+/")
_CONTENT_RANGE = re.compile(rb"(?i)content-range:\s*bytes\s+\d+-\d+/(\d{1,18})\s*$")

#: FTP servers that have no MLSD: asked once.
_without_mlsd: set[str] = set()


class HTTPParse:
    """The expressions and group numbers by which a site reads HTML listings; -1: not there."""

    def __init__(
        self,
        dir_line: str,
        file_line: str,
        dir_name: int = 1,
        dir_date: int = 2,
        file_name: int = 1,
        file_date: int = 2,
        file_date_format: str | None = None,
        file_size: int = 3,
    ) -> None:
        self.dir_line = dir_line
        self.file_line = file_line
        self.dir_name = dir_name
        self.dir_date = dir_date
        self.file_name = file_name
        self.file_date = file_date
        self.file_date_format = file_date_format
        self.file_size = file_size


class CurlDownload(DownloadInterface):
    """Files of an FTP, HTTP or SFTP server, listed and downloaded."""

    ALL_PROTOCOLS: ClassVar[tuple[str, ...]] = ("ftp", "ftps", "http", "https", "sftp")
    OPTIONS: ClassVar[tuple[Option, ...]] = CURL_OPTIONS

    def __init__(self, curl_protocol: str, host: str, rootdir: str, http_parse: Any = None) -> None:
        super().__init__()
        self.curl_protocol = curl_protocol.lower()
        if self.curl_protocol not in self.ALL_PROTOCOLS:
            raise UnknownProtocol(
                f"curl: expected one of {', '.join(self.ALL_PROTOCOLS)}, got {curl_protocol!r}"
            )
        self.set_protocol(self.curl_protocol)
        self.set_server(host)
        self.rootdir = rootdir or ""
        self.http_parse = http_parse

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> CurlDownload:
        """Return a downloader of the files below `remote_dir` on `server`."""
        return cls(protocol, server, remote_dir, http_patterns)

    @classmethod
    def lack(cls, protocol: str) -> str | None:
        """Return what this host lacks for a protocol: a libcurl that speaks it."""
        scheme = protocol.removeprefix("direct")
        is_spoken = scheme in pycurl.version_info()[8]
        return None if is_spoken else f"this libcurl speaks no {scheme}: pip install pycurl"

    def entries(self, directory: str = "") -> Listing:
        """List a directory of the server."""
        return self.or_by_https(lambda: self._read(*self._answer(directory)))

    def published_names(self, directory: str) -> Sequence[str]:
        """Return the names of the files in a directory, if one may hold checksums."""
        text, result = self.or_by_https(lambda: self._answer(directory))
        if not may_name_checksum_files(text):
            return ()
        return [file.name for file in self._read(text, result).files]

    def or_by_https(
        self, attempt: Callable[[], T], has_begun: Callable[[], bool] = lambda: False
    ) -> T:
        """Return what an attempt returns, by HTTPS where FTP is closed and the bank wants it."""
        is_wanted = self._values["scheme_fallback"] == "https"
        return or_by_https(self, attempt, is_wanted=is_wanted, has_begun=has_begun)

    def _answer(self, directory: str) -> tuple[str, TransferResult]:
        """Return what the server says of a directory."""
        url = self.directory_url(directory)
        if not self.curl_protocol.startswith("ftp"):
            return self._asked(url)
        if directory and self._values["ftp_method"] == "default" and _PLAIN_PATH.fullmatch(url):
            answer = self._answer_from_afar(url)
            if answer is not None:
                return answer
        return self._answer_from_within(url)

    def _answer_from_afar(self, url: str) -> tuple[str, TransferResult] | None:
        """List an FTP directory without going there first, which saves two round trips.

        None: the answer may mean something else. Servers say of what is missing or closed that it
        is empty, and in answer to LIST of a file, or a link, that it is the only one.
        """
        command = None if self.server in _without_mlsd else "MLSD"
        options = {pycurl.FTP_FILEMETHOD: pycurl.FTPMETHOD_NOCWD}
        try:
            text, result = self._asked(url, ftp_command=command, options=options)
        except TransferError as error:
            if error.reply is None:
                raise
            return None
        rows = [line for line in text.splitlines() if line and not line.startswith("total")]
        return (text, result) if len(rows) > (0 if command else 1) else None

    def _answer_from_within(self, url: str) -> tuple[str, TransferResult]:
        """List an FTP directory by MLSD, or by LIST where the server has no MLSD."""
        if self.server not in _without_mlsd:
            try:
                return self._asked(url, ftp_command="MLSD")
            except TransferError as error:
                if error.reply not in _NO_COMMAND:
                    raise
                _without_mlsd.add(self.server)
        return self._asked(url)

    def _asked(
        self,
        url: str,
        *,
        ftp_command: str | None = None,
        options: Mapping[int, Any] | None = None,
    ) -> tuple[str, TransferResult]:
        page = _Page(settings().listing_bytes)
        request = self.request(url, sink=page, is_listing=True, ftp_command=ftp_command)
        request = replace(request, options={**request.options, **(options or {})})
        try:
            result = self.moved(request)
        except PublishError as error:
            if not page.is_full:
                raise
            raise ListingTooLong(
                f"{redact_url(url)}: expected a listing of at most {page.most_bytes} bytes, "
                "got more"
            ) from error
        if request.url.startswith("ftp") and is_of_the_moment(result.status):
            # libcurl takes 450 for "no files": some servers say so of one that is busy.
            busy = BadStatus(
                f"{redact_url(url)}: expected a listing, got FTP reply {result.status}"
            )
            busy.reply = result.status
            raise busy
        return page.getvalue().decode("utf-8", "surrogateescape"), result

    def _read(self, text: str, result: TransferResult) -> Listing:
        url = redact_url(result.effective_url)
        # A proxy that speaks HTTP makes a page of an FTP directory.
        if result.effective_url.startswith("http") or (result.content_type or "").startswith(
            "text/html"
        ):
            if result.ends_by_close:
                check_whole(text, url=url)
            return read_index(text, url=url, patterns=self._patterns(), bounds=self.bounds())
        return read_directory(text, bounds=self.bounds())

    def completed(self, files: Sequence[RemoteFile]) -> Sequence[RemoteFile]:
        """Ask a web server for what its page rounded or left out, many files at once."""
        if not self.is_http():
            return files
        asked: dict[int, Future[TransferResult]] = {
            place: engine().submit(self._size_request(file))
            for place, file in enumerate(files)
            if file.is_vague
        }
        return [
            self._sized(file, asked[place]) if place in asked else file
            for place, file in enumerate(files)
        ]

    def _sized(self, file: RemoteFile, asked: Future[TransferResult]) -> RemoteFile:
        """Return a file with its exact size, where the server tells it."""
        try:
            result = asked.result()
            size_bytes, modified_at = result.announced_bytes, result.modified_at
        except Cancelled:
            raise
        except DownloadError as error:
            log.debug("size not told name=%s error=%s", file.name, error)
            if not _may_not_head(error):
                return file
            size_bytes, modified_at = self._size_by_range(file), None
        if size_bytes is None and modified_at is None:
            return file
        is_exact = size_bytes is not None or file.size_is_exact
        size_bytes = file.size_bytes if size_bytes is None else size_bytes
        day = file.day or (modified_at.astimezone().date() if modified_at else None)
        name = file.name.rpartition("/")[2]
        return replace(
            file,
            size_bytes=size_bytes,
            size_is_exact=is_exact,
            day=day,
            hash=identity_hash(name, size_bytes, day),
        )

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Ask the server for a file's size; None: it does not tell."""
        try:
            return self.or_by_https(
                lambda: self.moved(self._size_request(remote_file)).announced_bytes
            )
        except Cancelled:
            raise
        except DownloadError as error:
            log.debug("size not told name=%s error=%s", remote_file.name, error)
            is_by_head = self.is_http() and _may_not_head(error)
            return self._size_by_range(remote_file) if is_by_head else None

    def _size_request(self, file: RemoteFile) -> TransferRequest:
        return self.request(
            self.file_url(file), head_only=True, is_small=True, most_seconds=SIZE_SECONDS
        )

    def _size_by_range(self, file: RemoteFile) -> int | None:
        """Ask for the first byte: the answer tells the size (RFC 9110, section 14.4)."""
        told: list[int] = []

        def look(line: bytes) -> None:
            found = _CONTENT_RANGE.match(line)
            if found:
                told.append(int(found[1]))

        request = self.request(
            self.file_url(file), sink=_FewBytes(), on_header=look, most_seconds=SIZE_SECONDS
        )
        request = replace(request, options={**request.options, pycurl.RANGE: "0-0"})
        try:
            engine().move(request)
        except DownloadError as error:
            log.debug("size not told name=%s error=%s", file.name, error)
        return told[-1] if told else None

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the bytes of a file from the server."""
        return self.or_by_https(
            lambda: self.fetch_url(self.file_url(remote_file), part, remote_file),
            has_begun=lambda: _has_bytes(part.path),
        )

    def fetch_url(
        self, url: str, part: Part, remote_file: RemoteFile, *, post_body: str | None = None
    ) -> Transferred:
        """Bring the bytes behind an address."""
        came = self._fetched(url, part, remote_file, post_body)
        return replace(came, is_from_web=self.is_http())

    def _fetched(
        self, url: str, part: Part, remote_file: RemoteFile, post_body: str | None
    ) -> Transferred:
        name = remote_file.save_as or remote_file.name
        wanted: dict[str, Any] = {"post_body": post_body, "keeps_encoding": is_compressed(name)}
        is_small = remote_file.size_bytes is not None and remote_file.size_bytes < FROM_BYTES
        if not is_small and post_body is None:
            with on_disk(part.path):
                return self._fetch_rest(self.request(url, **wanted), part)
        wanted |= {"is_small": is_small, "asks_version": not is_small or remote_file.day is None}
        with on_disk(part.path):
            part.create()
            return _transferred(part, self.moved(self.request(url, sink=part, **wanted)))

    def _fetch_rest(self, request: TransferRequest, part: Part) -> Transferred:
        """Bring what an earlier transfer left out, or the whole of another version."""
        told = self._stat(request) if self.curl_protocol == "sftp" else None
        first = Continuation(part, request, told=told)
        from_bytes = settings().segments_from_bytes
        segments = Segments(engine(), request, part, first, from_bytes=from_bytes, told=told)
        try:
            result = segments.fetch()
            first.judge_end()
            is_range = first.offset > 0 or segments.size_bytes is not None
            self._check_status(request, result, is_range=is_range)
        except DownloadError as error:
            if isinstance(error, TransferError) and first.is_complete(error):
                return Transferred(size_bytes=part.written_bytes)
            is_doubted = first.offset and (
                isinstance(error, NoContinuation)
                or getattr(error, "reply", None) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            )
            if first.refusal or segments.has_changed or is_doubted:
                part.restart()
            raise
        if segments.size_bytes is not None:
            self._check_unchanged(request, part, told)
            return _transferred(part, result)
        if first.brought_nothing:  # what libcurl tells then is the length of the whole
            return Transferred(size_bytes=part.written_bytes, modified_at=result.modified_at)
        return _transferred(part, result, offset=first.offset)

    def _check_unchanged(
        self, request: TransferRequest, part: Part, told: Validators | None
    ) -> None:
        """Ask an SFTP server again, when the pieces are there: each might be of another version."""
        if told is not None and self._stat(request) != told:
            part.restart()
            raise TransferError(f"{redact_url(request.url)}: the file has changed while it came")

    def _stat(self, request: TransferRequest) -> Validators:
        """Ask an SFTP server for size and time: its answers to a download do not tell them."""
        result = self.moved(replace(request, head_only=True))
        moment = result.modified_at
        return Validators(
            url=request.url,
            size_bytes=result.announced_bytes,
            modified=moment.isoformat() if moment else None,
        )

    def moved(self, request: TransferRequest) -> TransferResult:
        """Move a request; a status that brings no file is an error.

        Raises:
            TransferError: the transfer failed.
        """
        result = engine().move(request)
        self._check_status(request, result, is_range=pycurl.RANGE in request.options)
        return result

    def _check_status(
        self, request: TransferRequest, result: TransferResult, *, is_range: bool
    ) -> None:
        # A redirection may have led to an FTP server, whose replies are others.
        wanted = _PARTIAL_OR_WHOLE if is_range else (HTTPStatus.OK,)
        if result.effective_url.startswith("http") and result.status not in wanted:
            raise status_error(redact_url(request.url), result.status)

    def request(
        self, url: str, *, most_seconds: float | None = None, **wanted: Any
    ) -> TransferRequest:
        """Return a request with this downloader's account, proxy, limits and options.

        Raises:
            AccessDenied: a key would be written where a bank may not write.
        """
        if self.curl_protocol == "sftp":
            self.check_hosts_file()
        limits = [limit for limit in (most_seconds, self._time_limit_seconds) if limit]
        return TransferRequest(
            url=url,
            credentials=self.credentials,
            proxy=self.proxy,
            proxy_auth=self.proxy_auth,
            timeout_seconds=min(limits) if limits else None,
            max_connections=self._values["max_connections"],
            options=libcurl_options(self.curl_protocol, self.server, self._values),
            cancellation=self.cancellation,
            **wanted,
        )

    def is_http(self) -> bool:
        """Say whether the server speaks HTTP."""
        return self.curl_protocol.startswith("http")

    def base_url(self) -> str:
        """Return scheme and host; explicit FTPS begins as plain FTP."""
        is_explicit = self.curl_protocol == "ftps" and self._values["ftp_tls"] == "explicit"
        return f"{'ftp' if is_explicit else self.curl_protocol}://{self.server}"

    def directory_url(self, directory: str) -> str:
        """Return the address of a directory below the root."""
        return self._url(f"{self.rootdir}/{directory}/")

    def file_url(self, remote_file: RemoteFile) -> str:
        """Return the address of a file."""
        return self._url(f"{remote_file.root or self.rootdir}/{remote_file.name}")

    def _url(self, path: str) -> str:
        encoded = quote(path.encode("utf-8", "surrogateescape"), safe="/~")
        return self.base_url() + re.sub("/{2,}", "/", f"/{encoded}")

    def _patterns(self) -> HttpPatterns | None:
        given = self.http_parse
        if given is None or isinstance(given, HttpPatterns):
            return given
        return HttpPatterns.like(given)


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _may_not_head(error: DownloadError) -> bool:
    """Say whether a web server does not like to be asked by HEAD."""
    return isinstance(error, TransferError) and error.reply in NO_HEAD


def _transferred(part: Part, result: TransferResult, *, offset: int = 0) -> Transferred:
    # A server that compressed what nobody asked it to: libcurl has undone that.
    is_decoded = part.written_bytes != offset + result.received_bytes
    is_announced = result.announced_bytes is not None and not is_decoded
    return Transferred(
        size_bytes=part.written_bytes,
        announced_bytes=offset + (result.announced_bytes or 0) if is_announced else None,
        ends_by_close=result.ends_by_close,
        modified_at=result.modified_at,
        seconds=result.seconds,
    )


class _Page(BytesIO):
    """Takes a listing, up to a length that no listing has."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self.most_bytes = most_bytes
        self.is_full = False

    def write(self, chunk: Any, /) -> int:
        """Take a chunk; 0 ends the transfer."""
        self.is_full = self.tell() + len(chunk) > self.most_bytes
        return 0 if self.is_full else super().write(chunk)


class _FewBytes:
    """Takes one byte, and ends the transfer of a server that sends the whole file instead."""

    def write(self, chunk: bytes, /) -> int:
        """Take a chunk; 0 ends the transfer."""
        return len(chunk) if len(chunk) <= 1 else 0
