from __future__ import annotations

import hashlib
import os
import subprocess
import threading

import pytest

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import Cancelled, MissingLibrary
from biomaj_download.transfer.digests import GrowingDigests, digests_of
from biomaj_download.transfer.partial import Part

BODY = os.urandom(9 * 1024 * 1024 + 7)


def go_on() -> None:
    """Let the reading go on."""


def hex_of(algorithm: str, body: bytes = BODY) -> str:
    return hashlib.new(algorithm, body).hexdigest()


def test_digests_are_those_of_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(BODY)

    assert digests_of(path, ["md5", "sha256", "sha512"], go_on) == {
        name: hex_of(name) for name in ("md5", "sha256", "sha512")
    }


@pytest.mark.parametrize("size_bytes", [0, 1, 1023, 1024, 1025, 1_000_000])
def test_sum_is_that_of_coreutils(tmp_path, size_bytes):
    path = tmp_path / "a"
    path.write_bytes(BODY[:size_bytes])
    told = subprocess.run(["sum", str(path)], capture_output=True, text=True, check=True).stdout
    checksum, blocks = told.split()[:2]

    assert digests_of(path, ["sum"], go_on) == {"sum": f"{int(checksum)}:{int(blocks)}"}


def test_sum_of_a_known_file_is_the_published_one(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")

    assert digests_of(path, ["sum"], go_on) == {"sum": "36979:1"}


def test_a_missing_sum_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(BODY)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingLibrary, match="coreutils"):
        digests_of(path, ["sum"], go_on)


def test_a_growing_file_is_hashed_while_it_is_written(tmp_path):
    path = tmp_path / "a"
    path.touch()
    digests = GrowingDigests(path, ["md5", "sha1"])

    with path.open("wb", buffering=0) as file:
        for start in range(0, len(BODY), 100_000):
            file.write(BODY[start : start + 100_000])
            digests.grown(file.tell())

    assert digests.values() == {"md5": hex_of("md5"), "sha1": hex_of("sha1")}


def test_an_abandoned_file_ends_its_thread(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(BODY)
    before = threading.active_count()
    digests = GrowingDigests(path, ["md5"])
    digests.grown(len(BODY))

    digests.abandon()

    assert threading.active_count() == before


@pytest.mark.parametrize("size_bytes", [10, len(BODY)])
def test_a_part_tells_the_digest_of_what_it_was_given(tmp_path, size_bytes):
    part = Part(tmp_path / "a")
    part.follow(["sha256"])
    part.create()
    for start in range(0, size_bytes, 300_000):
        part.write(BODY[start : min(start + 300_000, size_bytes)])

    assert part.digests(["sha256"], go_on) == {"sha256": hex_of("sha256", BODY[:size_bytes])}
    part.close()


def test_a_part_that_begins_again_forgets_what_it_was_given(tmp_path):
    part = Part(tmp_path / "a")
    part.follow(["md5"])
    part.create()
    part.write(b"x" * 5_000_000)

    part.create()
    part.write(BODY)

    assert part.digests(["md5"], go_on) == {"md5": hex_of("md5")}
    part.close()


def test_reading_a_file_ends_when_nobody_wants_its_digest(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(BODY)
    cancellation = Cancellation()
    cancellation.order(Why.UNWANTED)

    with pytest.raises(Cancelled):
        digests_of(path, ["md5"], cancellation.check)
