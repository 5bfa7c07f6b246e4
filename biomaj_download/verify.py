"""Check a fetched file before it is published: length, digest, archive integrity.

In: a `Part`, what the server said of it, and what was expected.  Out: nothing, or a
`VerifyError`, on which the pipeline fetches again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from biomaj_download.archives import check_archive
from biomaj_download.checksums import Digest
from biomaj_download.disk import on_disk
from biomaj_download.errors import DigestMismatch, SizeMismatch
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.transfer.partial import Part

log = logging.getLogger("biomaj.download.verify")


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What a bank wants checked; the length always is."""

    archives: bool = True
    digests: tuple[Digest, ...] = ()


def verify(
    part: Part, transferred: Transferred, remote_file: RemoteFile, checks: Checks, *, name: str
) -> None:
    """Return if the fetched file, which will be called `name`, is the one that was announced.

    Raises:
        SizeMismatch: it is longer or shorter than the server said with the body.
        DigestMismatch: a digest is not the expected one.
        ArchiveBroken: it does not unpack.
        PublishError: this host cannot read it.
    """
    _check_length(part, transferred, remote_file, name)
    _check_digests(part, checks.digests, name)
    if checks.archives:
        check_archive(part.path, name)
    log.debug("verified name=%s size_bytes=%d", name, transferred.size_bytes)


def _check_length(part: Part, transferred: Transferred, remote_file: RemoteFile, name: str) -> None:
    """Hold the file on the disk against what was announced with the body and what was received.

    A listing may be rounded, old or wrong: its size is a hint that is logged, no more.
    """
    with on_disk(part.path):
        stored_bytes = part.size_bytes()
    for announced_bytes in (transferred.announced_bytes, transferred.size_bytes):
        if announced_bytes is not None and announced_bytes != stored_bytes:
            raise SizeMismatch(name, announced_bytes=announced_bytes, received_bytes=stored_bytes)
    if remote_file.size_is_exact and remote_file.size_bytes not in (None, 0, stored_bytes):
        log.debug(
            "size differs from the listing name=%s listed_bytes=%d received_bytes=%d",
            name,
            remote_file.size_bytes,
            stored_bytes,
        )


def _check_digests(part: Part, expected: tuple[Digest, ...], name: str) -> None:
    if not expected:
        return
    with on_disk(part.path):
        received = part.digests(digest.algorithm for digest in expected)
    for digest in expected:
        found = Digest(digest.algorithm, received[digest.algorithm])
        if found != digest:
            raise DigestMismatch(name, announced=str(digest), received=str(found))
