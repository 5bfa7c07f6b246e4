"""The protocol `local`: files of this host, copied or hard-linked."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

from biomaj_download.cancellation import Cancellation
from biomaj_download.disk import on_disk
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.listing.fields import hash_of
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
        with (
            mapped({**_SOURCE_ERRORS, OSError: RemoteFileMissing}, subject=str(path)),
            self._found(path) as place,
        ):
            for entry in sorted(os.scandir(_by(place)), key=lambda entry: entry.name):
                status = _status(entry)
                if status is not None and (not entry.is_symlink() or self._may_read(entry.path)):
                    kept = directories if stat.S_ISDIR(status.st_mode) else files
                    kept.append(_remote_file(entry.name, status, self.rootdir))
        return Listing(files=tuple(files), directories=tuple(directories))

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Copy or link a file."""
        source = self._place_of(remote_file)
        started = time.monotonic()
        with mapped(_SOURCE_ERRORS, subject=str(source)), self._found(source) as place:
            status = os.fstat(place)
            if not stat.S_ISREG(status.st_mode):
                raise RemoteFileMissing(f"{source}: expected a regular file")
            if not (self.use_hardlinks and _linked(place, part)):
                _copy(place, part, self.cancellation)
        return Transferred(
            size_bytes=status.st_size,
            modified_at=_instant(status),
            seconds=time.monotonic() - started,
        )

    def _place_of(self, remote_file: RemoteFile) -> Path:
        return Path(remote_file.root or self.rootdir, remote_file.name.lstrip("/"))

    @contextmanager
    def _found(self, path: Path) -> Iterator[int]:
        """Name what a path leads to, through all links, without opening it: it may be a device.

        Raises:
            AccessDenied: it may not be read.
        """
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not self._may_read(_by(place)):
                allowed = ", ".join(str(root) for root in self.local_roots)
                raise AccessDenied(f"{path}: expected a path below {allowed} (local.roots)")
            yield place
        finally:
            os.close(place)

    def _may_read(self, path: str) -> bool:
        """Say whether what a path leads to lies below one of the roots."""
        if not self.local_roots:
            return True
        there = Path(os.path.realpath(path))
        return any(there.is_relative_to(root) for root in self.local_roots)

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Return the size of a file that is to be copied; a link takes no room."""
        if self.use_hardlinks:
            return None
        with suppress(OSError, AccessDenied), self._found(self._place_of(remote_file)) as place:
            return os.fstat(place).st_size
        return None

    def bytes_to_store(self, remote_file: RemoteFile) -> int:
        """Return how much room a file will take; a link takes none."""
        return 0 if self.use_hardlinks else super().bytes_to_store(remote_file)

    def checks(self, remote_file: RemoteFile) -> Checks:
        """Files of this host are taken as they are, unless a digest is given for them."""
        return Checks(archives=False, content=False, digests=self._expected_digests(remote_file))


def _by(place: int) -> str:
    """Return a path to what is named, whatever its own path means by now (proc(5))."""
    return f"/proc/self/fd/{place}"


def _linked(source: int, part: Part) -> bool:
    """Link a file; False where it lies on another file system."""
    with on_disk(part.path):
        part.path.unlink(missing_ok=True)
    try:
        # With a descriptor, Python asks for the file behind the path, as open(2) shows.
        os.link(_by(source), part.path, src_dir_fd=source, follow_symlinks=True)
    except OSError:
        return False
    return True


def _copy(source: int, part: Part, cancellation: Cancellation) -> None:
    """Copy a file, as long as it is wanted."""
    descriptor = os.open(_by(source), os.O_RDONLY | os.O_CLOEXEC)
    try:
        with on_disk(part.path):
            part.create()
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            cancellation.check()
            with on_disk(part.path):
                part.write(chunk)
    finally:
        os.close(descriptor)


def _instant(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, timezone.utc)


#: A link leads to nothing, to itself, or through a file (stat(2)).
_NOWHERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what a file or directory is; None: another thing, or a link that leads nowhere."""
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise
        return None
    return status if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode) else None


def _remote_file(name: str, status: os.stat_result, root: str) -> RemoteFile:
    face = f"{name} {status.st_size} {status.st_mtime_ns}"
    return RemoteFile(
        name=name,
        root=root,
        size_bytes=status.st_size,
        day=_instant(status).astimezone().date(),
        modified_at=_instant(status),
        hash=hash_of(face),
        permissions=stat.filemode(status.st_mode),
        group=str(status.st_gid),
        user=str(status.st_uid),
    )
