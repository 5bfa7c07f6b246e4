"""This host's disk: what its errors mean, and whether there is room on it.

In: an `OSError`, or how many bytes are to come.  Out: a `PublishError` that names the path, what
happened there, and what to do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from biomaj_download.errors import DiskFull, PublishError

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What a disk says (errno(3)), and what helps.
_REMEDIES = {
    errno.ENOSPC: "make room on its file system (`df -h` and, for the number of files, `df -i`)",
    errno.EDQUOT: "remove files of this user, or have the quota raised",
    errno.EROFS: "have the file system mounted for writing, or choose another directory",
    errno.EACCES: "let the user of this process write there",
    errno.EPERM: "let the user of this process write there, and see `lsattr`",
    errno.ENAMETOOLONG: "save the file under a shorter name",
    errno.ENOTDIR: "remove the file that stands where a directory is needed",
    errno.EEXIST: "remove the file that stands where a directory is needed",
    errno.EISDIR: "remove the directory that stands where the file shall be",
    errno.ENOENT: "do not remove directories that are downloaded to",
    errno.EFBIG: "choose a file system and limits (`ulimit -f`) that allow files of this size",
    errno.EIO: "look into the kernel's log: the disk or its server failed",
    errno.ESTALE: "look after the file server",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit of open files of this host (`sysctl fs.file-max`)",
}
#: A reserve that is larger than this part of its file system would leave no use for it.
_MOST_OF_A_FILE_SYSTEM = 2


class on_disk:
    """Have the disk's errors come out as ours; `path`: what is written or read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Let the disk be used."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Raise our error for the disk's."""
        if isinstance(error, OSError):
            raise disk_error(error, self._path) from error


def disk_error(error: OSError, path: Path) -> PublishError:
    """Return what an error of the disk means to who wanted to store a file at `path`."""
    number = error.errno or 0
    kind = DiskFull if number in _FULL else PublishError
    happened = os.strerror(number) if number else str(error) or type(error).__name__
    remedy = _REMEDIES.get(number)
    return kind(f"{shown(path)}: {happened}" + (f"; {remedy}" if remedy else ""))


def shown(path: Path) -> Path:
    """Return a path as people know it, where it leads through an open directory (proc(5))."""
    if not path.is_relative_to("/proc/self/fd"):
        return path
    return Path(os.path.realpath(path.parent), path.name)


def is_disk_error(number: int) -> bool:
    """Say whether an error number is one that a disk has."""
    return number in _REMEDIES


def check_writable(folder: Path) -> Path:
    """Return the folder, if it may be written to, or where it may be made.

    Raises:
        PublishError: it may not.
    """
    with on_disk(folder):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise disk_error(NotADirectoryError(errno.ENOTDIR, ""), there)
        if not os.access(there, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
            raise disk_error(OSError(errno.EROFS if is_read_only else errno.EACCES, ""), there)
    return there


def check_room(path: Path, part_path: Path, *, size_bytes: int, reserve_bytes: int) -> None:
    """Return if a file that arrives as `part_path` fits, and leaves the reserve free.

    One system call, as long as it does. The reserve is never more than half of a file system.
    What an earlier attempt left is gone on with, or makes room: its bytes are not missing.

    Raises:
        DiskFull: it does not fit.
        PublishError: the directory is not there.
    """
    with on_disk(path):
        disk = os.statvfs(path.parent)
    kept_free_bytes = min(reserve_bytes, disk.f_blocks * disk.f_frsize // _MOST_OF_A_FILE_SYSTEM)
    free_bytes = disk.f_bavail * disk.f_frsize
    # A file system that does not know its size (some of FUSE) says 0.
    if not disk.f_blocks or free_bytes >= size_bytes + kept_free_bytes:
        return
    missing_bytes = max(size_bytes - _stored_bytes(part_path), 0)
    if free_bytes < missing_bytes + kept_free_bytes:
        wanted = f"{missing_bytes} bytes more" if size_bytes else "an unknown number of bytes"
        raise DiskFull(
            f"{shown(path)}: needs {wanted}, beside {kept_free_bytes} that stay free "
            f"(storage.reserve_bytes), but {free_bytes} are free; make room on the file system "
            f"of {shown(path).parent}, or lower storage.reserve_bytes"
        )


def _stored_bytes(path: Path) -> int:
    """Return what a file takes of its file system, at most its size."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return min(status.st_size, status.st_blocks * 512)  # stat(2): blocks of 512 bytes
