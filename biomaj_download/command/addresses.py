"""Addresses as people write them -> downloaders of a file, or of what lies below a directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from biomaj_download.command.accounts import CREDENTIALS_VARIABLE, credentials_at
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import OptionError
from biomaj_download.transfer.outcome import redact

#: Scheme -> how an address of it looks.
SCHEMES = {
    "file": "file:///DIRECTORY/FILE",
    "ftp": "ftp://HOST/DIRECTORY/FILE",
    "ftps": "ftps://HOST/DIRECTORY/FILE",
    "http": "http://HOST/DIRECTORY/FILE",
    "https": "https://HOST/DIRECTORY/FILE",
    "irods": "irods://HOST/ZONE/COLLECTION/OBJECT",
    "rsync": "rsync://HOST/MODULE/DIRECTORY/FILE",
    "sftp": "sftp://HOST/DIRECTORY/FILE",
}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a file or a directory is; `host` has the port, where it is not the usual one.

    `path` is decoded, `raw_path` as it was written, with the query. `url` holds no account:
    `credentials` are those of its host, for all files there.
    """

    url: str
    scheme: str
    host: str
    hostname: str
    port: int | None
    path: str
    raw_path: str
    credentials: str | None = field(repr=False)

    @property
    def name(self) -> str:
        """Return the file's name; empty for a directory."""
        return self.path.rpartition("/")[2]

    @property
    def directory(self) -> str:
        """Return the directory that the file is in."""
        return self.path.rpartition("/")[0] or "/"


def read_address(url: str) -> Address:
    """Read an address.

    Raises:
        OptionError: it is none, or holds a password; or ~/.netrc cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError(f"{redact(url)}: expected an address, got: {error}") from error
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "file"):
        raise OptionError(
            f"{redact(url)}: expected an address with {', '.join(SCHEMES)} and a host"
        )
    if parts.password is not None:
        raise OptionError(
            f"{redact(url)}: expected no password in an address, which all users of this host can"
            f" see: put the account into ~/.netrc, or user:password into {CREDENTIALS_VARIABLE}"
        )
    return _address(parts, port)


def _address(parts: SplitResult, port: int | None) -> Address:
    host = parts.netloc.rpartition("@")[2]
    raw_path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    user = unquote(parts.username) if parts.username else None
    return Address(
        url=f"{parts.scheme}://{host}{raw_path}",
        scheme=parts.scheme,
        host=host,
        hostname=parts.hostname or "",
        port=port,
        path=unquote(parts.path, errors="surrogateescape") or "/",
        raw_path=raw_path,
        credentials=credentials_at(parts.hostname, user) if parts.hostname else None,
    )


def read_addresses(urls: Sequence[str], *, of_directories: bool = False) -> list[Address]:
    """Read addresses of files, or of directories, each once.

    Raises:
        OptionError: one is none, or of a directory; or one account would go to several hosts.
    """
    addresses = [read_address(url) for url in dict.fromkeys(urls)]
    for address in addresses:
        if not address.name and not of_directories:
            raise OptionError(
                f"{address.url}: expected the address of a file, got that of a directory:"
                f" biomaj-download sync {address.url} -d DIR"
            )
    if os.environ.get(CREDENTIALS_VARIABLE) and len({each.hostname for each in addresses}) > 1:
        raise OptionError(
            f"{CREDENTIALS_VARIABLE}: expected addresses of one host, which alone gets the account:"
            " put those of several hosts into ~/.netrc"
        )
    return addresses


def file_downloader(address: Address, options: Mapping[str, str]) -> DownloadInterface:
    """Return the downloader of one file; an HTTP address is taken as it stands."""
    if address.scheme in ("http", "https"):
        downloader = get_handler(
            f"direct{address.scheme}",
            address.host,
            "",
            [{"name": address.raw_path, "save_as": address.name}],
            options=options,
        )
        downloader.set_credentials(address.credentials)
        return downloader
    downloader = _below(address, address.directory, options)
    downloader.set_files_to_download([{"name": address.name}])
    return downloader


def tree_downloader(address: Address, options: Mapping[str, str]) -> DownloadInterface:
    """Return a downloader of what lies below a directory."""
    return _below(address, address.path, options)


def _below(address: Address, directory: str, options: Mapping[str, str]) -> DownloadInterface:
    server, param = address.host, None
    if address.scheme == "rsync":
        module, _, directory = directory.strip("/").partition("/")
        server = f"rsync://{address.host}/{module}"
    elif address.scheme == "irods":
        user, _, password = (address.credentials or "").partition(":")
        given = {"user": user, "password": password, "port": str(address.port or "")}
        server, param = address.hostname, {key: value for key, value in given.items() if value}
    protocol = "local" if address.scheme == "file" else address.scheme
    downloader = get_handler(protocol, server, directory, options=options, param=param)
    downloader.set_credentials(address.credentials)
    return downloader
