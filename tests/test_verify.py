"""Verification of a fetched file: length, digest, and whether it unpacks."""

from __future__ import annotations

import gzip
import hashlib
import logging
from contextlib import closing

import pytest

from biomaj_download.checksums import Digest
from biomaj_download.errors import (
    ArchiveBroken,
    DigestMismatch,
    PublishError,
    SizeMismatch,
    Truncated,
    UnexpectedContent,
)
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.transfer.partial import Part
from biomaj_download.verify import Checks, verify

BODY = b">seq1\nACGT\n" * 100
EVERYTHING = Checks()
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.fixture
def fetched(tmp_path):
    """A function that returns a fetched file with that body."""

    def fetched(body: bytes = BODY, **known) -> tuple[Part, Transferred]:
        part = Part(tmp_path / "x")
        part.path.write_bytes(body)
        return part, Transferred(**{"size_bytes": len(body), **known})

    return fetched


def check(
    fetched: tuple[Part, Transferred], remote_file: RemoteFile, checks: Checks = EVERYTHING
) -> None:
    """Verify what was fetched, under the name that it will get."""
    with closing(fetched[0]):
        name = remote_file.save_as or remote_file.name
        verify(*fetched, remote_file, checks, name=name)


def test_a_file_of_the_announced_length_passes(fetched):
    check(fetched(announced_bytes=len(BODY)), RemoteFile(name="a.fa"))


def test_a_file_without_an_announced_length_passes(fetched):
    check(fetched(), RemoteFile(name="a.fa"))


@pytest.mark.parametrize("announced_bytes", [len(BODY) - 1, len(BODY) + 1, 0])
def test_a_file_of_another_length_than_announced_is_refused(fetched, announced_bytes):
    with pytest.raises(SizeMismatch, match=f"announced {announced_bytes} bytes, received 1100"):
        check(fetched(announced_bytes=announced_bytes), RemoteFile(name="a.fa"))


def test_a_file_that_is_not_whole_on_the_disk_is_refused(fetched):
    with pytest.raises(SizeMismatch, match="announced 1200 bytes, received 1100"):
        check(fetched(size_bytes=1200), RemoteFile(name="a.fa"))


@pytest.mark.parametrize(("size_bytes", "messages"), [(5, 1), (1100, 0), (0, 0), (None, 0)])
def test_the_size_of_the_listing_is_only_a_hint(fetched, caplog, size_bytes, messages):
    caplog.set_level(logging.DEBUG, logger="biomaj.download.verify")
    listed = RemoteFile(name="a.fa", size_bytes=size_bytes)

    check(fetched(announced_bytes=1100), listed)

    assert sum("differs from the listing" in message for message in caplog.messages) == messages


def test_a_rounded_size_of_the_listing_is_not_even_a_hint(fetched, caplog):
    caplog.set_level(logging.DEBUG, logger="biomaj.download.verify")

    check(fetched(), RemoteFile(name="a.fa", size_bytes=1024, size_is_exact=False))

    assert not any("differs" in message for message in caplog.messages)


def test_a_file_with_the_right_digests_passes(fetched):
    digests = (Digest("md5", MD5), Digest("sha256", hashlib.sha256(BODY).hexdigest()))

    check(fetched(), RemoteFile(name="a.fa"), Checks(digests=digests))


def test_a_file_with_another_digest_is_refused(fetched):
    expected = Digest("md5", "0" * 32)

    with pytest.raises(
        DigestMismatch, match=f"^a.fa: announced md5 {'0' * 32}, received md5 {MD5}"
    ):
        check(fetched(), RemoteFile(name="a.fa"), Checks(digests=(expected,)))


@pytest.mark.parametrize(
    ("name", "save_as"), [("a.gz", None), ("/sub/dir/a.gz", None), ("query?id=1", "b.gz")]
)
def test_an_archive_is_tested_by_the_suffix_of_its_final_name(fetched, name, save_as):
    remote_file = RemoteFile(name=name, save_as=save_as)

    check(fetched(gzip.compress(BODY)), remote_file)
    with pytest.raises(ArchiveBroken):
        check(fetched(BODY), remote_file, Checks(content=False))


def test_an_archive_that_is_saved_under_another_suffix_is_not_tested(fetched):
    check(fetched(BODY), RemoteFile(name="a.gz", save_as="a.fa"))


def test_archives_are_not_tested_where_the_bank_says_so(fetched):
    check(fetched(b"\x1f\x8b" + BODY), RemoteFile(name="a.gz"), Checks(archives=False))


def test_the_beginning_counts_even_where_archives_are_not_tested(fetched):
    with pytest.raises(UnexpectedContent):
        check(fetched(BODY), RemoteFile(name="a.gz"), Checks(archives=False))


@pytest.mark.parametrize("stored_bytes", [1000, 1100, 2000])
def test_a_body_that_ends_by_close_may_differ_from_a_rounded_size(fetched, stored_bytes):
    check(
        fetched(b"x" * stored_bytes, ends_by_close=True), RemoteFile(name="a.fa", size_bytes=1100)
    )


def test_a_body_that_ends_by_close_far_below_its_listed_size_was_cut(fetched):
    listed = RemoteFile(name="a.fa", size_bytes=1300)

    with pytest.raises(Truncated, match="listed with 1300 bytes, received 1100"):
        check(fetched(ends_by_close=True), listed)
    check(fetched(), listed)


def test_a_file_that_is_gone_is_this_hosts_fault(tmp_path):
    gone = (Part(tmp_path / "gone"), Transferred(size_bytes=1))

    with pytest.raises(PublishError, match=r"/\.gone\.part: No such file or directory"):
        check(gone, RemoteFile(name="a.fa"))
