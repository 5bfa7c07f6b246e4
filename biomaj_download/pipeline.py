"""The road of one file: fetch, verify, publish, until it succeeds or the bank gives up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import tenacity

from biomaj_download.errors import DownloadError
from biomaj_download.job import Published, RemoteFile, Transferred
from biomaj_download.publish import SafePath, make_directory, publish
from biomaj_download.transfer.partial import claimed, part_path
from biomaj_download.verify import Checks, verify

log = logging.getLogger("biomaj.download.pipeline")


class Fetcher(Protocol):
    """What the road needs of a downloader."""

    is_durable: bool

    def checks(self) -> Checks:
        """Return what the bank wants checked."""

    def fetch(self, remote_file: RemoteFile, part_path: Path) -> Transferred:
        """Bring the bytes to `part_path`."""


def deliver(attempt: Callable[[], object], path: SafePath, retryer: tenacity.Retrying) -> None:
    """Bring one file home: attempt it until it is there, as often as the bank says.

    Raises:
        DownloadError: of the last attempt.
    """
    make_directory(path)
    with claimed(path):
        retryer(attempt)


def bring_home(downloader: Fetcher, remote_file: RemoteFile, path: SafePath) -> Published:
    """Fetch, verify and publish one file, once.

    Raises:
        DownloadError: one of the three failed; under the final name stands what stood there.
    """
    started = time.monotonic()
    part = part_path(path)
    try:
        transferred = downloader.fetch(remote_file, part)
        verify(transferred, remote_file, downloader.checks(), name=path.name)
        published = publish(transferred, remote_file, path, is_durable=downloader.is_durable)
    except DownloadError:
        part.unlink(missing_ok=True)
        raise
    log.info(
        "published name=%s size_bytes=%d seconds=%.3f",
        path.name,
        published.size_bytes,
        time.monotonic() - started,
    )
    return published
