"""The road of one file: fetch, verify, publish, until it succeeds or the bank gives up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Protocol

import tenacity

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.disk import check_room
from biomaj_download.errors import (
    Cancelled,
    DigestMismatch,
    DiskFull,
    DownloadError,
    RemoteFileMissing,
    TransferError,
    UnexpectedContent,
)
from biomaj_download.job import Published, RemoteFile, Transferred
from biomaj_download.meter import Meter
from biomaj_download.observer import Observer
from biomaj_download.publish import SafePath, modification_time
from biomaj_download.transfer.partial import Part, remove_part
from biomaj_download.verified import Verified
from biomaj_download.verify import Checks, tasks, verify

#: To write a larger file through takes longer than the wait for another thread.
MOST_BYTES_LEFT = 1024 * 1024


class Fetcher(Protocol):
    """What the road needs of a downloader.

    `leaves_small`: says whether a small file is to be left to who asked for it, as `unpublished`.
    """

    is_durable: bool
    leaves_small: Callable[[], bool]
    unpublished: Verified | None
    reserve_bytes: int
    cancellation: Cancellation
    meter: Meter
    observer: Observer

    def bytes_to_store(self, remote_file: RemoteFile) -> int:
        """Return how much room a file will take, as listed; 0: nobody knows."""

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Ask the server for a file's size; None: it does not tell."""

    def checks(self, remote_file: RemoteFile) -> Checks:
        """Return what is to be checked of a file."""

    def doubt_checks(self, remote_file: RemoteFile, mismatch: DigestMismatch) -> None:
        """Have the digests of a file asked for again; raise where that has been done in vain."""

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the bytes into `part`."""


def deliver(
    attempt: Callable[[], object],
    path: SafePath,
    retryer: tenacity.Retrying,
    cancellation: Cancellation,
) -> None:
    """Bring one file home: attempt it until it is there, as often as the bank says.

    Raises:
        Cancelled: it is not to be brought any more.
        DownloadError: of the last attempt.
    """
    cancellation.check()
    try:
        retryer(attempt)
    except Cancelled:
        if cancellation.why is Why.UNWANTED:
            remove_part(path)
        raise


def bring_home(downloader: Fetcher, remote_file: RemoteFile, path: SafePath) -> Published:
    """Fetch, verify and publish one file, once; or leave the last of it to who asked.

    Raises:
        DownloadError: one of the three failed; under the final name stands what stood there.
    """
    started = time.monotonic()
    cancellation = downloader.cancellation
    cancellation.check()
    with ExitStack() as held:
        part = held.enter_context(closing(Part(path, cancellation)))
        size_bytes = _checked_size(downloader, remote_file, path, part)
        downloader.meter.begin(path.name, size_bytes, part)
        try:
            checks = downloader.checks(remote_file)
            part.follow(tasks(checks, path.name))
            transferred = downloader.fetch(remote_file, part)
            downloader.meter.end()
            downloader.observer.resumed(part.resumed_bytes)
            verify(part, transferred, remote_file, checks, name=path.name)
            verified = Verified(
                part=part,
                path=path,
                modified_at=modification_time(remote_file, transferred),
                size_bytes=transferred.size_bytes,
                is_durable=downloader.is_durable,
                begun_at=started,
                cancellation=cancellation,
            )
            if transferred.size_bytes <= MOST_BYTES_LEFT and downloader.leaves_small():
                verified.held = held.pop_all()
                downloader.unpublished = verified
            else:
                verified.publish()
        except DownloadError as error:
            downloader.meter.end()
            if not _may_go_on(part, error, cancellation.why):
                part.discard()
            if isinstance(error, DigestMismatch):  # the file or its digest: both are fetched again
                downloader.doubt_checks(remote_file, error)
            raise
    return Published(size_bytes=transferred.size_bytes, seconds=transferred.seconds)


def _checked_size(downloader: Fetcher, remote_file: RemoteFile, path: SafePath, part: Part) -> int:
    """Return how much will be stored, if there is room for it; 0: nobody knows.

    A listed size may be wrong: where there is no room for it, the server's word counts, and where
    the server gives none, the disk will say.

    Raises:
        DiskFull: there is none.
    """
    room_for = partial(check_room, path, part.path, reserve_bytes=downloader.reserve_bytes)
    size_bytes = downloader.bytes_to_store(remote_file)
    try:
        room_for(size_bytes=size_bytes)
    except DiskFull:
        if not size_bytes:
            raise
        size_bytes = downloader.told_size(remote_file) or 0
        room_for(size_bytes=size_bytes)
    return size_bytes


def _may_go_on(part: Part, error: DownloadError, why: Why | None) -> bool:
    """Say whether what came before an error is a beginning, for us or for another consumer."""
    if why is Why.TAKEN:
        return True
    is_sound = isinstance(error, Cancelled) or (
        isinstance(error, TransferError)
        and not isinstance(error, RemoteFileMissing | UnexpectedContent)
    )
    return is_sound and part.is_kept
