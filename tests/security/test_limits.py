"""Messages, listings and checksum files that are made to fill a memory or to keep a worker busy."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from biomaj_download.checksums import read_checksums
from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.listing.bounds import Bounds
from biomaj_download.download.listing.ftp import read_directory
from biomaj_download.download.listing.http import read_index
from biomaj_download.download.listing.rsync import read_rsync_list
from biomaj_download.download.publishers import publishers
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import (
    DownloadError,
    ExpressionTooSlow,
    ListingTooLong,
    OptionError,
    TransferError,
)
from biomaj_download.job import HttpPatterns
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import UnreadableMessage, decode
from biomaj_download.message.survey import survey
from biomaj_download.retry import parse_stop_condition, parse_wait_policy
from biomaj_download.settings import MessageSettings, TransferSettings
from biomaj_download.transfer import shared
from tests.contract.downloader import ONCE
from tests.security.evil import evil_server
from tests.servers.faulty_http import Answer

EVIL_EXPRESSION = "(a|aa)+$"
EVIL_NAME = "a" * 80 + "b"


@pytest.fixture
def limited():
    """Make the process's transfers by these settings, until the test's end."""
    before = shared.settings()
    yield lambda **values: shared.set_up(TransferSettings(**values))
    shared.set_up(before)


@pytest.fixture
def operation() -> wire.Operation:
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    operation.download.bank, operation.download.session = "bank", "session"
    operation.download.local_dir = "/home"
    remote = operation.download.remote_file
    remote.protocol, remote.server, remote.remote_dir = wire.DownloadFile.HTTP, "host", "/"
    remote.files.add(name="a.gz")
    return operation


def excess(name: str, value: str):
    """Return what fills an Operation with too much."""

    def fill(operation: wire.Operation) -> None:
        remote = operation.download.remote_file
        if name == "files":
            for number in range(12):
                remote.files.add(name=f"{number}")
        elif name == "matches":
            remote.matches.extend([value] * 5)
        elif name == "options":
            operation.download.options.update({f"{number}": "" for number in range(5)})
        elif name == "name":
            remote.files[0].name = value
        elif name == "pattern":
            remote.matches.append(value)
        else:
            operation.download.options["evil"] = value

    return fill


@pytest.mark.parametrize(
    ("fill", "problem"),
    [
        (excess("files", ""), "at most 10 files, got 13"),
        (excess("matches", "a"), "at most 4 patterns, got 5"),
        (excess("options", ""), "at most 4 options, got 5"),
        (excess("name", "n" * 21), "a name of at most 20 characters, got 21"),
        (excess("pattern", "p" * 201), "a pattern of at most 200 characters, got 201"),
        (excess("text", "t" * 41), "a text of at most 40 characters, got 41"),
        (excess("text", "t" * 1000), "at most 900 bytes, got"),
        (excess("files", ""), "at most 10 files"),
    ],
)
def test_a_message_that_holds_too_much_is_refused_with_what_was_expected(operation, fill, problem):
    limits = MessageSettings(
        max_bytes=900,
        max_files=10,
        max_values=4,
        max_name_characters=20,
        max_pattern_characters=200,
        max_text_characters=40,
    )
    assert decode(operation.SerializeToString(), limits).bank == "bank"
    fill(operation)

    with pytest.raises(UnreadableMessage, match=problem) as raised:
        decode(operation.SerializeToString(), limits)

    assert (raised.value.bank, raised.value.session) == ("bank", "session")


def test_records_that_would_fill_the_memory_are_counted_before_they_are_read(operation):
    frame = operation.SerializeToString()
    files = b"\x0a\x00" * 2_000_000  # an empty File each
    remote = b"\x2a" + varint(len(files)) + files
    body = frame + b"\x12" + varint(len(remote)) + remote

    begun = time.monotonic()
    with pytest.raises(UnreadableMessage, match="at most 1040000 files, patterns") as raised:
        decode(body)

    assert raised.value.session == "session"
    assert time.monotonic() - begun < 30


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


@pytest.mark.parametrize("body", [b"\x0b" * 5000, b"\x13" * 200 + b"\x14" * 200, b"\x12\xff"])
def test_a_message_of_nested_groups_is_refused(body):
    with pytest.raises(UnreadableMessage):
        decode(body)


def test_a_survey_counts_what_the_schema_repeats(operation):
    operation.download.remote_file.matches.extend(["a", "b"])

    found = survey(operation.SerializeToString(), most_records=1000)

    assert (found.bank, found.session) == ("bank", "session")
    # type, download; bank, session, local_dir, remote_file; its file, protocol, server, directory,
    # and two patterns
    assert found.records == 12


def http_lister(server: str, patterns: HttpPatterns | None = None) -> CurlDownload:
    downloader = CurlDownload("http", server, "/", patterns)
    downloader.set_options({**ONCE, "verify": "off"})
    return downloader


def test_a_listing_without_an_end_is_left(limited):
    limited(listing_bytes=1_000_000)

    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n<html>")
        while True:
            connection.sendall(b'<a href="file">file</a>\n' * 1000)

    with evil_server(talk) as server, pytest.raises(ListingTooLong, match="at most 1000000 bytes"):
        http_lister(server).list()


@pytest.mark.parametrize("line", [b"X-Evil: yes\r\n", b"X" * 1000])
def test_headers_without_an_end_are_left(line):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(line * 100)

    with evil_server(talk) as server, pytest.raises(DownloadError):
        http_lister(server).list()


def test_a_greeting_without_an_end_is_left():
    def talk(connection):
        while True:
            connection.sendall(b"220-welcome\r\n" * 1000)

    with evil_server(talk) as server:
        downloader = CurlDownload("ftp", server, "/")
        downloader.set_options(ONCE)
        with pytest.raises(TransferError, match="answers of at most"):
            downloader.list()


@pytest.mark.parametrize("kind", ["html", "json"])
def test_a_page_of_too_many_entries_is_refused(faulty_http, limited, kind):
    limited(listing_entries=10)
    pages = {
        "html": b"".join(b'<a href="file%d">f</a>\n' % number for number in range(2000)),
        "json": b"[" + b"[]," * 2000 + b"[]]",
    }
    faulty_http.add("/", Answer(body=pages[kind]))

    with pytest.raises(ListingTooLong, match="at most 10 entries"):
        http_lister(f"{faulty_http.host}:{faulty_http.port}").list()


@pytest.mark.parametrize("read", [read_directory, read_rsync_list])
@pytest.mark.parametrize(
    ("text", "problem"),
    [("x\n" * 50, "at most 10 entries"), ("x" * 101, "at most 100 characters")],
)
def test_a_listing_of_lines_is_bounded(read, text, problem):
    with pytest.raises(ListingTooLong, match=problem):
        read(text, bounds=Bounds(most_entries=10, most_line_characters=100))


def test_a_long_rsync_listing_is_left(rsync_server, limited):
    folder = rsync_server.root / "many"
    folder.mkdir()
    for number in range(100):
        (folder / f"file{number}").touch()
    limited(listing_bytes=1000)
    downloader = RSYNCDownload(rsync_server.url, "many")
    downloader.set_options(ONCE)

    with pytest.raises(ListingTooLong, match="at most 1000 bytes"):
        downloader.list()


def test_a_checksum_file_without_an_end_is_left(faulty_http, limited, tmp_path):
    limited(checksums_bytes=100_000)
    faulty_http.add("/", Answer(body=b'<title>Index of /</title><a href="MD5SUMS">MD5SUMS</a>'))
    faulty_http.add("/MD5SUMS", Answer(body=b"0" * 32 + b"  a\n" * 1_000_000, chunked=True))
    faulty_http.add("/a", Answer(body=b"data"))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)
    downloader.set_files_to_download(["a"])
    publishers._directories.clear()

    with pytest.raises(ListingTooLong, match="checksum file of at most 100000 bytes"):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_metalink_of_deep_levels_is_read_in_little_memory():
    deep = "<a>" * 200_000 + "</a>" * 200_000
    text = f'<metalink><file name="f"><hash>{"0" * 32}</hash></file>{deep}</metalink>'

    assert read_checksums(text).keys() == {"f"}


def test_a_catastrophic_pattern_of_a_message_ends(faulty_http, limited):
    limited(match_seconds=0.3)
    page = f'<title>Index of /</title><a href="{EVIL_NAME}">a</a>'
    faulty_http.add("/", Answer(body=page.encode()))

    with pytest.raises(ExpressionTooSlow, match=r"within 0\.3 s"):
        http_lister(f"{faulty_http.host}:{faulty_http.port}").find([EVIL_EXPRESSION])


def test_a_catastrophic_pattern_for_pages_ends(faulty_http, limited):
    limited(match_seconds=0.3)
    faulty_http.add("/", Answer(body=EVIL_NAME.encode()))
    patterns = HttpPatterns(dir_line="(x)(x)", file_line="((?:a|aa)+)(c)(d)")

    with pytest.raises(ExpressionTooSlow, match=r"within 0\.3 s"):
        http_lister(f"{faulty_http.host}:{faulty_http.port}", patterns).list()


@pytest.mark.parametrize("parse", [parse_stop_condition, parse_wait_policy])
@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "stop_after_attempt(9**9**9)",
        "wait_fixed('a' * 10**10)",
        "stop_any(*[stop_never for i in range(10**9)])",
        "wait_chain(*[wait_fixed(i) for i in range(999) for j in range(999)])",
        "stop_never.__class__",
        "(" * 400 + ")" * 400,
        "stop_never" + "|stop_never" * 1000,
        "wait_fixed(" + "9" * 5000 + ")",
    ],
)
def test_an_expression_that_costs_too_much_is_refused(parse, text):
    with pytest.raises(OptionError):
        parse(text)


#: A text by its length, where an expression of ours could try each beginning with each end.
LONG_LISTINGS = {
    "dos": lambda length: "01-01-24 10:00" + " " * length + "x",
    "unix": lambda length: "drwxr-xr-x " + "1 " * (length // 2) + "x",
    "blanks": lambda length: "-rw-r--r-- 1 a a 1" + " " * length + "x",
    "mlsd": lambda length: "a=" + ";" * length,
    "html": lambda length: '<a href="a">' + "<a " * (length // 3),
    "script": lambda length: "<script" + "</script " * (length // 9),
    "comment": lambda length: "<!--" * (length // 4),
    "href": lambda length: "<a " + "href =" * (length // 6) + ">",
    "day": lambda length: '<a href="a">a</a> 2024-01-01' + " ," * (length // 2) + "x",
    "size": lambda length: '<a href="a">a</a> ' + "1 " * (length // 2) + "x",
    "checksums": lambda length: "A(" + ") = " * (length // 4),
    "sums": lambda length: "0" * 32 + " " * length,
}


@pytest.mark.parametrize("kind", LONG_LISTINGS)
def test_no_expression_of_ours_takes_more_than_time_in_proportion(kind):
    def seconds(length: int) -> float:
        text = LONG_LISTINGS[kind](length)
        begun = time.process_time()
        for read in (
            lambda: read_directory(text, bounds=Bounds(most_line_characters=10**9)),
            lambda: read_index(text, url="http://host/"),
            lambda: read_checksums(text, subject="a"),
        ):
            with suppress(DownloadError):
                read()
        return time.process_time() - begun

    assert seconds(400_000) < 20  # a square of that would be days
