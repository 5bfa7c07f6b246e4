"""Bombs: files that unpack to much more than they are, or make whoever looks into them remember."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from biomaj_download.archives import MOST_ZIP_DIRECTORY_BYTES
from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import ArchiveBroken
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer

GIB = 1024**3
#: A process that tests a file says how much more memory it has used than before.
TESTER = """
import resource, sys
from pathlib import Path
from biomaj_download.archives import archive_test
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
with Path(sys.argv[1]).open("rb") as file:
    archive_test(sys.argv[2])(file)
print((used() - before) * 1024)
"""
MOST_BYTES = 24 * 1024 * 1024


@pytest.fixture(scope="module")
def deflated() -> bytes:
    """1 GiB of zeros, raw: some 1 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunk = bytes(16 * 1024 * 1024)
    packed = b"".join(packer.compress(chunk) for _ in range(GIB // len(chunk)))
    return packed + packer.flush()


@pytest.fixture(scope="module")
def bomb(deflated) -> bytes:
    """The same as a gzip file."""
    head = gzip.compress(b"")[:10]
    chunk, crc = bytes(16 * 1024 * 1024), 0
    for _ in range(GIB // len(chunk)):
        crc = zlib.crc32(chunk, crc)
    return head + deflated + crc.to_bytes(4, "little") + GIB.to_bytes(4, "little")


def test_a_bomb_of_1_gib_is_tested_in_constant_memory(bomb, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(bomb)

    tested = subprocess.run(
        [sys.executable, "-c", TESTER, path, "bomb.gz"], capture_output=True, check=True, text=True
    )

    assert len(bomb) < 1.1 * 1024**2
    assert int(tested.stdout) < MOST_BYTES


@pytest.fixture
def downloader(faulty_http):
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    return downloader


def test_a_bomb_is_refused_when_its_seconds_are_up(downloader, faulty_http, bomb, tmp_path):
    faulty_http.add("/bomb.gz", Answer(body=bomb * 8))
    downloader.set_options({"check_uncompress_seconds": "1"})
    downloader.set_files_to_download(["bomb.gz"])

    with pytest.raises(ArchiveBroken, match="more than 1 seconds to unpack"):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_zip_of_members_that_overlap_is_refused(downloader, faulty_http, tmp_path):
    faulty_http.add("/bomb.zip", Answer(body=overlapping(members=100)))
    downloader.set_options({"check_uncompress_seconds": "1"})
    downloader.set_files_to_download(["bomb.zip"])

    with pytest.raises(ArchiveBroken):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def overlapping(*, members: int) -> bytes:
    """Return a zip whose directory names one member of 300 MB again and again."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("zeros", "w") as member:
            for _ in range(300):
                member.write(bytes(1024 * 1024))
        archive.filelist *= members
        archive._didModify = True
    return whole.getvalue()


def test_a_zip_directory_that_would_fill_the_memory_is_not_read(
    downloader, faulty_http, tmp_path, caplog
):
    faulty_http.add("/wide.zip", Answer(body=wide_zip()))
    downloader.set_files_to_download(["wide.zip"])

    downloader.download(str(tmp_path))

    assert "archive not tested name=wide.zip reason=its directory has" in caplog.text


def wide_zip() -> bytes:
    """Return a zip whose directory is as long as a million members would make it."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a", b"")
    data = whole.getvalue()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[start:end]
    entries = entry * (MOST_ZIP_DIRECTORY_BYTES // len(entry) + 1)
    tail = bytearray(data[end:])
    tail[12:16] = len(entries).to_bytes(4, "little")
    return data[:start] + entries + bytes(tail)


def test_nothing_is_extracted(downloader, faulty_http, tmp_path: Path):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("../evil", b"evil")
        archive.writestr("/tmp/evil", b"evil")
    faulty_http.add("/a.zip", Answer(body=body.getvalue()))
    home = tmp_path / "home"
    downloader.set_files_to_download(["a.zip"])

    downloader.download(str(home))

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.zip"]
