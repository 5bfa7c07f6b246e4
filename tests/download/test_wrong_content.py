"""What a server sends in the place of a file: an error, and never a file under its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectFTPDownload, DirectHTTPDownload
from biomaj_download.errors import (
    ArchiveBroken,
    BadStatus,
    DownloadError,
    ListingError,
    RemoteFileMissing,
    Truncated,
    UnexpectedContent,
)
from tests.contract.downloader import ONCE, TWICE_AT_ONCE
from tests.servers.faulty_http import Answer
from tests.servers.pyftpd import PyftpdServer

BODY = b"".join(b">seq%d\nACGT\n" % n for n in range(20_000))
PAGE = b"<!DOCTYPE html>\n<html><body>Your session has expired.</body></html>"
SHARED = {"verify": "off", **TWICE_AT_ONCE}


def tar_gz() -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        member = tarfile.TarInfo("a.fa")
        member.size = len(BODY)
        archive.addfile(member, io.BytesIO(BODY))
    return body.getvalue()


def zipped() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.fa", BODY)
    return body.getvalue()


ARCHIVES = {
    "a.gz": gzip.compress(BODY),
    "a.tar.gz": tar_gz(),
    "a.bz2": bz2.compress(BODY),
    "a.xz": lzma.compress(BODY),
    "a.zip": zipped(),
}


@pytest.fixture(params=[CurlDownload, DirectHTTPDownload])
def http(request, faulty_http):
    """A function that returns a downloader of one file."""

    def opened(name, **known):
        downloader = request.param("http", f"{faulty_http.host}:{faulty_http.port}", "/")
        downloader.set_options(SHARED)
        downloader.set_files_to_download([{"name": name, "save_as": name, **known}])
        return downloader

    return opened


def assert_refused(downloader, folder, error, match=None):
    """Hold that a file does not come, that the old one stays, and nothing else."""
    name = downloader.files_to_download[0]["save_as"]
    (folder / name).write_bytes(b"the old one")

    with pytest.raises(error, match=match):
        downloader.download(str(folder))

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: b"the old one"}
    assert downloader.retryer.statistics["attempt_number"] == 2


@pytest.mark.parametrize("name", ["a.gz", "a.fasta"])
def test_a_page_with_status_200_is_no_file(http, faulty_http, tmp_path, name):
    faulty_http.add(f"/{name}", Answer(body=PAGE))

    assert_refused(http(name), tmp_path, UnexpectedContent, "got an HTML page")


def test_a_large_page_is_not_kept_as_the_beginning_of_the_file(http, faulty_http, tmp_path):
    page = PAGE + b" " * 2_000_000
    faulty_http.add("/a.fasta", Answer(body=page, etag='"1"'), Answer(body=BODY, etag='"1"'))
    downloader = http("a.fasta")

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.fasta").read_bytes() == BODY


def test_a_page_by_ftp_is_no_archive(ftp_server, tmp_path):
    (ftp_server.root / "page.gz").write_bytes(PAGE)
    (ftp_server.root / "page.gz").chmod(0o644)
    downloader = DirectFTPDownload("ftp", f"{ftp_server.host}:{ftp_server.port}", "/")
    downloader.set_options({**SHARED, "skip_check_uncompress": "true"})
    downloader.set_files_to_download(["page.gz"])

    assert_refused(downloader, tmp_path, UnexpectedContent, "expected a gzip file")


def test_an_empty_file_is_no_archive(http, faulty_http, tmp_path):
    faulty_http.add("/a.gz", Answer())

    assert_refused(http("a.gz"), tmp_path, UnexpectedContent, "expected a gzip file, got an empty")


def test_an_empty_file_of_another_name_is_a_file(http, faulty_http, tmp_path):
    faulty_http.add("/a.fasta", Answer())

    http("a.fasta").download(str(tmp_path))

    assert (tmp_path / "a.fasta").read_bytes() == b""


@pytest.mark.parametrize("damage", ["cut", "changed"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_a_broken_archive_is_no_file(http, faulty_http, tmp_path, name, damage):
    sound = ARCHIVES[name]
    middle = len(sound) // 2
    changed = sound[:middle] + bytes([sound[middle] ^ 0xFF]) + sound[middle + 1 :]
    faulty_http.add(f"/{name}", Answer(body=sound[:-30] if damage == "cut" else changed))

    assert_refused(http(name), tmp_path, ArchiveBroken)


@pytest.mark.parametrize("status", [201, 202, 204, 206])
@pytest.mark.parametrize("size", [None, 10, 10**7])
def test_another_success_than_200_is_no_file(http, faulty_http, tmp_path, status, size):
    faulty_http.add("/a.dat", Answer(status=status))
    known = {} if size is None else {"size": size}

    assert_refused(http("a.dat", **known), tmp_path, BadStatus, f"got HTTP status {status}")


def test_a_page_that_says_404_is_no_file(http, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=404, body=PAGE))

    assert_refused(http("a.dat"), tmp_path, RemoteFileMissing)


def test_a_page_that_says_404_on_a_real_server_is_no_file(nginx, tmp_path):
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", "/")
    downloader.set_options(SHARED)
    downloader.set_files_to_download([{"name": "never.dat", "save_as": "never.dat"}])

    assert_refused(downloader, tmp_path, RemoteFileMissing)


@pytest.mark.parametrize("size", [None, 10, len(BODY), 10**7])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=BODY, content_length=len(BODY) + 1),
        Answer(body=BODY, cut_after=len(BODY) - 1),
        Answer(body=BODY, cut_after=0),
        Answer(body=BODY, chunked=True, cut_after=len(BODY) // 2),
    ],
    ids=["announced too long", "cut", "nothing", "cut in chunks"],
)
def test_a_body_of_another_length_than_announced_is_no_file(
    http, faulty_http, tmp_path, answer, size
):
    faulty_http.add("/a.dat", answer)
    known = {} if size is None else {"size": size}

    assert_refused(http("a.dat", **known), tmp_path, Truncated)


def test_a_body_that_was_cut_without_a_word_is_told_by_its_listed_size(http, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=BODY, until_close=True, cut_after=len(BODY) // 2))

    assert_refused(http("a.dat", size=len(BODY)), tmp_path, Truncated, "listed with")


@pytest.mark.parametrize(
    "answer",
    [Answer(body=BODY), Answer(body=BODY, chunked=True)],
    ids=["announced", "in chunks"],
)
def test_a_listed_size_is_no_law_where_the_server_marks_the_end(
    http, faulty_http, tmp_path, answer
):
    faulty_http.add("/a.dat", answer)

    http("a.dat", size=3 * len(BODY)).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY


@pytest.mark.parametrize("size", [None, len(BODY), int(len(BODY) * 1.05), 10])
def test_a_body_without_a_length_comes_whole_about_as_it_was_listed(
    http, faulty_http, tmp_path, size
):
    faulty_http.add("/a.dat", Answer(body=BODY, until_close=True))
    known = {} if size is None else {"size": size}

    http("a.dat", **known).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY


INDEX = (
    b"<!DOCTYPE HTML>\n<html><head><title>Index of /</title></head><body><pre>"
    + b"".join(
        b'<a href="%d.dat">%d.dat</a>  2024-02-29 12:30  1000\n' % (n, n) for n in range(500)
    )
    + b"</pre><address>Apache</address></body></html>\n"
)


@pytest.mark.parametrize(
    "how",
    [{}, {"chunked": True}, {"until_close": True}],
    ids=["announced", "in chunks", "by close"],
)
def test_an_index_that_was_cut_is_no_short_listing(faulty_http, how):
    faulty_http.add("/", Answer(body=INDEX, cut_after=len(INDEX) // 2, **how))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)

    with pytest.raises((ListingError, Truncated)):
        downloader.list()

    faulty_http.add("/", Answer(body=INDEX, **how))
    files, _ = downloader.list()
    assert len(files) == 500


@pytest.mark.parametrize("cut_bytes", [1, 20])
def test_an_index_without_its_last_bytes_was_cut(faulty_http, cut_bytes):
    page = INDEX.rstrip()
    faulty_http.add("/", Answer(body=page, until_close=True, cut_after=len(page) - cut_bytes))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)

    with pytest.raises(ListingError, match="expected a whole page"):
        downloader.list()


@pytest.mark.parametrize(
    "body",
    [
        INDEX.replace(b"</html>", b"</HTML >") + b"<!-- 0.2 s -->\n",
        INDEX.partition(b"<pre>")[2].partition(b"</pre>")[0],
    ],
    ids=["with a remark", "no whole page"],
)
def test_an_index_that_ends_with_the_connection_is_read(faulty_http, body):
    faulty_http.add("/", Answer(body=body, until_close=True))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")

    files, _ = downloader.list()

    assert len(files) == 500


@pytest.mark.parametrize("command", ["MLSD", "LIST"])
@pytest.mark.parametrize("reply", ["426 Connection closed; transfer aborted.", ""])
def test_a_listing_by_ftp_that_was_cut_is_no_short_listing(command, reply):
    without = () if command == "MLSD" else ("MLSD", "MLST")
    with PyftpdServer(without=without, cut_with=reply) as server:
        for number in range(100):
            (server.root / f"{number}.dat").touch()
        downloader = CurlDownload("ftp", f"{server.host}:{server.port}", "/")
        downloader.set_options(ONCE)

        with pytest.raises(DownloadError) as raised:
            downloader.list()

        assert command in server.commands
    assert raised.value.retryable
