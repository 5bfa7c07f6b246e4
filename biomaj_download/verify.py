"""Check a fetched file before it is published: length, digest, archive integrity.

In: a `Part`, what the server said of it, and what was expected.  Out: nothing, or a
`VerifyError`, on which the pipeline fetches again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from biomaj_download.archives import MOST_SECONDS, archive_test, broken, needs_whole_file
from biomaj_download.checksums import Digest
from biomaj_download.content import check_content
from biomaj_download.disk import on_disk
from biomaj_download.errors import DigestMismatch, SizeMismatch, Truncated
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.text import readable
from biomaj_download.transfer.digests import Hashing
from biomaj_download.transfer.followers import Task
from biomaj_download.transfer.partial import Part

log = logging.getLogger("biomaj.download.verify")

#: A page of HTML rounds sizes by less than that.
_LEAST_OF_LISTED_SIZE = 0.9


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What a bank wants checked; the length always is.

    `archive_seconds`: what an archive's test may use of the processor. `content`: that a file
    begins as its name says.
    """

    archives: bool = True
    archive_seconds: float = MOST_SECONDS
    content: bool = True
    digests: tuple[Digest, ...] = ()


def tasks(checks: Checks, name: str) -> Iterator[Task]:
    """Tell what of the checks of a file `name` can be done while its bytes arrive."""
    algorithms = frozenset(digest.algorithm for digest in checks.digests) - {"sum"}
    if algorithms:
        yield Hashing(algorithms)
    test = archive_test(name, checks.archive_seconds)
    if checks.archives and test is not None and not needs_whole_file(test):
        yield test


def verify(
    part: Part,
    transferred: Transferred,
    remote_file: RemoteFile,
    checks: Checks,
    *,
    name: str,
) -> None:
    """Return if the fetched file, which will be called `name`, is the one that was announced.

    Raises:
        Cancelled: nobody wants to know any more.
        SizeMismatch: it is longer or shorter than the server said with the body.
        UnexpectedContent: its beginning is of another kind than its name.
        Truncated: nobody said its length with the body, and it is much shorter than listed.
        DigestMismatch: a digest is not the expected one.
        ArchiveBroken: it does not unpack.
        PublishError: this host cannot read it.
    """
    stored_bytes = _check_length(part, transferred, name)
    if checks.content:
        with on_disk(part.path):
            check_content(part.read, name, is_from_web=transferred.is_from_web)
    _compare_with_listing(stored_bytes, transferred, remote_file, name)
    _check_digests(part, checks.digests, name)
    test = archive_test(name, checks.archive_seconds)
    if checks.archives and test is not None:
        with broken(part.path, name):
            part.outcome(test)
    log.debug("verified name=%s size_bytes=%d", readable(name), transferred.size_bytes)


def _check_length(part: Part, transferred: Transferred, name: str) -> int:
    """Hold the file on the disk against what was announced with the body and what was received."""
    with on_disk(part.path):
        stored_bytes = part.size_bytes()
    for announced_bytes in (transferred.announced_bytes, transferred.size_bytes):
        if announced_bytes is not None and announced_bytes != stored_bytes:
            raise SizeMismatch(name, announced_bytes=announced_bytes, received_bytes=stored_bytes)
    return stored_bytes


def _compare_with_listing(
    stored_bytes: int, transferred: Transferred, remote_file: RemoteFile, name: str
) -> None:
    """Take the listing's size for what it is: a hint, for it may be rounded, old or wrong.

    It counts only where nobody else can tell that a body was cut.
    """
    listed_bytes = remote_file.size_bytes or 0
    if transferred.ends_by_close and stored_bytes < listed_bytes * _LEAST_OF_LISTED_SIZE:
        raise Truncated(
            f"{name}: listed with {listed_bytes} bytes, received {stored_bytes}, "
            "and the server did not say how many would come"
        )
    if remote_file.size_is_exact and remote_file.size_bytes not in (None, 0, stored_bytes):
        log.debug(
            "size differs from the listing name=%s listed_bytes=%d received_bytes=%d",
            readable(name),
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
