"""The protocols ftp, ftps, http, https and sftp, moved by libcurl through the process's engine."""

from __future__ import annotations

import re
from http import HTTPStatus
from io import BytesIO
from typing import Any, ClassVar
from urllib.parse import quote

import pycurl

from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.listing.ftp import read_list
from biomaj_download.download.listing.http import read_index
from biomaj_download.download.options import (
    ARCHIVE_OPTIONS,
    RETRY_OPTIONS,
    Option,
    one_of,
    parse_boolean,
    parse_count,
    parse_path,
)
from biomaj_download.errors import PublishError, UnknownProtocol, mapped
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.outcome import redact_url, status_error
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.request import TransferRequest, TransferResult
from biomaj_download.transfer.shared import engine

#: Slow servers take minutes to list 100,000 files.
LIST_RESPONSE_SECONDS = TransferSettings().list_response_timeout_seconds

CURL_OPTIONS = (
    Option(
        "ssl_verifyhost",
        parse_boolean,
        default="true",
        help="false: accept a certificate made out for another host.",
    ),
    Option(
        "ssl_verifypeer",
        parse_boolean,
        default="true",
        help="false: accept a certificate that no known authority has signed.",
    ),
    Option(
        "ssl_server_cert",
        parse_path,
        default=None,
        help="File with the certificates (PEM) that are trusted instead of the host's own.",
    ),
    Option(
        "tcp_keepalive",
        parse_count,
        default=0,
        help="Seconds between keep-alive probes; 0: the usual 60.",
    ),
    Option(
        "ftp_method",
        one_of("default", "multicwd", "nocwd", "singlecwd"),
        default="default",
        help="How an FTP server is led to a file (libcurl: CURLOPT_FTP_FILEMETHOD).",
    ),
    Option(
        "ftp_tls",
        one_of("implicit", "explicit"),
        default="implicit",
        help="How ftps begins: encrypted from the start, or by AUTH TLS on the plain port.",
    ),
    Option(
        "ssh_hosts_file",
        parse_path,
        default="~/.ssh/known_hosts",
        help="File with the keys of the SSH servers that are trusted.",
    ),
    Option(
        "ssh_new_host",
        one_of("reject", "accept", "add"),
        default="reject",
        help="What to do with an SSH server whose key is not known; another key is always refused.",
    ),
    Option(
        "allow_redirections",
        parse_boolean,
        default="true",
        help="false: an HTTP redirection is an error.",
    ),
)

_FTP_METHODS = {
    "default": pycurl.FTPMETHOD_DEFAULT,
    "multicwd": pycurl.FTPMETHOD_MULTICWD,
    "nocwd": pycurl.FTPMETHOD_NOCWD,
    "singlecwd": pycurl.FTPMETHOD_SINGLECWD,
}
_NEW_HOST_ANSWERS = {
    "reject": pycurl.KHSTAT_REJECT,
    "accept": pycurl.KHSTAT_FINE,
    "add": pycurl.KHSTAT_FINE_ADD_TO_FILE,
}
#: libcurl's own interval of keep-alive probes (CURLOPT_TCP_KEEPIDLE).
_KEEPALIVE_SECONDS = 60


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
    OPTIONS: ClassVar[tuple[Option, ...]] = RETRY_OPTIONS + ARCHIVE_OPTIONS + CURL_OPTIONS

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

    def entries(self, directory: str = "") -> Listing:
        """List a directory of the server."""
        page = BytesIO()
        request = self.request(
            self.directory_url(directory), sink=page, response_timeout_seconds=LIST_RESPONSE_SECONDS
        )
        result = self.moved(request)
        text = page.getvalue().decode("utf-8", "surrogateescape")
        if self.is_http():
            return read_index(text, url=result.effective_url, patterns=self._patterns())
        return read_list(text)

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the bytes of a file from the server."""
        return self.fetch_url(self.file_url(remote_file), part)

    def fetch_url(self, url: str, part: Part, *, post_body: str | None = None) -> Transferred:
        """Bring the bytes behind an address."""
        with mapped({OSError: PublishError}, subject=str(part.path)):
            part.create()
        result = self.moved(self.request(url, sink=part, post_body=post_body))
        return Transferred(
            size_bytes=result.received_bytes,
            announced_bytes=result.announced_bytes,
            modified_at=result.modified_at,
            seconds=result.seconds,
        )

    def moved(self, request: TransferRequest) -> TransferResult:
        """Move a request; a status that brings no file is an error.

        Raises:
            TransferError: the transfer failed.
        """
        result = engine().move(request)
        if self.is_http() and result.status != HTTPStatus.OK:
            raise status_error(redact_url(request.url), result.status)
        return result

    def request(self, url: str, **wanted: Any) -> TransferRequest:
        """Return a request with this downloader's account, proxy, limits and options."""
        return TransferRequest(
            url=url,
            credentials=self.credentials,
            proxy=self.proxy,
            proxy_auth=self.proxy_auth,
            timeout_seconds=self._time_limit_seconds,
            options=self._curl_options(),
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

    def _curl_options(self) -> dict[int, Any]:
        """Return the bank's options in libcurl's terms."""
        values = self._values
        keepalive_seconds = values["tcp_keepalive"] or _KEEPALIVE_SECONDS
        options: dict[int, Any] = {
            pycurl.TCP_KEEPALIVE: 1,
            pycurl.TCP_KEEPIDLE: keepalive_seconds,
            pycurl.TCP_KEEPINTVL: keepalive_seconds,
        }
        if self.is_http():
            options[pycurl.FOLLOWLOCATION] = int(values["allow_redirections"])
        if self.curl_protocol.startswith("ftp"):
            options[pycurl.FTP_FILEMETHOD] = _FTP_METHODS[values["ftp_method"]]
        if self.curl_protocol in ("https", "ftps"):
            options |= self._tls_options()
        if self.curl_protocol == "sftp":
            options[pycurl.SSH_KNOWNHOSTS] = str(values["ssh_hosts_file"])
            options[pycurl.SSH_KEYFUNCTION] = self._judge_host_key
        return options

    def _tls_options(self) -> dict[int, Any]:
        values = self._values
        options: dict[int, Any] = {
            pycurl.SSL_VERIFYHOST: 2 if values["ssl_verifyhost"] else 0,
            pycurl.SSL_VERIFYPEER: int(values["ssl_verifypeer"]),
        }
        if values["ssl_server_cert"]:
            options[pycurl.CAINFO] = str(values["ssl_server_cert"])
        if self.curl_protocol == "ftps":
            options[pycurl.FTP_SSL] = pycurl.FTPSSL_ALL
        return options

    def _judge_host_key(self, _known: object, _found: object, match: int) -> int:
        """Answer libcurl's question about a server's key (CURLOPT_SSH_KEYFUNCTION)."""
        if match == pycurl.KHMATCH_OK:
            return pycurl.KHSTAT_FINE
        if match == pycurl.KHMATCH_MISMATCH:
            return pycurl.KHSTAT_REJECT
        return _NEW_HOST_ANSWERS[self._values["ssh_new_host"]]
