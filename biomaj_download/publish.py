"""Publish a verified file: the last stage of the road.

In: a `Transferred` under its `.part` name.  Out: a `Published` with its final path.
A reader of `local_dir` sees the whole file or none.
"""

from __future__ import annotations

import os
from datetime import date, datetime, time
from pathlib import Path
from typing import NewType

from biomaj_download.errors import PublishError, UnsafePath, mapped
from biomaj_download.job import Published, RemoteFile, Transferred

#: A path that is known to lie under the download directory.
SafePath = NewType("SafePath", Path)


def final_path(local_dir: Path, name: str, *, keep_directories: bool = True) -> SafePath:
    """Return where a remote name ends under `local_dir`.

    Raises:
        UnsafePath: the name would leave `local_dir`, or is none.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or any("\0" in part for part in parts):
        raise UnsafePath(f"expected a file name inside {local_dir}, got {name!r}")
    if not keep_directories:
        parts = parts[-1:]
    return SafePath(local_dir.joinpath(*parts))


def make_directory(path: SafePath) -> None:
    """Make the directory that a file will stand in.

    Raises:
        PublishError: this host does not let us.
    """
    with mapped({OSError: PublishError}, subject=str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)


def publish(
    transferred: Transferred, remote_file: RemoteFile, path: SafePath, *, is_durable: bool
) -> Published:
    """Give a verified file its modification time and its final name, in one step.

    `is_durable`: the file outlives a power cut, not only this process.

    Raises:
        PublishError: this host could not store it; nothing stands under the final name.
    """
    with mapped({OSError: PublishError}, subject=str(path)):
        modified = modification_time(remote_file, transferred)
        if modified is not None:
            os.utime(transferred.part_path, (modified.timestamp(), modified.timestamp()))
        if is_durable:
            _sync(transferred.part_path)
        transferred.part_path.replace(path)
        if is_durable:
            _sync(path.parent)
    return Published(path=path, size_bytes=transferred.size_bytes, seconds=transferred.seconds)


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
