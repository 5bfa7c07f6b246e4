"""A verified file on its last step: published by itself, or with many others at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.disk import disk_error, on_disk
from biomaj_download.errors import DownloadError
from biomaj_download.flush import Flusher
from biomaj_download.publish import SafePath, give_name, set_time
from biomaj_download.text import readable
from biomaj_download.transfer.partial import Part

log = logging.getLogger("biomaj.download.verified")


@dataclass(kw_only=True, eq=False)
class Verified:
    """A file that lacks its name only.

    `begun_at`: when its last attempt began, by the monotonic clock. `held`: keeps its part, with
    its lock, and its directory open.
    """

    part: Part
    path: SafePath
    modified_at: datetime | None
    size_bytes: int
    is_durable: bool
    begun_at: float
    cancellation: Cancellation
    held: ExitStack = field(default_factory=ExitStack)
    is_published: bool = False

    def publish(self) -> None:
        """Publish it, whatever that takes.

        Raises:
            Cancelled: it is not wanted any more, or another consumer has it.
            PublishError: this host could not store it; nothing new stands under the final name.
        """
        self.prepare()
        if self.is_durable:
            with on_disk(self.path):
                self.part.sync()
        self.cancellation.look()
        self.give_name()

    def prepare(self) -> None:
        """Do what comes before its bytes are written through; raises as `publish`."""
        set_time(self.part, self.path, self.modified_at)

    def give_name(self) -> None:
        """Do what comes after, and after a look whether it is still ours; raises as `publish`."""
        self.cancellation.check_ours()
        give_name(self.part, self.path)
        self.is_published = True
        log.info(
            "published name=%s size_bytes=%d seconds=%.3f",
            readable(self.path.name),
            self.size_bytes,
            time.monotonic() - self.begun_at,
        )

    def close(self) -> None:
        """Let go of it; what was not published goes, unless another consumer has it by now.

        Raises:
            PublishError: the disk (of NFS) says only now that it could not store it.
        """
        with self.held, on_disk(self.path):
            if not self.is_published and self.cancellation.why is not Why.TAKEN:
                self.part.discard()
            self.part.close()


def publish_all(files: Sequence[Verified], flusher: Flusher) -> list[DownloadError | None]:
    """Publish files and let go of them; return for each why it could not be, or None."""
    errors = [_error_of(file.prepare) for file in files]
    durable = [
        place for place, file in enumerate(files) if file.is_durable and errors[place] is None
    ]
    flushed = flusher.flush([files[place].part.fileno() for place in durable])
    for place, error in zip(durable, flushed, strict=True):
        if error is not None:
            errors[place] = disk_error(error, files[place].path)
    # To write through may take long: only now is asked, once for all, whether they are still ours.
    for look in {file.cancellation.look for file in files}:
        unasked = _error_of(look)
        errors = [error or unasked for error in errors]
    for place, file in enumerate(files):
        errors[place] = errors[place] or _error_of(file.give_name)
        unclosed = _error_of(file.close)
        errors[place] = errors[place] or unclosed
    return errors


def _error_of(step: Callable[[], object]) -> DownloadError | None:
    """Return why a step failed; a fault of ours is that of one file, too."""
    try:
        step()
    except DownloadError as error:
        return error
    except Exception as error:
        log.exception("unexpected failure")
        return DownloadError(f"unexpected failure: {error}")
    return None
