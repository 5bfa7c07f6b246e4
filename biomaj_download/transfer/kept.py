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
from dataclasses import asdict, dataclass
from pathlib import Path

from biomaj_download.machine import this_run

log = logging.getLogger("biomaj.download.kept")

SUFFIX = ".kept"
#: A shorter part is not worth a file: it begins again in a moment.
FROM_BYTES = 1024 * 1024
#: The bytes are synced so often that a power cut, or a crash of an NFS client, costs little.
_SYNC_EVERY_BYTES = 256 * 1024 * 1024


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


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an earlier transfer left: the version, and how many bytes are surely on the disk."""

    validators: Validators
    safe_bytes: int


class Keeper:
    """Keeps the record of one part that grows; `grown` is called by its writer."""

    def __init__(self, part_path: Path, validators: Validators) -> None:
        self._path = _beside(part_path)
        self._part_path = part_path
        self._validators = validators
        self._synced_bytes = 0
        self._syncing: threading.Thread | None = None
        self._write(0)

    def grown(self, written_bytes: int) -> None:
        """Have the bytes synced now and then, by a thread: the writer does not wait."""
        is_idle = self._syncing is None or not self._syncing.is_alive()
        if is_idle and written_bytes - self._synced_bytes >= _SYNC_EVERY_BYTES:
            self._synced_bytes = written_bytes
            self._syncing = threading.Thread(target=self._sync, args=(written_bytes,), daemon=True)
            self._syncing.start()

    def close(self) -> None:
        """Wait for the thread."""
        if self._syncing is not None:
            self._syncing.join()

    def _sync(self, written_bytes: int) -> None:
        try:
            descriptor = os.open(self._part_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._write(written_bytes)
        except OSError as error:  # the disk's own writer will say so
            log.debug("part not synced path=%s error=%s", self._part_path, error)

    def _write(self, synced_bytes: int) -> None:
        record = {
            **asdict(self._validators),
            "synced_bytes": synced_bytes,
            "run": this_run(),
            "inode": self._part_path.stat().st_ino,
        }
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            temporary.write_text(json.dumps(record), encoding="utf-8")
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def kept(part_path: Path) -> Kept | None:
    """Return what was kept of a part; None: it begins again.

    What this run of this machine wrote counts in full: only a power cut loses what was written.
    """
    try:
        told = json.loads(_beside(part_path).read_text(encoding="utf-8"))
        synced_bytes, run, inode = (told.pop(name) for name in ("synced_bytes", "run", "inode"))
        status = part_path.stat()
        if status.st_ino != inode:  # the record of another file that had this name
            return None
        size_bytes = status.st_size
        safe_bytes = size_bytes if run == this_run() else min(int(synced_bytes), size_bytes)
        return Kept(validators=Validators(**told), safe_bytes=safe_bytes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def forget(part_path: Path) -> None:
    """Remove the record."""
    _beside(part_path).unlink(missing_ok=True)


def _beside(part_path: Path) -> Path:
    return part_path.with_name(part_path.name.removesuffix(".part") + SUFFIX)
