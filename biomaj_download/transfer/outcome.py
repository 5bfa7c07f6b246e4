"""libcurl's result code and the server's answer in, an error of ours out.

In: what `CurlMulti.info_read` says of one transfer.  Out: the error it means, never a boolean.
Codes: https://curl.se/libcurl/c/libcurl-errors.html
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

import pycurl

from biomaj_download.errors import (
    AccessDenied,
    BadStatus,
    Cancelled,
    ConnectFailed,
    DownloadError,
    HostNotFound,
    NoContinuation,
    PublishError,
    RemoteFileMissing,
    Stalled,
    TimedOut,
    TransferError,
    Truncated,
    UntrustedPeer,
)

#: libcurl's code -> what it means here; all others are plain transfer errors.
_BY_CODE: dict[int, type[DownloadError]] = {
    pycurl.E_COULDNT_RESOLVE_PROXY: HostNotFound,
    pycurl.E_COULDNT_RESOLVE_HOST: HostNotFound,
    pycurl.E_COULDNT_CONNECT: ConnectFailed,
    pycurl.E_FTP_CANT_GET_HOST: ConnectFailed,
    pycurl.E_FTP_ACCEPT_TIMEOUT: Stalled,
    pycurl.E_REMOTE_ACCESS_DENIED: AccessDenied,
    pycurl.E_LOGIN_DENIED: AccessDenied,
    pycurl.E_REMOTE_FILE_NOT_FOUND: RemoteFileMissing,
    pycurl.E_FTP_COULDNT_RETR_FILE: RemoteFileMissing,
    pycurl.E_FTP_COULDNT_USE_REST: NoContinuation,
    pycurl.E_RANGE_ERROR: NoContinuation,
    pycurl.E_BAD_DOWNLOAD_RESUME: NoContinuation,
    pycurl.E_PARTIAL_FILE: Truncated,
    pycurl.E_GOT_NOTHING: ConnectFailed,
    pycurl.E_SEND_ERROR: ConnectFailed,
    pycurl.E_RECV_ERROR: ConnectFailed,
    pycurl.E_SSL_CONNECT_ERROR: ConnectFailed,
    pycurl.E_PEER_FAILED_VERIFICATION: UntrustedPeer,
    pycurl.E_SSL_CACERT_BADFILE: UntrustedPeer,
    pycurl.E_SSL_ISSUER_ERROR: UntrustedPeer,
    pycurl.E_ABORTED_BY_CALLBACK: Cancelled,
    pycurl.E_WRITE_ERROR: PublishError,
}
_BY_STATUS: dict[int, type[TransferError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: RemoteFileMissing,
    407: AccessDenied,
    410: RemoteFileMissing,
}
#: "Service not available, closing control connection" (RFC 959, section 4.2): what FTP servers say
#: to a connection too many; libcurl calls it a timeout, whenever it comes.
_FTP_UNAVAILABLE = 421
#: The first digit of a reply that another attempt may not get.
_FTP_TRANSIENT = 4
#: What libcurl says of refusals, whatever the reply: "no such file", "access denied".
_FTP_REFUSALS = frozenset(
    {
        pycurl.E_REMOTE_ACCESS_DENIED,
        pycurl.E_FTP_COULDNT_RETR_FILE,
        pycurl.E_LOGIN_DENIED,
        pycurl.E_REMOTE_FILE_NOT_FOUND,
    }
)
_SLOW_DOWN_STATUSES = frozenset({429, 503})
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")


def redact(text: str) -> str:
    """Return text without the user and password that a URL in it may carry."""
    return _USERINFO.sub("***@", text)


def redact_url(url: str) -> str:
    """Return a URL without user, password and query: all three may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is none: libcurl says so in its own words
        return redact(url)
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "***" if parts.query else "", ""))


def is_of_the_moment(reply: int) -> bool:
    """Say whether an FTP server's reply is a refusal of the moment (RFC 959, section 4.2.1)."""
    return reply // 100 == _FTP_TRANSIENT


def is_turned_away(code: int, reply: int) -> bool:
    """Say whether an FTP server has too many connections already."""
    return code == pycurl.E_OPERATION_TIMEDOUT and reply == _FTP_UNAVAILABLE


def is_asked_to_slow_down(code: int, reply: int) -> bool:
    """Say whether an HTTP server has too much to do, for us or at all."""
    return code == pycurl.E_HTTP_RETURNED_ERROR and reply in _SLOW_DOWN_STATUSES


def error_of(
    code: int, text: str, *, url: str, status: int, total_timed_out: bool
) -> DownloadError:
    """Return what a failed transfer means.

    `total_timed_out`: the request's own time was up, not the low-speed or connect limit, which
    share libcurl's code 28.
    """
    error = _error_of(code, text, redact_url(url), status, total_timed_out)
    if isinstance(error, TransferError):
        error.reply = status or None
    return error


def _error_of(
    code: int, text: str, subject: str, status: int, total_timed_out: bool
) -> DownloadError:
    if code == pycurl.E_HTTP_RETURNED_ERROR:
        return status_error(subject, status)
    if is_turned_away(code, status):
        return BadStatus(
            f"{subject}: expected the file, got FTP reply {status}: too busy, or closing"
        )
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return (TimedOut if total_timed_out else Stalled)(f"{subject}: {redact(text)}")
    if code == pycurl.E_SSH and "key" in text.lower():
        return UntrustedPeer(f"{subject}: {redact(text)}")
    kind = _BY_CODE.get(code, TransferError)
    if code in _FTP_REFUSALS and subject.startswith("ftp") and is_of_the_moment(status):
        kind = BadStatus
    reply = f" (server's reply {status})" if status else ""
    return kind(f"{subject}: {redact(text) or pycurl_name(code)}{reply}")


def status_error(subject: str, status: int) -> TransferError:
    """Return what an HTTP status that is no success means."""
    error = _BY_STATUS.get(status, BadStatus)(
        f"{subject}: expected the file, got HTTP status {status}"
    )
    error.reply = status
    return error


def pycurl_name(code: int) -> str:
    """Return libcurl's name for a result code that came without a text."""
    return f"libcurl result {code}"
