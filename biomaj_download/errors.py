"""Every error this package raises.

DownloadError
    ConfigError, OptionError (also ValueError), OptionTypeError (also TypeError)   never retried
    ExpressionTooSlow (also ValueError)                                            never retried
    UnknownProtocol (also ValueError), MissingLibrary                              never retried
    MessageError, Cancelled                                                        never retried
    ListingError: ListingTooLong, NoMatch (never retried)
    TransferError: ConnectFailed, HostNotFound, Stalled, TimedOut, BadStatus, RemoteFileMissing,
                   AccessDenied, ServiceRefused, UntrustedPeer, NoContinuation, Truncated,
                   UnexpectedContent
    VerifyError:   SizeMismatch, DigestMismatch, WrongChecksum (never retried), ChecksumMissing,
                   ArchiveBroken
    PublishError:  DiskFull, UnsafePath                                            never retried
    BrokerError, StoreError, ServiceError

`code` is stable: a REST field and a metric label. `retryable` says whether a further attempt is
allowed at all; `permanent` that a further attempt will probably end the same way (a 404), which
banks retry all the same unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class DownloadError(Exception):
    """Something this package could not do; the text says who, what was expected and what came."""

    code: ClassVar[str] = "download"
    retryable: ClassVar[bool] = True
    permanent: ClassVar[bool] = False

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as it is: what an error was made of is not told again."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(
    kind: type[DownloadError], texts: tuple[object, ...], state: Mapping[str, object]
) -> DownloadError:
    error = kind.__new__(kind, *texts)
    error.__dict__.update(state)
    return error


class ConfigError(DownloadError):
    """The configuration file or the environment holds a wrong value."""

    code = "config"
    retryable = False


class OptionError(DownloadError, ValueError):
    """A bank's option or a caller's argument has a wrong value."""

    code = "option"
    retryable = False


class OptionTypeError(OptionError, TypeError):
    """A bank's option is of a type that cannot be read."""

    code = "option-type"


class ExpressionTooSlow(OptionError):
    """A bank's regular expression takes longer than `transfer.match_seconds` on a listing."""

    code = "expression-too-slow"


class UnknownProtocol(DownloadError, ValueError):
    """No downloader of that name is registered."""

    code = "unknown-protocol"
    retryable = False


class MissingLibrary(DownloadError):
    """A protocol needs a library or a program that is not installed."""

    code = "missing-library"
    retryable = False


class MessageError(DownloadError):
    """A message from the queue cannot be read as a download request."""

    code = "message"
    retryable = False


class Cancelled(DownloadError):
    """The session was cancelled or cleaned, or the process is stopping."""

    code = "cancelled"
    retryable = False


class ListingError(DownloadError):
    """A server's listing did not arrive, or cannot be read."""

    code = "listing"


class ListingTooLong(ListingError):
    """A server's listing or checksum file is longer than `transfer.listing_*` allow."""

    code = "listing-too-long"
    permanent = True


class NoMatch(ListingError):
    """No file of the listing matches the patterns."""

    code = "no-match"
    retryable = False


class TransferError(DownloadError):
    """The bytes of a file did not arrive; `reply` is the server's code, where it gave one."""

    code = "transfer"
    reply: int | None = None


class ConnectFailed(TransferError):
    """The server could not be reached, or cut the connection."""

    code = "connect-failed"


class HostNotFound(ConnectFailed):
    """The server's name has no address."""

    code = "host-not-found"


class Stalled(TransferError):
    """No or too few bytes came for too long."""

    code = "stalled"


class TimedOut(TransferError):
    """The bank's `timeout_download` ran out."""

    code = "timed-out"


class BadStatus(TransferError):
    """The server answered with an error status."""

    code = "bad-status"


class RemoteFileMissing(TransferError):
    """The server has no such file."""

    code = "remote-file-missing"
    permanent = True


class AccessDenied(TransferError):
    """The server refuses this user."""

    code = "access-denied"
    permanent = True


class ServiceRefused(AccessDenied):
    """The download service wants a token, or another one."""

    code = "service-refused"


class UntrustedPeer(TransferError):
    """A certificate or an SSH host key is not the one that is trusted."""

    code = "untrusted-peer"
    permanent = True


class NoContinuation(TransferError):
    """The server does not send the rest of a file that was begun; it begins again."""

    code = "no-continuation"


class Truncated(TransferError):
    """The connection ended before the announced length."""

    code = "truncated"


class UnexpectedContent(TransferError):
    """What came is not a file of the kind its name says."""

    code = "unexpected-content"


class VerifyError(DownloadError):
    """The bytes arrived, but are not the right ones."""

    code = "verify"


class SizeMismatch(VerifyError):
    """The file has another length than announced."""

    code = "size-mismatch"

    def __init__(self, name: str, *, announced_bytes: int, received_bytes: int) -> None:
        super().__init__(f"{name}: announced {announced_bytes} bytes, received {received_bytes}")


class DigestMismatch(VerifyError):
    """The bytes are not those the server announced."""

    code = "digest-mismatch"

    def __init__(self, name: str, *, announced: str, received: str) -> None:
        super().__init__(f"{name}: announced {announced}, received {received}")


class WrongChecksum(DigestMismatch):
    """A file and its checksum came twice and differ as before: one is wrong at its source."""

    code = "wrong-checksum"
    retryable = False

    def __init__(self, mismatch: DigestMismatch) -> None:
        VerifyError.__init__(self, f"{mismatch}, twice: one of both is wrong at its source")


class ChecksumMissing(VerifyError):
    """A bank wants no file without a checksum, and its publisher offers none for this one."""

    code = "checksum-missing"
    permanent = True


class ArchiveBroken(VerifyError):
    """A compressed file or an archive does not unpack."""

    code = "archive-broken"


class PublishError(DownloadError):
    """This host could not store the file: a full disk, a missing right."""

    code = "publish"
    retryable = False


class DiskFull(PublishError):
    """There is no room for the file on this host, or none that this user may take."""

    code = "disk-full"


class UnsafePath(PublishError):
    """A remote name would leave the download directory."""

    code = "unsafe-path"


class BrokerError(DownloadError):
    """The message broker cannot be reached or refused an order."""

    code = "broker"


class StoreError(DownloadError):
    """The session store cannot be reached or refused an order."""

    code = "store"


class ServiceError(DownloadError):
    """The download service's web interface did not answer as expected."""

    code = "service"


class mapped:
    """Turn a library's errors into ours, at the one place where the library is called.

    A class, not a generator: it stands around several system calls of every file.
    """

    def __init__(
        self, errors: Mapping[type[Exception], type[DownloadError]], *, subject: str
    ) -> None:
        self._errors = errors
        self._subject = subject

    def __enter__(self) -> None:
        """Let the library be called."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Raise our error for the library's."""
        if error is None:
            return
        for foreign, ours in self._errors.items():
            if isinstance(error, foreign):
                raise ours(f"{self._subject}: {str(error) or type(error).__name__}") from error
