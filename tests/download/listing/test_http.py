"""HTTP index pages: the rows of every server that banks are fetched from."""

from __future__ import annotations

import os
import time
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomaj_download.download.listing.http import (
    DEFAULT_DIR_LINE,
    DEFAULT_FILE_LINE,
    read_index,
)
from biomaj_download.errors import ListingError
from biomaj_download.job import HttpPatterns, Listing
from biomaj_download.message import downmessage_pb2

URL = "https://ftp.example.org/pub/bank/"
DAY = date(2023, 1, 24)

PAGES = Path(__file__).parents[2] / "data" / "http_indexes"
#: Each holds a directory `sub`, `a.gz` of 2355 bytes and `README.txt` of 736, of 24 January 2023.
SERVERS = sorted(path.name for path in PAGES.iterdir() if not path.name.startswith("empty_"))
#: What those tell that do not give the exact size of `a.gz`.
ROUNDED = {"nginx_with_rounded_sizes.html": 2048, "nginx_fancyindex.html": 2355} | {
    name: 2355 for name in SERVERS if name.startswith(("apache", "ncbi", "noaa"))
}


def page_of(name: str) -> str:
    return (PAGES / name).read_bytes().decode()


def read(rows: str, url: str = URL) -> Listing:
    return read_index(f"<title>Index of /pub/bank</title><pre>{rows}</pre>", url=url)


def names(listing: Listing) -> list[str]:
    return [entry.name for entry in listing.files + listing.directories]


@pytest.mark.parametrize("server", SERVERS)
def test_the_index_of_a_server_is_read(server):
    listing = read_index(page_of(server), url=URL)

    assert [(entry.name, entry.size_bytes, entry.day) for entry in listing.directories] == [
        ("sub", None, DAY)
    ]
    packed, readme = listing.files
    assert (packed.name, packed.day) == ("a.gz", DAY)
    assert (packed.size_bytes, packed.size_is_exact) == (
        ROUNDED.get(server, 2355),
        server not in ROUNDED,
    )
    assert (readme.name, readme.size_bytes, readme.size_is_exact) == ("README.txt", 736, True)
    assert packed.permissions == packed.url == packed.root == ""
    assert len(packed.hash or "") == 32


def test_the_default_patterns_of_the_schema_mean_that_links_are_read():
    fields = downmessage_pb2.DownloadFile.HttpParse()
    defaults = HttpPatterns(dir_line=fields.dir_line, file_line=fields.file_line)

    assert (fields.dir_line, fields.file_line) == (DEFAULT_DIR_LINE, DEFAULT_FILE_LINE)
    assert read_index(page_of("nginx.html"), url=URL, patterns=defaults) == read_index(
        page_of("nginx.html"), url=URL
    )


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("a%20b.gz", "a b.gz"),
        ("a&amp;b.gz", "a&b.gz"),
        ("a%2Bb%25.gz", "a+b%.gz"),
        ("%C3%A9.gz", "é.gz"),
        ("./a.gz", "a.gz"),
        ("a.gz#top", "a.gz"),
        ("chr1:100.txt", "chr1:100.txt"),
        ("/pub/bank/a.gz", "a.gz"),
        ("/pub/b%61nk/a.gz", "a.gz"),
        ("https://ftp.example.org/pub/bank/a.gz", "a.gz"),
        ("http://FTP.example.org:80/pub/bank/a.gz", "a.gz"),
        ("//ftp.example.org/pub/bank/a.gz", "a.gz"),
        ("/pub/bank/sub/", "sub"),
    ],
)
def test_the_name_comes_decoded_from_the_link_not_from_the_text(href, name):
    row = f'<a href="{href}">cut..&gt;</a>  24-Jan-2023 07:45  5\n'

    assert names(read(row)) == [name]


@pytest.mark.parametrize(
    "anchor",
    [
        "<a href='a.gz'>a</a>",
        "<a href=a.gz>a</a>",
        '<A  class="x" HREF = "a.gz" title="y">a</A >',
        '<a\nhref="a.gz"\n>a</a>',
        '<a href="a.gz">a',
    ],
)
def test_links_are_read_however_they_are_written(anchor):
    assert names(read(f"{anchor}  24-Jan-2023 07:45  5\n")) == ["a.gz"]


@pytest.mark.parametrize(
    "href",
    [
        "",
        "#top",
        "?C=M;O=A",
        "a.gz?download=1",
        ".",
        "./",
        "..",
        "../",
        "../a.gz",
        "/",
        "/pub/",
        "/pub/bank",
        "/pub/bank/",
        "/pub/bank/sub/a.gz",
        "/pub/bank2/a.gz",
        "sub/a.gz",
        "..%2Fa.gz",
        "%2e%2e/",
        "%2e%2e",
        "a%00.gz",
        "https://other.example.org/pub/bank/a.gz",
        "https://ftp.example.org:8443/pub/bank/a.gz",
        "http://[broken/pub/bank/a.gz",
        "ftp://ftp.example.org/pub/bank/a.gz",
        "mailto:help@example.org",
        "javascript:void(0)",
    ],
)
def test_links_to_anything_but_direct_children_are_ignored(href):
    assert read(f'<a href="{href}">x</a>  24-Jan-2023 07:45  5\n') == Listing()


def test_links_in_comments_and_scripts_are_ignored():
    page = '<!-- <a href="a">a</a> --><script>"<a href=b>b</a>"</script><style></style>'

    assert names(read(page + '<a href="c">c</a><!-- <a href="d">')) == ["c"]


def test_the_directory_of_a_url_without_a_slash_is_the_url_itself():
    row = '<a href="/pub/bank/a.gz">a</a>  24-Jan-2023 07:45  5\n'

    assert names(read(row, url="https://ftp.example.org/pub/bank")) == ["a.gz"]


def test_the_top_directory_of_a_server_is_read():
    rows = '<a href="/a.gz">a</a>  24-Jan-2023 07:45  5\n<a href="/sub/">sub</a>\n'

    assert names(read(rows, url="https://ftp.example.org")) == ["a.gz", "sub"]


@pytest.mark.parametrize(
    ("text", "size_bytes", "is_exact"),
    [
        ("5", 5, True),
        ("1,234", 1234, True),
        ("5 B", 5, True),
        ("5 bytes", 5, True),
        ("1.0K", 1024, False),
        ("19G", 19 * 1024**3, False),
        ("2.5 MiB", 2621440, False),
        ("2.5 MB", 2621440, False),
        ("1.1T", 1209462790554, False),
        ("5k", 5120, False),
        ("-", None, True),
        ("", None, True),
        ("n/a", None, True),
        ("5x", None, True),
        ("9" * 40, None, True),
    ],
)
def test_a_size_is_exact_or_rounded_or_unknown(text, size_bytes, is_exact):
    (file,) = read(f'<a href="a.gz">a.gz</a>  24-Jan-2023 07:45  {text}\n').files

    assert (file.size_bytes, file.size_is_exact) == (size_bytes, is_exact)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("24-Jan-2023 07:45", DAY),
        ("24 Jan 2023 07:45", DAY),
        ("2023-01-24T07:45:00Z", DAY),
        ("2023-01-24 07:45:00 +0100", DAY),
        ("2023-01-24", DAY),
        ("2023-Jan-24 07:45:00", DAY),
        ("Jan 24, 2023 7:45 AM", DAY),
        ("1/24/2023 7:45 AM", DAY),
        ("1/2/2023 7:45 AM", date(2023, 1, 2)),
        ("1/2/2023 17:45", date(2023, 2, 1)),
        ("24/1/2023 7:45 PM", DAY),
        ("1/24/2023 17:45", DAY),
        ("31-Feb-2023 07:45", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_day_is_read_in_all_forms(text, day):
    (file,) = read(f'<a href="a.gz">a.gz</a>  {text}  5\n').files

    assert file.day == day


def test_the_instant_is_known_only_where_the_server_tells_its_zone():
    assert read_index(page_of("nginx.html"), url=URL).files[0].modified_at is None
    assert read_index(page_of("nginx_json.json"), url=URL).files[0].modified_at == datetime(
        2023, 1, 24, 7, 45, tzinfo=timezone.utc
    )


def test_a_page_of_links_without_rows_lists_names_alone():
    page = "<title>Directory listing for /pub/bank/</title><ul>\n<li><a href='a.gz'>a.gz</a></li>\n"

    (file,) = read_index(page, url=URL).files

    assert (file.name, file.size_bytes, file.day) == ("a.gz", None, None)


@pytest.mark.parametrize(
    "page",
    [
        page_of("empty_apache_pre.html"),
        page_of("empty_apache_table.html"),
        "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><hr><pre></pre>",
        '<body bgcolor="white"><hr><pre><a href="../">../</a>\r\n</pre><hr></body>',
        '<pre><A HREF="/pub/">[To Parent Directory]</A><br><br></pre>',
        "[]",
    ],
)
def test_the_index_of_an_empty_directory_is_an_empty_listing(page):
    assert read_index(page, url=URL) == Listing()


@pytest.mark.parametrize(
    "page",
    [
        "",
        "It works!",
        "<html><title>Please log in</title><a href='/login'>log in</a><a href='/'>home</a></html>",
        "<html><title>404 Not Found</title><h1>Not Found</h1></html>",
        '{"error": "not found"}',
        '[{"name": "a.gz"}]',
        '["a.gz"]',
        "[1, 2",
        "[" * 100_000,
    ],
)
def test_a_page_that_is_no_index_is_refused(page):
    with pytest.raises(ListingError, match=r"^https://ftp\.example\.org/pub/bank/: expected"):
        read_index(page, url=URL)


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        (
            100_000,
            '<a href="file{0}.gz">file{0}.gz</a>            24-Jan-2023 07:45            {0}\r\n',
        ),
        (
            10_000,
            '<tr><td valign="top"><img src="/icons/x.gif" alt="[   ]"></td>'
            '<td><a href="file{0}.gz">file{0}.gz</a></td>'
            '<td align="right">2023-01-24 07:45  </td><td align="right">2.3K</td></tr>\n',
        ),
        (
            10_000,
            ' 1/24/2023  7:45 AM         {0} <A HREF="/pub/bank/file{0}.gz">file{0}.gz</A><br>',
        ),
    ],
)
@pytest.mark.timeout(60)  # one that looks from each row to the end would take many minutes
def test_rows_are_read_in_time_that_grows_with_their_number(rows, row):
    page = "".join(row.format(number) for number in range(rows))

    listing = read(page)

    assert len(listing.files) == rows
    assert all(file.day == DAY for file in listing.files)


@pytest.mark.parametrize(
    "evil",
    [
        "<a ",
        "<a href=",
        "<a href= ",
        "<!--",
        "<script",
        '<a href="',
        "<td",
        "<a href=x>",
        "1 ",
        "[",
        "&",
    ],
)
def test_a_hostile_page_costs_no_more_than_a_long_one(evil):
    page = "<title>Index of /</title>" + evil * 20_000

    begun = time.monotonic()
    read_index(page, url=URL)

    assert time.monotonic() - begun < 3


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<a href=",
                '"',
                "'",
                ">",
                "</a>",
                "../",
                "/pub/bank/",
                "%2F",
                "2023-01-24",
                "<td>",
                "&#",
            ]
        )
        | st.text(max_size=4)
    )
)
def test_any_page_is_read_or_refused_and_no_name_leaves_the_directory(pieces):
    try:
        listing = read_index("".join(pieces), url=URL)
    except ListingError:
        return
    assert all("/" not in name and name not in {"", ".", ".."} for name in names(listing))


def test_a_name_that_is_not_utf_8_keeps_its_bytes():
    listing = read('<a href="caf%E8.gz">a</a> 1\n<a href="caf%E9.gz">b</a> 2\n')

    assert [os.fsencode(file.name) for file in listing.files] == [b"caf\xe8.gz", b"caf\xe9.gz"]
