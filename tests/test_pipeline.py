from __future__ import annotations

import gzip

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import ArchiveBroken, DigestMismatch, Truncated
from tests.servers.faulty_http import Answer

GOOD = gzip.compress(b">a\nACGT\n" * 1000)
THREE_TIMES = {"stop_condition": "stop_after_attempt(3)", "wait_policy": "wait_none"}


@pytest.fixture
def downloader(faulty_http):
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(THREE_TIMES)
    downloader.set_files_to_download([{"name": "a.gz"}])
    return downloader


def test_a_corrupt_archive_is_fetched_again(downloader, faulty_http, tmp_path):
    corrupt = GOOD[:50] + b"\0" + GOOD[51:]
    faulty_http.add("/a.gz", Answer(body=corrupt), Answer(body=GOOD))

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.gz").read_bytes() == GOOD
    assert len(faulty_http.requests_for("/a.gz")) == 2


def test_a_file_that_stays_corrupt_never_gets_its_name(downloader, faulty_http, tmp_path):
    (tmp_path / "a.gz").write_bytes(b"the old one")
    faulty_http.add("/a.gz", Answer(body=GOOD[:-20]))

    with pytest.raises(ArchiveBroken):
        downloader.download(str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]
    assert (tmp_path / "a.gz").read_bytes() == b"the old one"
    assert len(faulty_http.requests_for("/a.gz")) == 3


def test_a_corrupt_archive_is_taken_where_the_bank_says_so(downloader, faulty_http, tmp_path):
    downloader.set_options({"skip_check_uncompress": "true"})
    faulty_http.add("/a.gz", Answer(body=GOOD[:-20]))

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.gz").read_bytes() == GOOD[:-20]


def test_a_truncated_body_is_fetched_again(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.gz", Answer(body=GOOD, cut_after=10), Answer(body=GOOD))

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.gz").read_bytes() == GOOD


def test_a_body_that_stays_truncated_is_an_error(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.gz", Answer(body=GOOD, cut_after=10))

    with pytest.raises(Truncated):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_known_digest_is_held(downloader, faulty_http, tmp_path):
    faulty_http.add("/a.gz", Answer(body=GOOD))
    downloader.set_files_to_download([{"name": "a.gz", "md5": "0" * 32}])

    with pytest.raises(DigestMismatch, match="0" * 32):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []
