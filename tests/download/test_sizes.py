"""Sizes and days that a web server's page rounds or leaves out are asked for."""

from __future__ import annotations

import base64
import os
from datetime import date

import pytest

from biomaj_download.download.curl import CurlDownload, HTTPParse
from tests.contract.downloader import MODIFIED, ONCE
from tests.servers.faulty_http import Answer

INDEX = (
    b'<title>Index of /</title><pre><a href="a.dat">a.dat</a>  2024-02-29 12:30  1.2K\n'
    b'<a href="b.dat">b.dat</a>  2024-02-29 12:30  1.2K\n</pre>'
)
LAST_MODIFIED = "Thu, 29 Feb 2024 12:30:00 GMT"


@pytest.fixture
def rounded(nginx, request):
    """A downloader of a real index with rounded sizes, and the name of its folder."""
    folder = nginx.root / f"sizes-{abs(hash(request.node.nodeid))}"
    (folder / "sub").mkdir(parents=True)
    for name, size in (("a.dat", 12_345), ("b.dat", 23_456), ("small.dat", 7), ("sub/c", 34_567)):
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (MODIFIED.timestamp(), MODIFIED.timestamp()))
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", f"/rounded/{folder.name}")
    downloader.set_options(ONCE)
    return downloader, folder.name


@pytest.fixture
def downloader(faulty_http):
    faulty_http.add("/", Answer(body=INDEX))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)
    return downloader


def sizes(downloader, pattern=".*"):
    files, directories = downloader.list()
    downloader.match([pattern], files, directories)
    return {file["name"]: file["size"] for file in downloader.files_to_download}


def test_a_rounded_size_is_asked_for_where_the_file_matches(rounded, nginx):
    downloader, folder = rounded

    assert sizes(downloader, "^[as]") == {"a.dat": 12_345, "small.dat": 7}

    asked = [
        line.split()[2]
        for line in nginx.access_log.read_text().splitlines()
        if "HEAD" in line and folder in line
    ]
    assert asked == [f"/rounded/{folder}/a.dat"]


def test_a_rounded_size_below_is_asked_for(rounded):
    downloader, _ = rounded

    assert sizes(downloader, "^sub/.*") == {"/sub/c": 34_567}


def test_an_exact_size_is_not_asked_for(rounded, nginx):
    downloader, folder = rounded
    downloader.rootdir = f"/{folder}"

    assert sizes(downloader) == {"a.dat": 12_345, "b.dat": 23_456, "small.dat": 7}
    assert not any(
        "HEAD" in line and folder in line for line in nginx.access_log.read_text().splitlines()
    )


def test_sizes_of_a_json_index_are_exact(rounded, nginx):
    downloader, folder = rounded
    downloader.rootdir = f"/json/{folder}"

    files, directories = downloader.list()

    assert {file["name"]: file["size"] for file in files}["a.dat"] == 12_345
    assert [directory["name"] for directory in directories] == ["sub"]
    assert (files[0]["year"], files[0]["month"], files[0]["day"]) == (2024, 2, 29)


def test_the_hash_of_a_file_is_that_of_its_exact_size(rounded, nginx):
    downloader, folder = rounded
    sizes(downloader, "^a")
    by_head = downloader.files_to_download[0]["hash"]
    downloader.rootdir = f"/{folder}"

    sizes(downloader, "^a")

    assert downloader.files_to_download[0]["hash"] == by_head


def test_sizes_are_asked_for_at_once(downloader, faulty_http):
    for name in ("/a.dat", "/b.dat"):
        faulty_http.add(name, Answer(body=b"x" * 1234, delay_seconds=0.5))

    assert sizes(downloader) == {"a.dat": 1234, "b.dat": 1234}

    # One after the other they would share a connection.
    (first,), (second,) = faulty_http.requests_for("/a.dat"), faulty_http.requests_for("/b.dat")
    assert first.connection != second.connection


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_without_head_is_asked_for_one_byte(downloader, faulty_http, status):
    faulty_http.add("/a.dat", Answer(status=status), Answer(body=b"x" * 1234))

    assert sizes(downloader, "^a") == {"a.dat": 1234}

    head, one_byte = faulty_http.requests_for("/a.dat")
    assert (head.method, one_byte.method) == ("HEAD", "GET")
    assert one_byte.headers["Range"] == "bytes=0-0"


def test_a_server_that_tells_no_size_leaves_it_rounded(downloader, faulty_http):
    body = b"x" * 3_000_000
    faulty_http.add("/a.dat", Answer(status=405), Answer(body=body, serves_ranges=False))
    faulty_http.add("/b.dat", Answer(status=404))

    assert sizes(downloader) == {"a.dat": 1229, "b.dat": 1229}


def test_a_question_for_a_size_carries_the_account(downloader, faulty_http):
    faulty_http.add("/a.dat", Answer(body=b"x" * 1234))
    downloader.set_credentials("me:secret")

    sizes(downloader, "^a")

    told = base64.b64encode(b"me:secret").decode()
    assert faulty_http.requests_for("/a.dat")[0].headers["Authorization"] == f"Basic {told}"


def test_a_page_of_names_alone_is_filled_in(faulty_http):
    faulty_http.add("/", Answer(body=b'<a href="a.dat">a.dat</a>'))
    faulty_http.add("/a.dat", Answer(body=b"x" * 1234, modified=LAST_MODIFIED))
    parse = HTTPParse(
        dir_line="(no dirs)", file_line='href="([^"]+)"', file_date=-1, file_size=-1, dir_date=-1
    )
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/", parse)

    assert sizes(downloader) == {"a.dat": 1234}

    file = downloader.files_to_download[0]
    day = MODIFIED.astimezone().date()
    assert date(file["year"], file["month"], file["day"]) == day
