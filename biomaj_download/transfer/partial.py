"""The `.part` file that a transfer writes, in the folder where the file will stand."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

#: A file system allows 255 bytes a name; the part's name is longer than the file's.
LONGEST_NAME_BYTES = 255
SUFFIX = ".part"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC

_claims = threading.Condition()
_claimed: set[Path] = set()


def part_path(path: Path) -> Path:
    """Return the name under which a file arrives; hidden, and always short enough."""
    name = f".{path.name}{SUFFIX}"
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES:
        name = f".{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}{SUFFIX}"
    return path.with_name(name)


class Part:
    """The file that a transfer writes: `write` it, or have a library fill its `path`.

    It is opened once, for all that is done with it: a databank has many small files, and each
    system call is a chance for Python to change threads.
    """

    def __init__(self, final: Path) -> None:
        self.path = part_path(final)
        self._descriptor: int | None = None

    def create(self) -> None:
        """Make the file, empty; wait while another process of this host writes it."""
        self.close()
        while self._descriptor is None:
            descriptor = os.open(self.path, _CREATE, 0o666)
            _lock(descriptor)
            if self._is_at(descriptor):
                os.ftruncate(descriptor, 0)
                self._descriptor = descriptor
            else:  # who had the lock has published it under its final name
                os.close(descriptor)

    def write(self, chunk: bytes, /) -> int:
        """Add a chunk; return how many of its bytes were taken."""
        return os.write(self._opened(), chunk)

    def size_bytes(self) -> int:
        """Return the size on the disk."""
        return os.fstat(self._opened()).st_size

    def set_modified(self, instant: datetime) -> None:
        """Set the modification time."""
        os.utime(self._opened(), (instant.timestamp(), instant.timestamp()))

    def sync(self) -> None:
        """Have the bytes outlive a power cut."""
        os.fsync(self._opened())

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self.close()  # only now: who waits for it must find it gone

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_at(self, descriptor: int) -> bool:
        """Say whether the open file still is the one at our path."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor


def _lock(descriptor: int) -> None:
    """Wait for an exclusive lock; a file system that has none (some Lustre) is taken as it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a file's final path: two requests for one file take turns within this process."""
    with _claims:
        while path in _claimed:
            _claims.wait()
        _claimed.add(path)
    try:
        yield
    finally:
        with _claims:
            _claimed.discard(path)
            _claims.notify_all()
