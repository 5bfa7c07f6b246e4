"""The protocol `local`: files of this host, copied or hard-linked."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

from biomaj_download.cancellation import Cancellation
from biomaj_download.disk import on_disk
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.options import CHECKSUM_OPTION, RETRY_OPTIONS, Option
from biomaj_download.errors import AccessDenied, RemoteFileMissing, TransferError, mapped
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.transfer.partial import Part
from biomaj_download.verify import Checks

_CHUNK_BYTES = 1024 * 1024
_SOURCE_ERRORS: dict[type[Exception], type[TransferError]] = {
    FileNotFoundError: RemoteFileMissing,
    NotADirectoryError: RemoteFileMissing,
    IsADirectoryError: RemoteFileMissing,
    PermissionError: AccessDenied,
    OSError: TransferError,
}


class LocalDownload(DownloadInterface):
    """Files below a directory of this host; `use_hardlinks` where the file system can."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (*RETRY_OPTIONS, CHECKSUM_OPTION)

    def __init__(self, rootdir: str, use_hardlinks: bool = False) -> None:
        super().__init__()
        self.rootdir = rootdir
        self.use_hardlinks = use_hardlinks
        self.protocol = "local"

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> LocalDownload:
        """Return a downloader of the files below `remote_dir`."""
        return cls(remote_dir)

    def entries(self, directory: str = "") -> Listing:
        """List a directory of this host."""
        path = Path(self.rootdir, directory.lstrip("/"))
        files: list[RemoteFile] = []
        directories: list[RemoteFile] = []
        with mapped({**_SOURCE_ERRORS, OSError: RemoteFileMissing}, subject=str(path)):
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                status = entry.stat() if entry.is_dir() or entry.is_file() else None
                if status is not None:
                    kept = directories if entry.is_dir() else files
                    kept.append(_remote_file(entry.name, status, self.rootdir))
        return Listing(files=tuple(files), directories=tuple(directories))

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Copy or link a file."""
        source = Path(remote_file.root or self.rootdir, remote_file.name.lstrip("/"))
        started = time.monotonic()
        with mapped(_SOURCE_ERRORS, subject=str(source)), _opened(source) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RemoteFileMissing(f"{source}: expected a regular file")
            if not (self.use_hardlinks and _linked(source, part)):
                _copy(descriptor, part, self.cancellation)
        return Transferred(
            size_bytes=status.st_size,
            modified_at=_instant(status),
            seconds=time.monotonic() - started,
        )

    def bytes_to_store(self, remote_file: RemoteFile) -> int:
        """Return how much room a file will take; a link takes none."""
        return 0 if self.use_hardlinks else super().bytes_to_store(remote_file)

    def checks(self, remote_file: RemoteFile) -> Checks:
        """Files of this host are taken as they are, unless a digest is given for them."""
        return Checks(archives=False, content=False, digests=self._expected_digests(remote_file))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file to read it: a fifo that nobody writes would keep who opens it waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _linked(source: Path, part: Part) -> bool:
    """Link a file; False where it lies on another file system."""
    with on_disk(part.path):
        part.path.unlink(missing_ok=True)
    try:
        os.link(source, part.path)
    except OSError:
        return False
    return True


def _copy(source: int, part: Part, cancellation: Cancellation) -> None:
    """Copy a file, as long as it is wanted."""
    with on_disk(part.path):
        part.create()
    while chunk := os.read(source, _CHUNK_BYTES):
        cancellation.check()
        with on_disk(part.path):
            part.write(chunk)


def _instant(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, timezone.utc)


def _remote_file(name: str, status: os.stat_result, root: str) -> RemoteFile:
    face = f"{name} {status.st_size} {status.st_mtime_ns}"
    return RemoteFile(
        name=name,
        root=root,
        size_bytes=status.st_size,
        day=_instant(status).astimezone().date(),
        modified_at=_instant(status),
        hash=hashlib.md5(
            face.encode("utf-8", "surrogateescape"), usedforsecurity=False
        ).hexdigest(),
        permissions=stat.filemode(status.st_mode),
        group=str(status.st_gid),
        user=str(status.st_uid),
    )
