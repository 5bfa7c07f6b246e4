"""The `.part` file that a transfer writes, in the folder where the file will stand."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from biomaj_download.cancellation import Cancellation
from biomaj_download.cores import any_core
from biomaj_download.errors import PublishError
from biomaj_download.permissions import PART_MODE, published_mode
from biomaj_download.transfer.digests import Hashing, bsd_sum
from biomaj_download.transfer.followers import Follower, Task, WatchedFile
from biomaj_download.transfer.kept import Keeper, Validators, forget, kept
from biomaj_download.transfer.ranges import Range, Ranges

#: A file system allows 255 bytes a name; the part's name is longer than the file's.
LONGEST_NAME_BYTES = 255
SUFFIX = ".part"
#: Who waits for another writer looks so often.
_LOOK_SECONDS = 0.1
#: A smaller file is hashed and tested when it is there, in a moment, rather than by threads.
_FOLLOWED_FROM_BYTES = 4 * 1024 * 1024

#: Chunks that the kernel takes in one call (IOV_MAX, writev(2)).
_MOST_AT_ONCE = 1024

#: A link under the name of a part would have us write elsewhere.
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE = os.O_RDWR | os.O_CREAT | _OPEN


def part_path(path: Path) -> Path:
    """Return the name under which a file arrives; hidden, and always short enough."""
    name = f".{path.name}{SUFFIX}"
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES:
        name = f".{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}{SUFFIX}"
    return path.with_name(name)


def remove_part(final: Path) -> None:
    """Remove what a transfer left of a file that is not wanted any more, unless another writes."""
    path = part_path(final)
    try:
        descriptor = os.open(path, os.O_RDWR | _OPEN)
    except OSError:  # it is gone, or none of ours
        return
    try:
        if _try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat()):
            path.unlink()
            forget(path)
    except FileNotFoundError:
        return
    finally:
        os.close(descriptor)


class Part:
    """The file that a transfer writes: `create` it and `write`, or have a library fill its `path`.

    It is opened once, for all that is done with it: a databank has many small files, and each
    system call is a chance for Python to change threads.
    """

    def __init__(self, final: Path, cancellation: Cancellation | None = None) -> None:
        self.path = part_path(final)
        self._cancellation = cancellation or Cancellation()
        self._descriptor: int | None = None
        #: What is there of the file, from its beginning to the first hole.
        self.written_bytes = 0
        #: What an earlier transfer left and this one goes on from.
        self.resumed_bytes = 0
        self._ranges = Ranges()
        self._tasks: tuple[Task, ...] = ()
        self._followers: dict[Task, Follower] = {}
        self._keeper: Keeper | None = None
        self._is_reusable = False
        self._lock = threading.Lock()
        self._is_ours = False

    def follow(self, tasks: Iterable[Task]) -> None:
        """Have these tasks read a large file while it is written, ahead of `outcome`."""
        self._tasks = tuple(tasks)

    @property
    def is_tested(self) -> bool:
        """Say whether a test, which takes longer than a digest, reads along."""
        return any(not isinstance(task, Hashing) for task in self._tasks)

    def create(self) -> None:
        """Make the file, empty; wait while another thread or process of this host writes it."""
        self.close()
        self._descriptor, size_bytes = self._lock_ours()
        if size_bytes:
            self.restart()

    def resume(self) -> Validators | None:
        """Open what an earlier transfer left, to write its rest; None: there is nothing of use."""
        self.close()
        self._descriptor, _ = self._lock_ours()
        left = kept(self.path)
        if left is None or left.ranges.end == 0:
            self.restart()
            return None
        os.ftruncate(self._descriptor, left.ranges.end)
        self._ranges = left.ranges
        self.written_bytes = left.ranges.beginning_bytes
        self.resumed_bytes = left.ranges.bytes_there
        self._keeper = self._new_keeper(left.validators)
        return left.validators

    @property
    def is_scattered(self) -> bool:
        """Say whether there is a hole before the last byte that is there."""
        return self._ranges.is_scattered

    def holes(self, size_bytes: int) -> list[Range]:
        """Return what the file still lacks, if it is of this size."""
        with self._lock:
            return self._ranges.holes(size_bytes)

    def reuse(self) -> None:
        """Open what an earlier transfer left, as it is: for who finds out what counts."""
        self.close()
        self._descriptor, _ = self._lock_ours()
        forget(self.path)
        self._is_reusable = True

    def restart(self) -> None:
        """Begin again, from nothing."""
        descriptor = self._opened()
        self._stop_helpers()
        forget(self.path)
        os.ftruncate(descriptor, 0)
        self._ranges = Ranges()
        self.written_bytes = self.resumed_bytes = 0

    def keep(self, validators: Validators) -> None:
        """Have what is written by now outlive a failure, as a beginning of this version."""
        if self._keeper is None and validators.can_tell():
            with suppress(OSError):  # a disk that cannot hold the record: the part begins again
                self._keeper = self._new_keeper(validators)

    def _new_keeper(self, validators: Validators) -> Keeper:
        inode = os.fstat(self._opened()).st_ino
        return Keeper(self.path, inode, validators, self._ranges)

    def present_bytes(self) -> int:
        """Return how much is there, holes left out; any thread may ask.

        A library that fills the path by itself tells us nothing: then the size on the disk.
        """
        with self._lock:
            there = self._ranges.bytes_there
        if not there and self._descriptor is not None:
            with suppress(OSError):
                return self.path.stat().st_size
        return there

    @property
    def is_kept(self) -> bool:
        """Say whether a later attempt can go on from here."""
        return self._keeper is not None or (self._is_reusable and self.present_bytes() > 0)

    def _lock_ours(self) -> tuple[int, int]:
        """Return the file's descriptor and size, when nobody else of this host writes it."""
        while True:
            descriptor = self._created()
            try:
                while not _try_lock(descriptor):
                    self._cancellation.sleep(_LOOK_SECONDS)
                    self._cancellation.check()
                size_bytes = self._size_of_ours(descriptor)
                if size_bytes is not None:
                    self._is_ours = True
                    return descriptor, size_bytes
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _created(self) -> int:
        """Open the file, made where it is missing; a link that has its name is removed."""
        while True:
            try:
                return os.open(self.path, _CREATE, PART_MODE)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
            self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes, /) -> int:
        """Add a chunk to the beginning, all of it; return its length."""
        return self.place((chunk,), self.written_bytes)

    def place(self, chunks: Sequence[bytes], offset: int) -> int:
        """Put chunks, one after the other, where they belong; return their length. By any thread.

        Where several streams fill the file, what is behind a hole waits for it to be filled:
        `written_bytes` does not count it.
        """
        with self._lock:
            if self._keeper is not None and offset > self.written_bytes:
                self._keeper.will_scatter()
        if len(chunks) > _MOST_AT_ONCE:
            chunks = (b"".join(chunks),)
        written = os.pwritev(self._opened(), chunks, offset)
        size_bytes = sum(map(len, chunks))
        while written < size_bytes:  # the disk is nearly full: the next one says so
            rest = b"".join(chunks)[written:]
            written += os.pwrite(self._opened(), rest, offset + written)
        with self._lock:
            self._placed(offset, written)
        return written

    def _placed(self, offset: int, written: int) -> None:
        """Count what is there now; the lock is held."""
        self._ranges.add(offset, offset + written)
        if self._ranges.beginning_bytes > self.written_bytes:
            self.written_bytes = self._ranges.beginning_bytes
            self._tell_followers()
        if self._keeper is not None:
            self._keeper.grown(written)

    def _tell_followers(self) -> None:
        """Tell who follows how much is there, without a hole, from the beginning."""
        if self.written_bytes > _FOLLOWED_FROM_BYTES:
            for task in self._tasks:
                if task not in self._followers:
                    self._followers[task] = Follower(self.path, task, self._cancellation.check)
                self._followers[task].grown(self.written_bytes)

    def write_at(self, chunk: bytes, offset: int) -> None:
        """Put a chunk where it belongs: for parts that arrive side by side, from many threads."""
        while chunk:
            written = os.pwrite(self._opened(), chunk, offset)
            chunk, offset = chunk[written:], offset + written

    def outcome(self, task: Task) -> Any:
        """Return what a task makes of the whole file: it may have followed, else it reads now.

        Raises:
            OSError: this host cannot read the file.
            Exception: what the task raised.
        """
        follower = self._followers.get(task)
        if follower is not None and follower.known_bytes == self.size_bytes():
            return follower.outcome()
        with WatchedFile(self.path, self._cancellation.check) as file:
            if self.size_bytes() <= _FOLLOWED_FROM_BYTES:
                return task(file)
            with any_core():
                return task(file)

    def digests(self, algorithms: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the whole file."""
        wanted = frozenset(algorithms)
        sums = {}
        if "sum" in wanted:
            with any_core():
                sums["sum"] = bsd_sum(self.path)
        hashed = wanted - {"sum"}
        return {**sums, **(self.outcome(Hashing(hashed)) if hashed else {})}

    def fileno(self) -> int:
        """Return the open file's descriptor: a program that inherits it holds its lock, too."""
        return self._opened()

    def read(self, most_bytes: int) -> bytes:
        """Return the beginning of the file."""
        return os.pread(self._opened(), most_bytes, 0)

    def size_bytes(self) -> int:
        """Return the size on the disk."""
        return os.fstat(self._opened()).st_size

    def set_modified(self, instant: datetime) -> None:
        """Set the modification time; a hard link is somebody's file, and keeps its own."""
        if os.fstat(self._opened()).st_nlink == 1:
            os.utime(self._opened(), (instant.timestamp(), instant.timestamp()))

    def sync(self) -> None:
        """Have the bytes outlive a power cut."""
        os.fsync(self._opened())

    def publish_as(self, path: Path) -> None:
        """Give the file its final name.

        Raises:
            PublishError: it has holes, or another file has its name by now.
        """
        if not self._is_in_its_place():
            raise PublishError(
                f"{path.name}: expected its part, which somebody took away meanwhile"
            )
        if self._ranges.is_scattered:
            raise PublishError(f"{path.name}: expected all of its bytes, got {list(self._ranges)}")
        if self._is_ours:  # a hard link is somebody's file: its mode stays
            os.fchmod(self._opened(), published_mode())
        self.path.replace(path)
        self._forget()

    def discard(self) -> None:
        """Remove the file, where the disk lets us: an earlier error has said what it does not.

        One that we have not opened is what an earlier attempt left, or another one's: it stays.
        """
        if self._descriptor is None:
            return
        with suppress(OSError):
            if self._is_in_its_place():
                self.path.unlink()
                self._forget()
        self.close()  # only now: who waits for it must find it gone

    def close(self) -> None:
        """Let go of the file; a later attempt may go on with what was kept."""
        try:
            if self._keeper is not None:
                self._keeper.close_noting()
            self._stop_helpers()
        finally:  # with the descriptor goes the lock that others wait for
            self._ranges = Ranges()
            self.written_bytes = 0
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _forget(self) -> None:
        """Remove the record: from now on, the name may be that of another one's part."""
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            keeper.close()
            forget(self.path)

    def _stop_helpers(self) -> None:
        for follower in self._followers.values():
            follower.abandon()
        self._followers.clear()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _size_of_ours(self, descriptor: int) -> int | None:
        """Return the size of the open file, if it is the one at our path, and has no other name.

        Who had the lock may have published it meanwhile; and a hard link that a killed process
        left behind is somebody's file: it goes, unchanged, as what is no regular file does.
        """
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return None
        if status.st_nlink > 1 or not stat.S_ISREG(status.st_mode):
            self.path.unlink(missing_ok=True)
            return None
        return status.st_size if os.path.samestat(os.fstat(descriptor), status) else None

    def _is_in_its_place(self) -> bool:
        """Say whether the open file still has the part's name."""
        try:
            return os.path.samestat(os.fstat(self._opened()), self.path.lstat())
        except FileNotFoundError:
            return False

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | _OPEN)
        return self._descriptor


def _try_lock(descriptor: int) -> bool:
    """Take an exclusive lock, unless another has one; a file system without is taken as it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
    return True
