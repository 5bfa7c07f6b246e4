from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
import zipfile

import pytest

from biomaj_download.archives import zstd
from biomaj_download.content import BEGINNING_BYTES, check_content
from biomaj_download.errors import UnexpectedContent

PAGE = b"<!DOCTYPE html><html><body>Sorry</body></html>"


def check(name: str, body: bytes, *, is_from_web: bool = True) -> None:
    """Look at a body as at a file of that name."""
    check_content(lambda most: body[:most], name, is_from_web=is_from_web)


def zipped(members: int) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for number in range(members):
            archive.writestr(f"{number}.fa", b">a")
    return body.getvalue()


SOUND = {
    "a.gz": gzip.compress(b"a"),
    "a.tar.GZ": gzip.compress(b"a"),
    "a.tgz": gzip.compress(b"a"),
    "a.bz2": bz2.compress(b"a"),
    "a.tbz2": bz2.compress(b"a"),
    "a.xz": lzma.compress(b"a"),
    "a.txz": lzma.compress(b"a"),
    "a.zip": zipped(1),
    "none.zip": zipped(0),
    "a.zst": zstd.compress(b"a"),
    "skipped.zst": b"\x5f\x2a\x4d\x18\0\0\0\0" + zstd.compress(b"a"),
    "a.tzst": zstd.compress(b"a"),
    "a.Z": b"\x1f\x9d\x90a\0",
}


@pytest.mark.parametrize("name", SOUND)
def test_a_file_that_begins_as_its_name_says_passes(name):
    check(name, SOUND[name])


@pytest.mark.parametrize("is_from_web", [True, False])
@pytest.mark.parametrize("body", [PAGE, b"", b">a\nACGT\n", b"\x1f"])
@pytest.mark.parametrize("name", SOUND)
def test_a_file_that_does_not_begin_as_its_name_says_is_refused(name, body, is_from_web):
    with pytest.raises(UnexpectedContent):
        check(name, body, is_from_web=is_from_web)


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (b"", "an empty one"),
        (b"\x00\xffab\n", r"one that begins with b'\x00\xffab\n'"),
        (PAGE, "an HTML page that begins with b'<!DOCTYPE html><html><body>Sorry</body><'"),
    ],
)
def test_the_error_says_what_was_expected_and_shortly_what_came(body, got):
    with pytest.raises(UnexpectedContent) as raised:
        check("a.gz", body)

    assert str(raised.value) == (
        f"a.gz: expected a gzip file, got {got} "
        "(taken all the same with the bank's option check_content=false)"
    )


@pytest.mark.parametrize(
    "body",
    [
        PAGE,
        b"<html>",
        b"<HTML lang=en>",
        b"\xef\xbb\xbf\r\n\t <!doctype  HTML PUBLIC ''>",
        b'<?xml version="1.0"?>\n<!DOCTYPE html>',
        b"<!-- of the portal\n -->\n<!-- again --> <html>",
    ],
)
@pytest.mark.parametrize(
    "name", ["a.fasta", "a.dat", "a.tar", "sub/a.xml", "release-2.4", "a.txt?x"]
)
def test_a_page_in_the_place_of_a_file_is_refused(name, body):
    with pytest.raises(UnexpectedContent, match="expected a file, got an HTML page"):
        check(name, body)


@pytest.mark.parametrize(
    "name", ["a.html", "a.HTM", "a.xhtml", "a.shtml", "a.php", "a.asp", "a.aspx", "a.jsp", "a.cgi"]
)
def test_a_page_under_the_name_of_a_page_passes(name):
    check(name, PAGE)


@pytest.mark.parametrize("name", ["README", "sub.dir/README", "search?id=1.5", "a.php?id=1.5"])
def test_a_page_under_a_name_that_says_nothing_passes(name):
    check(name, PAGE)


@pytest.mark.parametrize(
    "body",
    [b"", b">a <html>", b"<htmlx>", b"<!doctype xml>", b"  ", b"<?xml version='1.0'?><uniprot>"],
)
def test_what_is_no_page_passes(body):
    check("a.dat", body)


def test_a_page_that_did_not_come_by_http_passes():
    check("a.dat", PAGE, is_from_web=False)


def test_no_more_than_a_beginning_is_read_and_only_where_it_matters():
    asked: list[int] = []

    def read(most_bytes: int) -> bytes:
        asked.append(most_bytes)
        return b""

    check_content(read, "a.dat", is_from_web=False)
    check_content(read, "a.html", is_from_web=True)
    assert asked == []
    check_content(read, "a.dat", is_from_web=True)
    assert asked == [BEGINNING_BYTES]


def test_a_beginning_of_remarks_alone_is_looked_through_in_a_moment():
    body = b"<!---->" * (BEGINNING_BYTES // 7)
    started = time.process_time()

    check("a.dat", body)
    with pytest.raises(UnexpectedContent):
        check("a.gz", body)

    assert time.process_time() - started < 1
