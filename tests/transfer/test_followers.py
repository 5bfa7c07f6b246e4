"""Followers: what reads a file while it is written sees it whole, and leaves no thread behind."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import sys
import tarfile
import threading
import zlib

import pytest

from biomaj_download.archives import archive_test, broken
from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import ArchiveBroken, Cancelled
from biomaj_download.transfer.digests import Hashing
from biomaj_download.transfer.followers import Follower
from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.partial import Part

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Hardly to be compressed, and larger than what a part has followed from on.
NOISE = os.urandom(6 * 1024 * 1024 + 11)
HASHING = Hashing(frozenset({"md5", "sha256"}))
DIGESTS = {name: hashlib.new(name, NOISE).hexdigest() for name in HASHING.algorithms}
VALIDATORS = Validators(url="u", etag='"1"')


def block_gzip(data: bytes) -> bytes:
    """Return data as bgzip packs it: a member each 64,000 bytes, with an extra field."""
    members = []
    for start in range(0, len(data), 64_000):
        text = data[start : start + 64_000]
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = packer.compress(text) + packer.flush()
        header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
        members.append(header + struct.pack("<H", (len(body) + 25) & 0xFFFF) + body)
        members.append(struct.pack("<II", zlib.crc32(text), len(text)))
    return b"".join(members)


def tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVES = {
    "a.bgz.gz": block_gzip(NOISE),
    "a.bz2": bz2.compress(NOISE, 1),
    "a.gz": gzip.compress(NOISE, 1),
    "a.tar": tar(NOISE),
    "a.tar.gz": gzip.compress(tar(NOISE), 1),
    "a.xz": lzma.compress(NOISE, preset=0),
    "a.zst": zstd.compress(NOISE, options={zstd.CompressionParameter.checksum_flag: True}),
}


@pytest.fixture
def part(tmp_path):
    part = Part(tmp_path / "a")
    yield part
    part.close()


@pytest.fixture
def threads():
    """A function that names the followers that run."""

    def threads() -> int:
        return sum(thread.name == "follower" for thread in threading.enumerate())

    return threads


@pytest.fixture(params=sorted(ARCHIVES))
def name(request):
    return request.param


def fill(part: Part, body: bytes, *, piece_bytes: int = 300_000) -> None:
    """Write in pieces, as they come from a network."""
    for start in range(0, len(body), piece_bytes):
        part.write(body[start : start + piece_bytes])


def test_a_sound_archive_passes_while_it_arrives(part, name, threads):
    part.follow([archive_test(name)])
    part.create()

    fill(part, ARCHIVES[name])

    assert part.outcome(archive_test(name)) is None
    assert threads() == 0


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (name, place)
        for name in sorted(ARCHIVES)
        for place in (100, 3_000_000, -1_000)
        if name != "a.tar" or place == 100  # a tar has no checksum of its data
    ],
)
def test_an_archive_with_a_wrong_byte_is_broken_with_its_true_size(part, name, place):
    body = bytearray(ARCHIVES[name])
    for wrong in range(20):
        body[place + wrong] ^= 0xFF
    if name.startswith(("a.tar", "a.bgz")) and place == 100:
        body[0] ^= 0xFF
    part.follow([archive_test(name)])
    part.create()
    fill(part, bytes(body))

    with (
        pytest.raises(ArchiveBroken, match=f"got one of {len(body)} bytes"),
        broken(part.path, name),
    ):
        part.outcome(archive_test(name))


def test_an_archive_that_is_cut_is_broken(part, name):
    body = ARCHIVES[name][:-1_500_000]
    part.follow([archive_test(name)])
    part.create()
    fill(part, body)

    with pytest.raises(ArchiveBroken), broken(part.path, name):
        part.outcome(archive_test(name))


def test_digests_and_archive_are_followed_at_once(part, threads):
    test = archive_test("a.gz")
    body = ARCHIVES["a.gz"]
    part.follow([HASHING, test])
    part.create()
    fill(part, body)

    assert threads() <= 2
    assert part.digests(["sha256", "md5"])["md5"] == hashlib.md5(body).hexdigest()
    assert part.outcome(test) is None
    assert threads() == 0


def test_a_small_file_has_no_thread(part, threads):
    body = gzip.compress(b"ACGT" * 1000)
    part.follow([HASHING, archive_test("a.gz")])
    part.create()
    fill(part, body)

    assert threads() == 0
    assert part.outcome(HASHING)["md5"] == hashlib.md5(body).hexdigest()
    assert part.outcome(archive_test("a.gz")) is None


def test_what_did_not_come_through_the_part_is_read_at_the_end(part):
    part.follow([HASHING])
    part.create()
    fill(part, b"x" * 5_000_000)
    part.path.write_bytes(NOISE)

    assert part.outcome(HASHING) == DIGESTS


def test_a_resumed_part_is_followed_from_its_beginning(tmp_path):
    first = Part(tmp_path / "a")
    first.create()
    first.keep(VALIDATORS)
    fill(first, NOISE[:5_000_000])
    first.close()
    part = Part(tmp_path / "a")
    part.follow([HASHING])

    assert part.resume() == VALIDATORS
    fill(part, NOISE[5_000_000:])

    assert part.outcome(HASHING) == DIGESTS
    part.discard()


def test_a_part_that_begins_again_is_followed_anew(part, threads):
    part.follow([HASHING])
    part.create()
    fill(part, b"x" * 5_000_000)
    assert threads() == 1

    part.restart()
    assert threads() == 0
    fill(part, NOISE)

    assert part.outcome(HASHING) == DIGESTS


@pytest.mark.parametrize("end", ["close", "discard", "restart", "create"])
def test_a_part_that_is_given_up_leaves_no_thread(part, threads, end):
    part.follow([HASHING, archive_test("a.gz")])
    part.create()
    fill(part, ARCHIVES["a.gz"][:5_000_000])
    assert threads() > 0

    getattr(part, end)()

    assert threads() == 0


def test_a_cancelled_job_ends_its_followers(tmp_path):
    cancellation = Cancellation()
    part = Part(tmp_path / "a", cancellation)
    part.follow([HASHING])
    part.create()
    fill(part, b"x" * 5_000_000)

    cancellation.order(Why.UNWANTED)

    with pytest.raises(Cancelled):
        part.outcome(HASHING)
    part.discard()


def test_a_follower_reads_only_what_is_written_without_a_gap(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(5_000_000))  # as a writer leaves it who begins at several places
    follower = Follower(path, HASHING, lambda: None)
    with path.open("r+b", buffering=0) as file:
        for start in range(0, len(NOISE), 1_000_000):
            file.write(NOISE[start : start + 1_000_000])
            follower.grown(file.tell())

    assert follower.known_bytes == len(NOISE)
    assert follower.outcome() == DIGESTS


def test_what_the_disk_says_comes_out_as_it_is(tmp_path):
    path = tmp_path / "a"
    path.touch()

    def read(_file):
        raise OSError(5, "input/output error")

    with pytest.raises(OSError, match="input/output error"):
        Follower(path, read, lambda: None).outcome()


@pytest.mark.parametrize("is_sound", [True, False])
def test_a_large_archive_from_a_server_is_tested(tmp_path, nginx, threads, is_sound):
    body = bytearray(ARCHIVES["a.gz"])
    if not is_sound:
        body[-5] ^= 0xFF
    (nginx.root / "followed.fa.gz").write_bytes(body)
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", "/")
    downloader.set_options({"stop_condition": "stop_after_attempt(1)"})
    downloader.set_files_to_download([{"name": "followed.fa.gz"}])

    if is_sound:
        downloader.download(str(tmp_path))
    else:
        with pytest.raises(ArchiveBroken, match=f"got one of {len(body)} bytes"):
            downloader.download(str(tmp_path))

    assert (tmp_path / "followed.fa.gz").exists() == is_sound
    assert threads() == 0
