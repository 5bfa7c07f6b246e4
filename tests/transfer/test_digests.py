"""Digests of a file, by one reading for all of them."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import Cancelled, MissingLibrary
from biomaj_download.transfer.digests import Hashing, bsd_sum
from biomaj_download.transfer.followers import WatchedFile
from biomaj_download.transfer.partial import Part

BODY = os.urandom(9 * 1024 * 1024 + 7)


def hex_of(algorithm: str, body: bytes = BODY) -> str:
    return hashlib.new(algorithm, body).hexdigest()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(BODY)
    return path


def test_digests_are_those_of_the_file(path):
    algorithms = frozenset({"md5", "sha256", "sha512"})

    with WatchedFile(path, lambda: None) as file:
        assert Hashing(algorithms)(file) == {name: hex_of(name) for name in algorithms}


@pytest.mark.parametrize("size_bytes", [0, 1, 1023, 1024, 1025, 1_000_000])
def test_sum_is_that_of_coreutils(path, size_bytes):
    path.write_bytes(BODY[:size_bytes])
    told = subprocess.run(["sum", str(path)], capture_output=True, text=True, check=True).stdout
    checksum, blocks = told.split()[:2]

    assert bsd_sum(path) == f"{int(checksum)}:{int(blocks)}"


def test_sum_of_a_known_file_is_the_published_one(path):
    path.write_bytes(b"hello\n")

    assert bsd_sum(path) == "36979:1"


def test_a_missing_sum_is_named(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingLibrary, match="coreutils"):
        bsd_sum(path)


@pytest.mark.parametrize("size_bytes", [0, 10, 2_000_000, len(BODY)])
def test_a_part_tells_the_digests_of_what_it_was_given(tmp_path, size_bytes):
    part = Part(tmp_path / "a")
    part.follow([Hashing(frozenset({"sha256"}))])
    part.create()
    for start in range(0, size_bytes, 300_000):
        part.write(BODY[start : min(start + 300_000, size_bytes)])

    assert part.digests(["sha256"]) == {"sha256": hex_of("sha256", BODY[:size_bytes])}
    assert set(part.digests(["sha256", "sum", "md5"])) == {"sha256", "sum", "md5"}
    part.close()


def test_reading_a_file_ends_when_nobody_wants_its_digest(path):
    cancellation = Cancellation()
    cancellation.order(Why.UNWANTED)

    with WatchedFile(path, cancellation.check) as file, pytest.raises(Cancelled):
        Hashing(frozenset({"md5"}))(file)
