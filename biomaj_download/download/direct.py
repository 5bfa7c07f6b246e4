"""The direct protocols: one file whose address is known; nothing is listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

from biomaj_download.checksums import Digest
from biomaj_download.download.curl import NO_HEAD, CurlDownload
from biomaj_download.download.filedict import FileDict, dated, dict_of, file_of
from biomaj_download.download.listing.fields import hash_of
from biomaj_download.errors import OptionError, TransferError
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.request import TransferResult

#: What an address may hold as it is: a direct name may carry a query, and be encoded already.
_AS_IT_IS = "/~%?&=:+,;@!$'()*#[]"


class DirectFTPDownload(CurlDownload):
    """One file of an FTP server; `save_as` is its base name unless told otherwise."""

    ALL_PROTOCOLS: ClassVar[tuple[str, ...]] = ("ftp", "ftps")

    def __init__(self, curl_protocol: str, host: str, rootdir: str = "") -> None:
        super().__init__(curl_protocol, host, rootdir)
        self.set_protocol(f"direct{self.curl_protocol}")

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> DirectFTPDownload:
        """Return a downloader of one file on `server`."""
        return cls(protocol.removeprefix("direct"), server, remote_dir)

    def set_files_to_download(self, files: Sequence[FileDict | str] | FileDict | str) -> None:
        """Set the one file, by its name or dict.

        Raises:
            OptionError: there are more.
        """
        super().set_files_to_download([_one_file(files)])
        file = self.files_to_download[0]
        if not file["save_as"]:
            file["save_as"] = self.save_as or self.default_name(file["name"])

    def set_save_as(self, save_as: str | None) -> None:
        """Set the name of the result."""
        super().set_save_as(save_as)
        for file in self.files_to_download:
            file["save_as"] = save_as

    def default_name(self, name: str) -> str:
        """Return the name of the result where none is set."""
        return Path(name).name

    def list(self, directory: str = "") -> tuple[Sequence[FileDict], Sequence[FileDict]]:
        """Ask the server for the file's size and date; what it does not tell stays unknown."""
        self._network_configuration()
        self.files_to_download = [
            file | self._told_by_server(file) for file in self.files_to_download
        ]
        return self.files_to_download, []

    def _told_by_server(self, given: FileDict) -> FileDict:
        remote_file = file_of(given)
        result: TransferResult | None = self.retryer(self._head, remote_file)
        if result is None:
            return dated(dict_of(remote_file)) | {"hash": None}
        day = result.modified_at.astimezone().date() if result.modified_at else None
        known = replace(
            remote_file,
            size_bytes=result.announced_bytes or remote_file.size_bytes,
            day=day or remote_file.day,
        )
        return dated(dict_of(known)) | {"hash": _face(known) if day else None}

    def _head(self, remote_file: RemoteFile) -> TransferResult | None:
        """Return length and date; None where the server does not answer such a question."""
        try:
            return self.or_by_https(
                lambda: self.moved(self.request(self.file_url(remote_file), head_only=True))
            )
        except TransferError as error:
            if not self.is_http() or error.reply not in NO_HEAD:
                raise
            return None

    def entries(self, directory: str = "") -> Listing:
        """Return the one file; there is nothing to list."""
        return Listing(files=tuple(file_of(file) for file in self.files_to_download))

    def match(
        self,
        patterns: Sequence[str],
        file_list: Sequence[FileDict],
        dir_list: Sequence[FileDict] | None = None,
        prefix: str = "",
        submatch: bool = False,
    ) -> None:
        """Take the one file, whatever the patterns say."""


class DirectHTTPDownload(DirectFTPDownload):
    """One file of an HTTP server, by GET or POST; `param` is the query or the form."""

    ALL_PROTOCOLS: ClassVar[tuple[str, ...]] = ("http", "https")

    def default_name(self, name: str) -> str:
        """Return the name of the result where none is set."""
        return name

    def file_url(self, remote_file: RemoteFile) -> str:
        """Return the address, with the parameters of a GET."""
        root = (remote_file.root or self.rootdir).strip("/")
        name = remote_file.name.lstrip("/")
        path = "/".join(part for part in (root, name) if part)
        url = f"{self.base_url()}/{quote(path, safe=_AS_IT_IS, errors='surrogateescape')}"
        if self.param and not self._is_post():
            url += f"{'&' if '?' in url else '?'}{urlencode(self.param)}"
        return url

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the answer to a GET or a POST."""
        body = urlencode(self.param or {}) if self._is_post() else None
        return self.fetch_url(self.file_url(remote_file), part, remote_file, post_body=body)

    def _published_digest(self, remote_file: RemoteFile, *, must: bool) -> Digest | None:
        """Return the digest beside a file; the answer to a question has none."""
        is_question = self.param or self._is_post() or "?" in remote_file.name
        return None if is_question else super()._published_digest(remote_file, must=must)

    def _is_post(self) -> bool:
        return self.method.upper() == "POST"

    def set_method(self, method: str) -> None:
        """Set the HTTP method.

        Raises:
            OptionError: it is neither GET nor POST.
        """
        if str(method).upper() not in ("GET", "POST"):
            raise OptionError(f"method: expected GET or POST, got {method!r}")
        super().set_method(method)

    def _head(self, remote_file: RemoteFile) -> TransferResult | None:
        """A form has no length before it is sent."""
        return None if self._is_post() else super()._head(remote_file)


def _face(file: RemoteFile) -> str:
    """Return what stays the same while the file does."""
    return hash_of(f"{file.name} {file.size_bytes} {file.day}")


def _one_file(files: Sequence[FileDict | str] | FileDict | str) -> FileDict | str:
    """Return the only file; direct protocols take one name or dict.

    Raises:
        OptionError: there are more, or none.
    """
    if isinstance(files, str | dict):
        return files
    if len(files) != 1:
        raise OptionError(f"direct download: expected one file, got {len(files)}")
    return files[0]
