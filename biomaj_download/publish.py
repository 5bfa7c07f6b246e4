"""Publish a verified file: the last stage of the road.

In: a verified `Part`.  Out: the file under its final name.
A reader of `local_dir` sees the whole file or none.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import NewType

from biomaj_download.disk import disk_error, on_disk, shown
from biomaj_download.errors import PublishError, UnsafePath
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.permissions import MOST_OF_A_DIRECTORY
from biomaj_download.transfer.partial import LONGEST_NAME_BYTES, Part

log = logging.getLogger("biomaj.download.publish")

#: What file systems say that cannot sync a directory (fsync(2)), or do not let us open it; and
#: a directory that is gone needs none. One that is read-only by now (EROFS) has failed: it took the
#: name just before.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOENT)

#: Line ends and their like would be taken for the end of the name by whoever reads a list of them.
_CONTROL = re.compile("[\0-\x1f\x7f]")
#: Names things in a directory, no more: enough to reach them, whatever its permissions for reading.
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

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
    if not parts or ".." in parts or _CONTROL.search(name):
        raise UnsafePath(f"expected a file name inside {local_dir}, got {name!r}")
    try:
        longest_bytes = max(len(os.fsencode(part)) for part in parts)
    except UnicodeEncodeError as error:
        raise UnsafePath(f"expected a name that a file can have, got {name!r}") from error
    if longest_bytes > LONGEST_NAME_BYTES:
        raise UnsafePath(
            f"{name}: expected names of at most {LONGEST_NAME_BYTES} bytes, got {longest_bytes}; "
            "save the file under a shorter name"
        )
    return parts


@contextmanager
def opened_place(
    local_dir: Path, path: SafePath, *, roots: Sequence[Path] = ()
) -> Iterator[SafePath]:
    """Open the directory of a `final_path`, made where it is missing.

    What comes out leads through the open directory (proc(5), `/proc/self/fd/`): whoever puts a link
    in its place meanwhile does not lead the file elsewhere. Links are followed on the way to
    `local_dir`, which is the operator's, and never below it. `roots`: resolved directories, in one
    of which `local_dir` must really lie; none: it may lie anywhere.

    Raises:
        UnsafePath: it would lead elsewhere.
        PublishError: this host does not let us, or something else than a file has the name.
    """
    if _CONTROL.search(str(local_dir)) or (roots and ".." in local_dir.parts):
        raise UnsafePath(f"expected the path of a directory, got {str(local_dir)!r}")
    with on_disk(path):
        directory = _opened_directory(local_dir, roots)
    try:
        with on_disk(path):
            below = path.parts[len(local_dir.parts) : -1]
            for depth, part in enumerate(below, start=1):
                so_far = local_dir.joinpath(*below[:depth])
                parent, directory = directory, _entered(directory, part, so_far)
                os.close(parent)
        place = SafePath(Path(f"/proc/self/fd/{directory}", path.name))
        check_replaceable(place)
        yield place
    finally:
        os.close(directory)


def check_replaceable(path: SafePath) -> None:
    """Return if nothing has this name, or a regular file.

    Raises:
        PublishError: something else has it.
    """
    with on_disk(path), suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise PublishError(
                f"{shown(path)}: expected no file there or a regular one, "
                f"got {stat.filemode(mode)}; remove it"
            )


def _opened_directory(local_dir: Path, roots: Sequence[Path]) -> int:
    """Open a directory, made where it is missing, if it really lies below one of the roots."""
    try:
        directory = os.open(local_dir, _DIRECTORY)
    except FileNotFoundError:
        parent = _opened_directory(local_dir.parent, roots)
        try:
            return _entered(parent, local_dir.name, local_dir)
        finally:
            os.close(parent)
    if roots:
        there = Path(os.readlink(f"/proc/self/fd/{directory}"))  # noqa: PTH115  # no path, but text
        if not any(there.is_relative_to(root) for root in roots):
            os.close(directory)
            allowed = ", ".join(str(root) for root in roots)
            raise UnsafePath(f"{local_dir}: expected a directory below {allowed} (storage.roots)")
    return directory


def _entered(parent: int, name: str, path: Path) -> int:
    """Open a directory in an open one, made where it is missing; a link is not followed.

    Raises:
        UnsafePath: it is a link.
    """
    with suppress(FileExistsError):
        try:
            return _without_links(parent, name, path)
        except FileNotFoundError:
            os.mkdir(name, MOST_OF_A_DIRECTORY, dir_fd=parent)
    return _without_links(parent, name, path)


def _without_links(parent: int, name: str, path: Path) -> int:
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise UnsafePath(f"{path}: expected a directory, got a link to one") from None
        raise


def set_time(part: Part, path: SafePath, modified_at: datetime | None) -> None:
    """Give a verified file its modification time, which is to be written through with it.

    Raises:
        PublishError: this host could not.
    """
    if modified_at is not None:
        with on_disk(path):
            part.set_modified(modified_at)


def give_name(part: Part, path: SafePath) -> None:
    """Give a verified file its final name.

    Raises:
        PublishError: this host could not; nothing new stands under the final name.
    """
    with on_disk(path):
        check_replaceable(path)
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
