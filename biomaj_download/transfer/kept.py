"""What is kept of a transfer that broke off: beside the `.part`, what the server said of the file.

In: a server's answer.  Out: a small JSON file, by which a later attempt, another process or another
machine that shares the disk knows whether the file is still the same one, and how much of the part
counts. A part without it begins again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from biomaj_download.cores import any_core
from biomaj_download.machine import this_run
from biomaj_download.permissions import STATE_MODE
from biomaj_download.transfer.ranges import Ranges

log = logging.getLogger("biomaj.download.kept")

SUFFIX = ".kept"
#: A shorter part is not worth a file: it begins again in a moment.
FROM_BYTES = 1024 * 1024
#: The bytes are synced so often that a power cut, or a crash of an NFS client, costs little.
_SYNC_EVERY_BYTES = 64 * 1024 * 1024
#: What lies behind a hole is noted so often: a killed process loses no more of it, but for what
#: came while the file was synced.
_NOTE_EVERY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Validators:
    """What tells two versions of a file apart, as the server said it.

    `etag` only where it is a strong one (RFC 9110, section 8.8.1). `modified`: Last-Modified as it
    came, or the time in an MDTM reply, or what SFTP's stat says.
    """

    url: str
    size_bytes: int | None = None
    etag: str | None = None
    modified: str | None = None

    def can_tell(self) -> bool:
        """Say whether they suffice to know this version again."""
        return self.etag is not None or (self.modified is not None and self.size_bytes is not None)

    def may_be(self, other: Validators) -> bool:
        """Say whether nothing tells two versions apart; what one of them lacks does not.

        A 206 need not repeat what If-Range has made sure of (RFC 9110, section 15.3.7).
        """
        is_marked = self.etag is not None and other.etag is not None
        pairs = (
            (self.size_bytes, other.size_bytes),
            (self.etag, other.etag) if is_marked else (self.modified, other.modified),
        )
        return all(one is None or two is None or one == two for one, two in pairs)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an earlier transfer left: the version, and which bytes are surely on the disk."""

    validators: Validators
    ranges: Ranges


class Keeper:
    """Keeps the record of one part that grows; `grown` is called by its writer.

    As long as the part has no holes, its size tells what is written; from the first hole on, the
    record does.
    """

    def __init__(self, part_path: Path, inode: int, validators: Validators, ranges: Ranges) -> None:
        self._path = _beside(part_path)
        #: Of the file that is written: another one may have its name by now.
        self._inode = inode
        self._part_path = part_path
        self._validators = validators
        self._ranges = ranges
        self._written: list[tuple[int, int]] | None = None
        self._synced: list[tuple[int, int]] = []
        self._unnoted_bytes = 0
        self._unsynced_bytes = sum(end - first for first, end in ranges)
        self._syncing: threading.Thread | None = None
        #: The writer and the thread that syncs both write the record.
        self._lock = threading.Lock()
        self._note()

    def will_scatter(self) -> None:
        """Note which bytes are there, before the first that lie behind a hole are written.

        Raises:
            OSError: the disk cannot hold the record.
        """
        if self._written is None:
            self._note(scattered=True)

    def grown(self, written_bytes: int) -> None:
        """Note and sync so many more bytes now and then; a thread syncs: the writer does not wait.

        Raises:
            OSError: the disk cannot hold the record.
        """
        self._unsynced_bytes += written_bytes
        self._unnoted_bytes += written_bytes
        if self._syncing is not None and self._syncing.is_alive():
            return  # a new record would have to wait for what the file system syncs
        if self._written is not None and self._unnoted_bytes >= _NOTE_EVERY_BYTES:
            self._note(scattered=True)
        if self._unsynced_bytes >= _SYNC_EVERY_BYTES:
            syncing = threading.Thread(target=self._sync, args=(list(self._ranges),), daemon=True)
            with suppress(RuntimeError):  # no thread more for this user: a later chunk tries again
                syncing.start()
                self._unsynced_bytes, self._syncing = 0, syncing

    def close(self) -> None:
        """Wait for the thread."""
        if self._syncing is not None:
            self._syncing.join()

    def close_noting(self) -> None:
        """Note all that is written, for a later attempt, and wait for the thread."""
        self.close()
        if self._written is None or not self._unnoted_bytes:
            return
        try:
            if self._part_path.exists():
                self._note(scattered=True)
        except OSError as error:  # the record of a little earlier stands
            log.debug("part not noted path=%s error=%s", self._part_path, error)

    def _sync(self, ranges: list[tuple[int, int]]) -> None:
        try:
            descriptor = os.open(self._part_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with any_core():
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            with self._lock:
                self._synced = ranges
                self._write()
        except OSError as error:  # the disk's own writer will say so
            log.debug("part not synced path=%s error=%s", self._part_path, error)

    def _note(self, *, scattered: bool = False) -> None:
        with self._lock:
            self._unnoted_bytes = 0
            self._written = list(self._ranges) if scattered or self._ranges.is_scattered else None
            self._write()

    def _write(self) -> None:
        record = {
            **asdict(self._validators),
            "written": self._written,
            "synced": self._synced,
            "run": this_run(),
            "inode": self._inode,
        }
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            temporary.unlink(missing_ok=True)
            with open(temporary, "x", encoding="utf-8", opener=_privately) as file:
                json.dump(record, file)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def kept(part_path: Path) -> Kept | None:
    """Return what was kept of a part; None: it begins again.

    What this run of this machine wrote counts in full: only a power cut loses what was written.
    """
    try:
        with open(_beside(part_path), encoding="utf-8", opener=_at_once) as file:
            told = json.load(file)
        written, synced, run, inode = (
            told.pop(name) for name in ("written", "synced", "run", "inode")
        )
        status = part_path.stat()
        if status.st_ino != inode:  # the record of another file that had this name
            return None
        if run != this_run():
            written = synced
        elif written is None:
            written = [(0, status.st_size)]
        return Kept(validators=Validators(**told), ranges=_within(written, status.st_size))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _within(ranges: Iterable[tuple[int, int]], size_bytes: int) -> Ranges:
    return Ranges((max(int(first), 0), min(int(end), size_bytes)) for first, end in ranges)


def _privately(path: str, flags: int) -> int:
    """Open a file for this user alone."""
    return os.open(path, flags, STATE_MODE)


def _at_once(path: str, flags: int) -> int:
    """Open what has the name of a record, but no link, and no fifo that nobody writes."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def forget(part_path: Path) -> None:
    """Remove the record."""
    _beside(part_path).unlink(missing_ok=True)


def _beside(part_path: Path) -> Path:
    return part_path.with_name(part_path.name.removesuffix(".part") + SUFFIX)
