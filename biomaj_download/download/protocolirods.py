"""The protocol `irods`: data objects below a collection, by python-irodsclient.

A session is logged in once and serves all files: listings, many at a time, and parts of a large
object side by side.
"""

from __future__ import annotations

import base64
import re
import ssl
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any, ClassVar

from defusedxml.ElementTree import ParseError
from irods.exception import (
    CAT_INVALID_AUTHENTICATION,
    CAT_INVALID_USER,
    CAT_NO_ACCESS_PERMISSION,
    CAT_PASSWORD_EXPIRED,
    OBJ_PATH_DOES_NOT_EXIST,
    PAM_AUTH_PASSWORD_FAILED,
    DoesNotExist,
    NetworkException,
    PycommandsException,
    iRODSException,
)
from irods.models import Collection, DataObject

from biomaj_download.checksums import Digest
from biomaj_download.disk import on_disk
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.irods_reading import Reading
from biomaj_download.download.irods_sessions import Account, sessions
from biomaj_download.download.listing.fields import identity_hash
from biomaj_download.download.options import (
    CHECKSUM_OPTIONS,
    CONNECTION_OPTIONS,
    IRODS_OPTIONS,
    RETRY_OPTIONS,
    TLS_OPTIONS,
    UNPACKING_OPTIONS,
    Option,
)
from biomaj_download.errors import (
    AccessDenied,
    ConnectFailed,
    DownloadError,
    OptionError,
    RemoteFileMissing,
    Stalled,
    TransferError,
    UntrustedPeer,
)
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.text import without_account
from biomaj_download.transfer import shared
from biomaj_download.transfer.addresses import checked_address
from biomaj_download.transfer.easy import AUTHORITIES_FILE
from biomaj_download.transfer.partial import Part

DEFAULT_PORT = 1247
#: The status of a replica that is whole and up to date (iRODS: GOOD_REPLICA).
_GOOD_REPLICA = "1"
_ERRORS: dict[type[Exception], type[DownloadError]] = {
    CAT_INVALID_AUTHENTICATION: AccessDenied,
    CAT_INVALID_USER: AccessDenied,
    CAT_PASSWORD_EXPIRED: AccessDenied,
    PAM_AUTH_PASSWORD_FAILED: AccessDenied,
    CAT_NO_ACCESS_PERMISSION: AccessDenied,
    DoesNotExist: RemoteFileMissing,
    OBJ_PATH_DOES_NOT_EXIST: RemoteFileMissing,
    NetworkException: ConnectFailed,
    ssl.SSLCertVerificationError: UntrustedPeer,
    OSError: ConnectFailed,
    iRODSException: TransferError,
    PycommandsException: TransferError,
    ParseError: TransferError,  # a name with a control character is no XML
}


@dataclass(frozen=True)
class _Described:
    """What the catalogue says of a data object."""

    size_bytes: int
    modified_at: datetime
    checksum: str | None


class IRODSDownload(DownloadInterface):
    """Data objects below the collection `remote_dir`, such as `/tempZone/home/biomaj`.

    `set_param`: `user`, `password`, `port` (1247), `zone` (the first element of the path).
    """

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *RETRY_OPTIONS,
        *UNPACKING_OPTIONS,
        *CHECKSUM_OPTIONS,
        *CONNECTION_OPTIONS,
        *TLS_OPTIONS,
        *IRODS_OPTIONS,
    )

    def __init__(self, server: str, remote_dir: str) -> None:
        super().__init__()
        self.server = server
        self.rootdir = remote_dir or ""
        self.protocol = "irods"
        #: What was asked for a file's checksum, for the fetch that comes next.
        self._described: dict[str, _Described] = {}

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> IRODSDownload:
        """Return a downloader of the data objects below `remote_dir` on `server`."""
        return cls(server, remote_dir)

    def entries(self, directory: str = "") -> Listing:
        """List a collection."""
        path = _joined(self.rootdir, directory)
        with self.lent_session(path) as session:
            query = session.query(
                DataObject.name,
                DataObject.size,
                DataObject.modify_time,
                DataObject.checksum,
                DataObject.owner_name,
                DataObject.replica_status,
            ).filter(Collection.name == path)
            files = {row[DataObject.name]: _file(row) for row in _good_last(self._bounded(query))}
            below = session.query(Collection.name).filter(Collection.parent_name == path)
            names = [row[Collection.name] for row in self._bounded(below)]
            if not files and not names and not session.collections.exists(path):
                raise RemoteFileMissing(f"{without_account(self.server)}: no collection {path}")
        return Listing(
            files=tuple(files.values()),
            directories=tuple(RemoteFile(name=name.rpartition("/")[2]) for name in names),
        )

    def _bounded(self, query: Any) -> list[Any]:
        """Return the rows of a query.

        Raises:
            ListingTooLong: they are too many.
        """
        bounds = self.bounds()
        rows = list(islice(query.get_results(), bounds.most_entries + 1))
        bounds.check_entries(len(rows))
        return rows

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring a data object."""
        started = time.monotonic()
        path = _joined(remote_file.root or self.rootdir, remote_file.name)
        known = self._described.pop(path, None) or self._describe(path)
        with on_disk(part.path):
            part.create()
        Reading(self, path, part).read(known.size_bytes)
        return Transferred(
            size_bytes=known.size_bytes,
            announced_bytes=known.size_bytes,
            modified_at=known.modified_at,
            seconds=time.monotonic() - started,
        )

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Return the size that the catalogue has; None: it cannot be asked."""
        with suppress(DownloadError):
            path = _joined(remote_file.root or self.rootdir, remote_file.name)
            return self._describe(path).size_bytes
        return None

    def _published_digest(self, remote_file: RemoteFile, *, must: bool) -> Digest | None:
        """Return the digest that the catalogue has."""
        path = _joined(remote_file.root or self.rootdir, remote_file.name)
        self._described = {path: self._describe(path)}
        return _digest(self._described[path].checksum)

    def _describe(self, path: str) -> _Described:
        collection, _, name = path.rpartition("/")
        with self.lent_session(path) as session:
            query = (
                session.query(
                    DataObject.size,
                    DataObject.modify_time,
                    DataObject.checksum,
                    DataObject.replica_status,
                )
                .filter(Collection.name == collection)
                .filter(DataObject.name == name)
            )
            rows = _good_last(query.get_results())
        if not rows:
            raise RemoteFileMissing(f"{without_account(self.server)}: no data object {path}")
        return _Described(
            int(rows[-1][DataObject.size]),
            _instant(rows[-1][DataObject.modify_time]),
            rows[-1][DataObject.checksum],
        )

    @contextmanager
    def lent_session(self, subject: str) -> Iterator[Any]:
        """Lend the session, for one connection; iRODS' errors come out as ours.

        Raises:
            DownloadError: the server, or the way there, failed.
        """
        account = self._account()
        account = replace(account, address=checked_address(shared.settings(), account.host))
        host = f"irods://{account.host}:{account.port}"
        with shared.turn(host, self.cancellation, max_connections=self._values["max_connections"]):
            try:
                yield sessions.get(account)
            except tuple(_ERRORS) as error:
                raise self._ours(error, account, f"{host}{subject}") from error

    def _ours(self, error: BaseException, account: Account, subject: str) -> DownloadError:
        """Return what an error of iRODS means; the session is not used again after some."""
        kind = next(ours for foreign, ours in _ERRORS.items() if isinstance(error, foreign))
        if isinstance(error.__context__, TimeoutError):
            kind = Stalled
        if issubclass(kind, ConnectFailed | Stalled | AccessDenied):
            sessions.forget(account)
            # What failed to log in would keep its connection open as long as it is told.
            traceback.clear_frames(error.__traceback__)
        told = " ".join(str(word) for word in error.args if word)
        return kind(f"{subject}: {type(error).__name__} {told}".rstrip())

    def _account(self) -> Account:
        """Return whom to log in; `set_param` wins over the credentials.

        Raises:
            OptionError: there is no user, or the port is none.
        """
        # BioMAJ core sends the text "None" for what a bank does not set.
        given = {key: value for key, value in (self.param or {}).items() if value != "None"}
        user, _, password = (self.credentials or "").partition(":")
        zone = given.get("zone") or self.rootdir.strip("/").partition("/")[0]
        port = str(given.get("port") or DEFAULT_PORT)
        user = given.get("user") or user
        if not user or not zone or not port.isdecimal():
            raise OptionError(
                "irods: expected parameters user, password, and perhaps port and zone, "
                f"got user={user!r} port={port!r} zone={zone!r}"
            )
        by_pam = self._values["irods_authentication"] == "pam_password"
        authorities = self._values["ssl_server_cert"] or shared.settings().authorities_file
        return Account(
            host=self.server,
            port=int(port),
            zone=zone,
            user=user,
            password=given.get("password") or password,
            authentication=self._values["irods_authentication"],
            by_tls=by_pam or self._values["irods_tls"],
            authorities_file=str(authorities or AUTHORITIES_FILE)
            if self._values["ssl_verifypeer"]
            else None,
            checks_host_name=self._values["ssl_verifyhost"],
            stall_seconds=self.stall_seconds() or None,
        )


def _joined(*parts: str) -> str:
    return re.sub("/{2,}", "/", "/" + "/".join(parts)).rstrip("/")


def _good_last(rows: Iterable[Any]) -> Sequence[Any]:
    """Return one row a replica, those that are whole and up to date last: they count."""
    return sorted(rows, key=lambda row: str(row[DataObject.replica_status]) == _GOOD_REPLICA)


def _instant(told: datetime) -> datetime:
    """Return a time of the catalogue, which is in UTC."""
    return told if told.tzinfo else told.replace(tzinfo=timezone.utc)


def _file(row: Any) -> RemoteFile:
    name, size_bytes = row[DataObject.name], int(row[DataObject.size])
    moment = _instant(row[DataObject.modify_time])
    return RemoteFile(
        name=name,
        size_bytes=size_bytes,
        day=moment.date(),
        modified_at=moment,
        hash=row[DataObject.checksum] or identity_hash(name, size_bytes, moment.date()),
        user=row[DataObject.owner_name],
    )


def _digest(checksum: str | None) -> Digest | None:
    """Return the digest in a checksum of the catalogue: `sha2:` and base64, or md5 in hex."""
    kind, separator, value = (checksum or "").partition(":")
    if not separator:
        return Digest("md5", kind.lower()) if re.fullmatch("[0-9A-Fa-f]{32}", kind) else None
    algorithm = {"sha1": "sha1", "sha2": "sha256", "sha512": "sha512"}.get(kind.lower())
    if algorithm is None:
        return None
    try:
        return Digest(algorithm, base64.b64decode(value, validate=True).hex())
    except ValueError:
        return None
