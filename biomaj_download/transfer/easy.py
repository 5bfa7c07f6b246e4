"""A `TransferRequest` in, a configured `pycurl.Curl` out, as a table of options.

Each option is named with the reason; the meanings are at https://curl.se/libcurl/c/ under
CURLOPT_<name>. A handle is reset before it is used again: its connections and TLS sessions stay.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies_environment

import certifi
import pycurl

from biomaj_download.cores import Mover
from biomaj_download.errors import AccessDenied, TransferError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.addresses import Guard, guard_of
from biomaj_download.transfer.proxies import DIRECT, configured_proxy
from biomaj_download.transfer.request import Sink, TransferRequest

_SCHEMES = (
    pycurl.PROTO_HTTP
    | pycurl.PROTO_HTTPS
    | pycurl.PROTO_FTP
    | pycurl.PROTO_FTPS
    | pycurl.PROTO_SFTP
)
#: A server must not send us elsewhere than the web or an FTP server (never file:, smb:...).
_REDIRECT_SCHEMES = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS | pycurl.PROTO_FTP | pycurl.PROTO_FTPS

#: libcurl in a wheel knows no path of this host; Debian's bundle holds the site's own authorities.
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
AUTHORITIES_FILE = (
    _SYSTEM_AUTHORITIES if os.path.exists(_SYSTEM_AUTHORITIES) else certifi.where()  # noqa: PTH110
)

#: CURLOPT_SUPPRESS_CONNECT_HEADERS, for which pycurl has no name.
_SUPPRESS_CONNECT_HEADERS = 265

_ALWAYS: dict[int, Any] = {
    pycurl.NOSIGNAL: 1,  # threads: no SIGALRM
    pycurl.PROTOCOLS: _SCHEMES,
    pycurl.REDIR_PROTOCOLS: _REDIRECT_SCHEMES,
    pycurl.FOLLOWLOCATION: 1,
    pycurl.MAXREDIRS: 10,
    pycurl.FAILONERROR: 1,  # an error page is never written
    pycurl.OPT_FILETIME: 1,  # Last-Modified, MDTM
    pycurl.TCP_NODELAY: 1,
    pycurl.FTP_SKIP_PASV_IP: 1,  # servers behind NAT announce private addresses
    pycurl.ACCEPT_ENCODING: "identity",  # the file as it is; should it come encoded, decode it
    pycurl.USERAGENT: "biomaj_download",
    pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
    pycurl.PROXY_SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
    pycurl.BUFFERSIZE: 512 * 1024,
    _SUPPRESS_CONNECT_HEADERS: 1,  # a proxy's "200" to CONNECT says nothing of the file
}
#: Many small files may share a connection; a larger one has its own.
_MAY_SHARE: dict[int, Any] = {pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_2TLS}
_ALONE: dict[int, Any] = {pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1}
#: libssh2 asks for four times as much ahead: 4 MiB a round trip.
_READ_AHEAD: dict[int, Any] = {pycurl.BUFFERSIZE: 1024 * 1024}
#: Two round trips less a file: no SIZE, no MDTM.
_UNASKED: dict[int, Any] = {pycurl.IGNORE_CONTENT_LENGTH: 1, pycurl.OPT_FILETIME: 0}


#: libcurl hands on 16 KiB at a time (CURL_MAX_WRITE_SIZE); a sink gets so much at once, or what one
#: turn of libcurl's brought.
_MOST_GATHERED_BYTES = 1024 * 1024
#: Idle: for longer than this (CURLOPT_MAXAGE_CONN; 0 would mean its default).
_IDLE_SECONDS = 1
#: libcurl bounds HTTP's headers (300 KB an answer), but not the lines of FTP's answers.
MOST_HEAD_BYTES = 4 * 1024 * 1024
_DECIMAL = re.compile(rb"\d{1,9}(\.\d*)?")
#: Many FTP servers tell a file's length when they begin to send it; libcurl does not listen where
#: it was not to ask for it.
_FTP_BEGINS = re.compile(rb"1[25]0 .*\((\d{1,18}) bytes\)")


class _Nothing:
    """Takes a body that nobody wants."""

    def write(self, chunk: bytes, /) -> int:
        return len(chunk)


_NOTHING: Sink = _Nothing()


class _Socket(socket.socket):
    """libcurl takes a copy of its descriptor: it need not be closed by hand."""

    def __del__(self) -> None:
        self.close()


class Handle:
    """A libcurl handle, and what it is set to: a bank's thousands of requests differ little.

    Who drives it calls `hand_over` after each turn of libcurl's; `gathering` tells for which
    handles. None: it is driven by `perform`, hands over by itself but for what the last turn
    brought, and asks at each turn, at least once a second, whether to go on. `mover`: of the thread
    that drives it.
    """

    def __init__(self, mover: Mover, gathering: list[Handle] | None = None) -> None:
        self.curl = pycurl.Curl()
        self._mover = mover
        self._gathering = gathering
        self._options: dict[int, Any] | None = None
        self._sink = _NOTHING
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        #: The sink has not taken all of what it was given: it gets no more.
        self.is_refused = False
        #: What the sink raised: libcurl could only say that the body was not taken.
        self.sink_error: Exception | None = None
        self._on_header: Callable[[bytes], None] | None = None
        #: The HTTP answer came in chunks, the last of which is marked.
        self.is_chunked = False
        self._is_abandoned = False
        #: What an FTP server said with the body, where it was not asked before.
        self.told_bytes: int | None = None
        self._retry_after = b""
        self._url = ""
        self._head_bytes = 0
        self._guard: Guard | None = None
        #: Where a form was sent; None: none was.
        self._form_url: str | None = None
        self._keeps_method = False

    def configure(
        self,
        request: TransferRequest,
        settings: TransferSettings,
        *,
        closes_idle: bool = False,
        shares: bool = False,
    ) -> None:
        """Make a new or used handle ready for a request.

        `closes_idle`: close connections of other transfers that are idle. `shares`: wait for a
        connection that is being made rather than to open another (CURLOPT_PIPEWAIT); where the
        server would not share it, that would be a round trip lost.
        """
        options = _options(request, settings)
        options[pycurl.PIPEWAIT] = int(shares)
        if closes_idle:
            options[pycurl.MAXAGE_CONN] = _IDLE_SECONDS
        guard = None if _is_by_our_proxy(request, settings) else guard_of(settings)
        if options != self._options or guard is not self._guard:
            self._options = None
            self.curl.reset()
            for option, value in options.items():
                self.curl.setopt(option, _in_bytes(value))
            self.curl.setopt(pycurl.HEADERFUNCTION, self._hear)
            self.curl.setopt(pycurl.WRITEDATA, self)
            if self._gathering is None:
                self.curl.setopt(pycurl.NOPROGRESS, 0)
                self.curl.setopt(pycurl.XFERINFOFUNCTION, self._end_turn)
                self.curl.setopt(pycurl.MAXCONNECTS, 1)  # another user's would be counted, too
            self._guard = guard
            if guard is not None:
                self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
            self._options = options
        self.curl.setopt(pycurl.URL, _in_bytes(request.url))
        self._sink = request.sink or _NOTHING
        self.sink_error = None
        self.is_refused = False
        self._on_header = request.on_header
        self._form_url = None if request.post_body is None else request.url
        self.is_chunked = self._is_abandoned = False
        self.told_bytes = None
        self._retry_after = b""
        self._url = request.url
        self._head_bytes = 0

    def abandon(self) -> None:
        """End the transfer soon, from another thread than the one that moves it."""
        self._is_abandoned = True

    def write(self, chunk: bytes, /) -> int | None:
        """Gather a chunk for the sink; 0 ends the transfer (CURLOPT_WRITEFUNCTION)."""
        if not self._gathered and self._gathering is not None:
            self._gathering.append(self)
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        if self._gathered_bytes >= _MOST_GATHERED_BYTES:
            self.hand_over()
        return 0 if self.is_refused else None

    def hand_over(self) -> None:
        """Give the sink what was gathered for it, at once."""
        gathered, self._gathered = self._gathered, []
        size_bytes, self._gathered_bytes = self._gathered_bytes, 0
        if not gathered or self.is_refused:
            return
        self._mover.moved(size_bytes)
        try:
            taken_bytes = self._give(gathered)
        except Exception as error:  # noqa: BLE001 - a sink is anybody's, and who asked gets it
            self.sink_error = error
            taken_bytes = 0
        self.is_refused = taken_bytes is not None and taken_bytes < size_bytes

    def _give(self, chunks: list[bytes]) -> int | None:
        if len(chunks) == 1:
            return self._sink.write(chunks[0])
        write_all: Callable[[list[bytes]], int] | None = getattr(self._sink, "write_all", None)
        return write_all(chunks) if write_all else self._sink.write(b"".join(chunks))

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """Make a socket for an address that libcurl has found, unless it is denied."""
        host = address.addr[0]
        refusal = self._guard.refusal(host) if self._guard else None
        if refusal is not None:
            self.sink_error = refusal
            return int(pycurl.SOCKET_BAD)
        return _Socket(address.family, address.socktype, address.protocol)

    def retry_after_seconds(self) -> float:
        """Return how long the server wants us to wait; 0: it does not say.

        RFC 9110, section 10.2.3. libcurl reads numbers and dates (CURLINFO_RETRY_AFTER), but cuts
        off the decimals that some servers tell.
        """
        if _DECIMAL.fullmatch(self._retry_after):
            return float(self._retry_after)
        return float(self.curl.getinfo(pycurl.RETRY_AFTER))

    def _end_turn(self, *_bytes: int) -> int:
        """Say whether to end the transfer (CURLOPT_XFERINFOFUNCTION)."""
        self.hand_over()
        return int(self._is_abandoned)

    def _hear(self, line: bytes) -> int | None:
        """Take a line of the answer's head, of each answer where there are more; -1 ends all."""
        self._head_bytes += len(line)
        if self._head_bytes > MOST_HEAD_BYTES:
            host = urlsplit(self._url).hostname
            self.sink_error = TransferError(
                f"{host}: expected answers of at most {MOST_HEAD_BYTES} bytes before the file, "
                "got more"
            )
            return -1
        if line.startswith(b"HTTP/"):
            self.is_chunked = False
            self._keeps_method = line.split()[1:2] in ([b"307"], [b"308"])
        elif self._form_url and self._keeps_method and line[:9].lower() == b"location:":
            target = urljoin(self._form_url, line[9:].strip().decode("latin-1"))
            if not _is_same_site(self._form_url, target):
                host = urlsplit(self._form_url).hostname
                self.sink_error = AccessDenied(f"{host}: wants a form sent to another host")
                return -1
        elif line[:18].lower() == b"transfer-encoding:":
            self.is_chunked = True
        elif line[:12].lower() == b"retry-after:":
            self._retry_after = line[12:].strip()
        elif begins := _FTP_BEGINS.match(line):
            self.told_bytes = int(begins[1])
        if self._on_header is not None:
            self._on_header(line)
        return None


def _is_same_site(url: str, target: str) -> bool:
    """Say whether what a form holds may go there: to the same port, or by TLS to the same host."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return True
    by_default_ports = here.netloc == there.netloc and ":" not in here.netloc
    return by_default_ports and (here.scheme, there.scheme) == ("http", "https")


def _in_bytes(value: Any) -> Any:
    """Return text as pycurl takes it where it is not ASCII: accounts, paths of this host."""
    is_other = isinstance(value, str) and not value.isascii()
    return value.encode("utf-8", "surrogateescape") if is_other else value


def _options(request: TransferRequest, settings: TransferSettings) -> dict[int, Any]:
    """Return all that a request wants of its handle but its own address and sink."""
    authorities_file = str(settings.authorities_file or AUTHORITIES_FILE)
    options = {
        **_ALWAYS,
        pycurl.CONNECTTIMEOUT: settings.connect_timeout_seconds,
        pycurl.LOW_SPEED_LIMIT: settings.low_speed_limit_bytes,
        pycurl.LOW_SPEED_TIME: settings.low_speed_seconds,
        # The low-speed limit does not cover the FTP control connection.
        pycurl.FTP_RESPONSE_TIMEOUT: settings.list_response_timeout_seconds
        if request.is_listing
        else settings.ftp_response_timeout_seconds,
        pycurl.CAINFO: authorities_file,
        pycurl.PROXY_CAINFO: authorities_file,
        **(_MAY_SHARE if request.is_small else _ALONE),
        **_proxy_options(request, settings),
    }
    if request.head_only:
        options[pycurl.NOBODY] = 1
    if request.keeps_encoding:
        options[pycurl.HTTP_CONTENT_DECODING] = 0
    if request.post_body is not None:
        options[pycurl.POSTFIELDS] = request.post_body
    if request.timeout_seconds is not None:
        options[pycurl.TIMEOUT_MS] = int(request.timeout_seconds * 1000)
    if request.url.startswith("ftp") and not _is_by_http(options.get(pycurl.PROXY)):
        if request.ftp_command:
            options[pycurl.CUSTOMREQUEST] = request.ftp_command
        if not request.asks_version:
            options |= _UNASKED
    if request.url.startswith("sftp"):
        options |= _READ_AHEAD
    if request.credentials:
        user, _, password = request.credentials.partition(":")
        options[pycurl.USERNAME] = user
        options[pycurl.PASSWORD] = password
    return {**options, **request.options}


def _proxy_options(request: TransferRequest, settings: TransferSettings) -> dict[int, Any]:
    """Return the way by the request's own proxy, else the configured one, else the environment's.

    libcurl reads the environment by itself (`http_proxy`, `no_proxy`...), but not where we say how.
    """
    proxy = request.proxy or configured_proxy(request.url, settings.proxies)
    if proxy is None:
        return {}
    options: dict[int, Any] = {pycurl.PROXY: "" if proxy == DIRECT else proxy, pycurl.NOPROXY: ""}
    if request.proxy and request.proxy_auth:
        user, _, password = request.proxy_auth.partition(":")
        options[pycurl.PROXYUSERNAME] = user
        options[pycurl.PROXYPASSWORD] = password
    return options


def _is_by_our_proxy(request: TransferRequest, settings: TransferSettings) -> bool:
    """Say whether the configuration's proxy is what is connected to: it stands where it stands."""
    proxy = None if request.proxy else configured_proxy(request.url, settings.proxies)
    return proxy not in (None, DIRECT)


def _is_by_http(proxy: str | None) -> bool:
    """Say whether an FTP request may be turned into an HTTP one, for a proxy."""
    if proxy is None:
        return any(scheme in getproxies_environment() for scheme in ("ftp", "all"))
    return proxy != "" and not proxy.startswith("socks")
