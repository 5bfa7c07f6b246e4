"""Publish a verified file: the last stage of the road.

In: a verified `Part`.  Out: the file under its final name.
A reader of `local_dir` sees the whole file or none.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import NewType

from biomaj_download.disk import disk_error, on_disk
from biomaj_download.errors import UnsafePath
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.transfer.partial import Part

log = logging.getLogger("biomaj.download.publish")

#: What file systems say that cannot sync a directory (fsync(2)), or do not let us open it; and
#: a directory that is gone needs none.
_CANNOT_SYNC = (errno.EINVAL, errno.EROFS, errno.ENOTSUP, errno.EACCES, errno.ENOENT)

#: A path that is known to lie under the download directory.
SafePath = NewType("SafePath", Path)


def final_path(local_dir: Path, name: str, *, keep_directories: bool = True) -> SafePath:
    """Return where a remote name ends under `local_dir`.

    Raises:
        UnsafePath: the name would leave `local_dir`, or is none.
    """
    parts = _safe_parts(local_dir, name)
    if not keep_directories:
        parts = parts[-1:]
    return SafePath(local_dir.joinpath(*parts))


def final_name(local_dir: Path, name: str) -> str:
    """Return the text of a `final_path`, for who needs no more.

    Raises:
        UnsafePath: as there.
    """
    return "/".join((str(local_dir).rstrip("/"), *_safe_parts(local_dir, name)))


def _safe_parts(local_dir: Path, name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in name:
        raise UnsafePath(f"expected a file name inside {local_dir}, got {name!r}")
    return parts


def make_directory(path: SafePath) -> None:
    """Make the directory that a file will stand in, and see that it may have its name there.

    Raises:
        PublishError: this host does not let us.
    """
    with on_disk(path):
        directory = path.parent
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def publish(part: Part, path: SafePath, modified_at: datetime | None, *, is_durable: bool) -> None:
    """Give a verified file its modification time and its final name, in one step.

    `modified_at` None: leave it as it is. `is_durable`: the bytes outlive a power cut, not only
    this process; for the name see `sync_directories`.

    Raises:
        PublishError: this host could not store it; nothing new stands under the final name.
    """
    with on_disk(path):
        if modified_at is not None:
            part.set_modified(modified_at)
        if is_durable:
            part.sync()
        part.publish_as(path)


def modification_time(remote_file: RemoteFile, transferred: Transferred) -> datetime | None:
    """Return the instant to set on the file; None: leave it as it is.

    BioMAJ compares the file's local day with the day of the listing: an instant that would show
    another day here gives way to noon of the listed one.
    """
    instant = transferred.modified_at or remote_file.modified_at
    if remote_file.day is None:
        return instant
    if instant is not None and instant.astimezone().date() == remote_file.day:
        return instant
    return noon(remote_file.day)


def noon(day: date) -> datetime:
    """Return the middle of a day, local time: no change of clocks moves it to another day."""
    return datetime.combine(day, time(12)).astimezone()


def sync_directories(paths: Iterable[Path]) -> None:
    """Have the names in these directories outlive a power cut: once for many files.

    Raises:
        PublishError: the disk failed; a file system that cannot do it is taken as it is.
    """
    for path in paths:
        try:
            _sync(path)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise disk_error(error, path) from error
            log.debug("directory not synced path=%s error=%s", path, error)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
