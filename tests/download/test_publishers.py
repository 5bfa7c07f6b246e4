"""Publishers' checksum files, on a real web server and a real FTP server."""

from __future__ import annotations

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectHTTPDownload
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.download.publishers import publishers
from biomaj_download.errors import (
    Cancelled,
    ChecksumMissing,
    ConnectFailed,
    DigestMismatch,
    OptionError,
    WrongChecksum,
)
from tests import background
from tests.contract.downloader import ONCE, TWICE_AT_ONCE
from tests.servers.faulty_http import Answer
from tests.servers.process import poll

BODY = b">seq\nACGT\n" * 1000
OTHER = "0" * 128


def hex_of(algorithm: str, body: bytes = BODY) -> str:
    return hashlib.new(algorithm, body).hexdigest()


@pytest.fixture(autouse=True)
def _nothing_known():
    publishers._directories.clear()


@pytest.fixture
def bank(nginx, request):
    """A folder on the web server with a.fa and sub/b.fa."""
    top = nginx.root / f"publisher-{abs(hash(request.node.nodeid))}"
    (top / "sub").mkdir(parents=True)
    (top / "a.fa").write_bytes(BODY)
    (top / "sub" / "b.fa").write_bytes(BODY)
    return top


@pytest.fixture
def downloader(nginx, bank):
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", f"/{bank.name}")
    downloader.set_options({**ONCE, "verify": "require"})
    return downloader


def bring(downloader, tmp_path, name="a.fa"):
    downloader.set_files_to_download([name])
    downloader.download(str(tmp_path))
    assert (tmp_path / name).read_bytes() == BODY


def requests_to(nginx, bank, *names):
    """Return how often each path below the bank was asked for."""
    lines = [line.split() for line in nginx.access_log.read_text().splitlines()]
    return [sum(line[2] == f"/{bank.name}/{name}" for line in lines) for name in names]


def bsd_sum(body: bytes) -> str:
    told = subprocess.run(["sum"], input=body, capture_output=True, check=True).stdout.split()
    return f"{told[0].decode()} {told[1].decode()}"


INDEX = b'<title>Index of /</title><a href="a.fa">a.fa</a><a href="a.fa.md5">a.fa.md5</a>'


@pytest.fixture
def wrong_sum(faulty_http):
    """A function that opens a downloader of a file whose published checksum is another one's."""
    faulty_http.add("/a.fa", Answer(body=BODY))
    faulty_http.add("/a.fa.md5", Answer(body=f"{OTHER[:32]}  a.fa\n".encode()))

    def open_wrong(verify):
        downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
        downloader.set_options({**ONCE, "verify": verify})
        downloader.set_files_to_download(["a.fa"])
        return downloader

    return open_wrong


def test_a_job_that_is_ended_while_it_asks_says_nothing_of_the_server(
    wrong_sum, faulty_http, tmp_path
):
    faulty_http.add("/", Answer(body=INDEX, stall_after=10), Answer(body=INDEX))
    ended, other = wrong_sum("if_available"), wrong_sum("if_available")
    run = background.start(lambda: ended.download(str(tmp_path / "x")))
    for _ in poll(10):
        if faulty_http.requests_for("/"):
            break

    ended.kill_received = True

    with pytest.raises(Cancelled):
        run.result(10)
    with pytest.raises(DigestMismatch):
        other.download(str(tmp_path))


def test_who_wants_a_checksum_asks_again_where_the_server_did_not_tell(
    wrong_sum, faulty_http, tmp_path
):
    faulty_http.add("/", Answer(status=503), Answer(body=INDEX))
    wrong_sum("if_available").download(str(tmp_path / "a"))

    with pytest.raises(DigestMismatch):
        wrong_sum("require").download(str(tmp_path / "b"))


#: Name of the checksum file -> its text, with DIGEST where a wrong one must be noticed.
SIDECARS = {
    "md5checksums.txt": ("md5", "DIGEST  ./a.fa\n"),
    "MD5SUMS": ("md5", "DIGEST *a.fa\n"),
    "SHA256SUMS": ("sha256", "DIGEST  a.fa\n"),
    "a.fa.md5": ("md5", "DIGEST  a.fa\n"),
    "a.fa.sha256": ("sha256", "DIGEST\n"),
    "a.fa.sha512": ("sha512", "SHA512 (a.fa) = DIGEST\n"),
    "RELEASE.metalink": (
        "md5",
        '<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="a.fa">'
        '<verification><hash type="md5">DIGEST</hash></verification></file></files></metalink>',
    ),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_a_file_is_held_against_its_publishers_checksum(downloader, bank, tmp_path, name):
    algorithm, text = SIDECARS[name]
    (bank / name).write_text(text.replace("DIGEST", hex_of(algorithm)))
    bring(downloader, tmp_path)

    wrong = OTHER[: len(hex_of(algorithm))]
    (bank / name).write_text(text.replace("DIGEST", wrong))
    publishers._directories.clear()
    with pytest.raises(DigestMismatch) as raised:
        downloader.download(str(tmp_path))

    assert str(raised.value) == (
        f"a.fa: announced {algorithm} {wrong}, received {algorithm} {hex_of(algorithm)}"
    )


def test_ensembls_checksums_are_obeyed(downloader, bank, tmp_path):
    (bank / "CHECKSUMS").write_text(f"{bsd_sum(BODY)} a.fa\n")
    bring(downloader, tmp_path)

    (bank / "CHECKSUMS").write_text(f"{bsd_sum(BODY[:-1])} a.fa\n")
    publishers._directories.clear()
    with pytest.raises(DigestMismatch, match="announced sum"):
        downloader.download(str(tmp_path))


def test_a_checksum_file_further_up_names_files_below(downloader, bank, tmp_path):
    (bank / "md5checksums.txt").write_text(f"{hex_of('md5')}  ./sub/b.fa\n")
    bring(downloader, tmp_path, "sub/b.fa")


def test_a_checksum_file_is_fetched_once_for_a_directory(downloader, bank, nginx, tmp_path):
    names = [f"{number}.fa" for number in range(20)]
    for name in names:
        (bank / name).write_bytes(BODY)
    (bank / "MD5SUMS").write_text("".join(f"{hex_of('md5')}  {name}\n" for name in names))

    for name in names:
        bring(downloader, tmp_path, name)

    assert requests_to(nginx, bank, "", "MD5SUMS", "0.fa") == [1, 1, 1]


def test_checksums_beside_files_are_fetched_side_by_side(faulty_http, tmp_path):
    names = [f"{number}.fa" for number in range(4)]
    rows = "".join(f'<a href="{name}">x</a><a href="{name}.md5">x</a>' for name in names)
    faulty_http.add("/", Answer(body=f"<title>Index of /</title>{rows}".encode()))
    for name in names:
        faulty_http.add(f"/{name}", Answer(body=BODY))
        body = f"{hex_of('md5')}  {name}\n".encode()
        faulty_http.add(f"/{name}.md5", Answer(body=body, delay_seconds=0.5))

    def bring_one(name):
        downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
        downloader.set_options({**ONCE, "verify": "require"})
        bring(downloader, tmp_path, name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bring_one, names))

    # One after the other they would share a connection.
    asked = [faulty_http.requests_for(f"/{name}.md5") for name in names]
    assert len({one.connection for (one,) in asked}) == 4
    assert len(faulty_http.requests_for("/")) == 1


def test_a_mismatch_is_fetched_again_with_its_checksum(downloader, bank, nginx, tmp_path):
    (bank / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    downloader.set_options(TWICE_AT_ONCE)

    with pytest.raises(DigestMismatch, match=OTHER[:32]):
        bring(downloader, tmp_path)

    assert requests_to(nginx, bank, "a.fa", "a.fa.md5") == [2, 2]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_wrong_twice_in_the_same_way_is_not_fetched_for_ever(
    downloader, bank, nginx, tmp_path
):
    (bank / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    downloader.set_options({"stop_condition": "stop_after_attempt(9)", "wait_policy": "wait_none"})

    with pytest.raises(WrongChecksum, match=f"announced md5 {OTHER[:32]}, received md5 .* twice"):
        bring(downloader, tmp_path)

    assert requests_to(nginx, bank, "a.fa", "a.fa.md5") == [2, 2]


def test_a_file_that_is_wrong_each_time_in_another_way_is_fetched_again(faulty_http, tmp_path):
    bodies = (b"one", b"two", b"three", BODY)
    faulty_http.add("/a.fa", *(Answer(body=body) for body in bodies))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(
        {
            "stop_condition": "stop_after_attempt(9)",
            "wait_policy": "wait_none",
            "checksum": f"md5:{hex_of('md5')}",
        }
    )

    bring(downloader, tmp_path)

    assert len(faulty_http.requests_for("/a.fa")) == len(bodies)


def test_a_file_that_is_right_at_the_second_attempt_comes(faulty_http, tmp_path):
    index = b'<title>Index of /</title><a href="a.fa">a.fa</a><a href="a.fa.md5">a.fa.md5</a>'
    faulty_http.add("/", Answer(body=index))
    faulty_http.add("/a.fa", Answer(body=b"garbled" * 100), Answer(body=BODY))
    faulty_http.add("/a.fa.md5", Answer(body=f"{hex_of('md5')}  a.fa\n".encode()))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(TWICE_AT_ONCE)

    bring(downloader, tmp_path)

    assert len(faulty_http.requests_for("/a.fa.md5")) == 2


def test_by_default_a_file_without_a_checksum_comes(downloader, tmp_path):
    downloader.set_options({"verify": "if_available"})

    bring(downloader, tmp_path)


def test_a_bank_may_require_checksums(downloader, tmp_path):
    downloader.set_files_to_download(["a.fa"])

    with pytest.raises(ChecksumMissing, match=r"a\.fa: expected a checksum"):
        downloader.download(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_checksum_file_itself_needs_none(downloader, bank, tmp_path):
    (bank / "MD5SUMS").write_bytes(BODY)

    bring(downloader, tmp_path, "MD5SUMS")


def test_a_bank_may_do_without_checksums(downloader, bank, nginx, tmp_path):
    (bank / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    downloader.set_options({"verify": "off"})

    bring(downloader, tmp_path)

    assert requests_to(nginx, bank, "", "a.fa.md5") == [0, 0]


def test_a_server_that_does_not_list_is_asked_once_a_minute(faulty_http, tmp_path):
    faulty_http.add("/a.fa", Answer(body=BODY))
    faulty_http.add("/", Answer(status=503))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)

    bring(downloader, tmp_path)
    bring(downloader, tmp_path)

    assert len(faulty_http.requests_for("/")) == 1


def test_a_bank_that_requires_checksums_hears_why_there_are_none(tmp_path):
    downloader = CurlDownload("http", "127.0.0.1:1", "/")
    downloader.set_options({**ONCE, "verify": "require"})
    downloader.set_files_to_download(["a.fa"])

    with pytest.raises(ConnectFailed):
        downloader.download(str(tmp_path))


def test_checksums_are_found_by_ftp(ftp_server, tmp_path, request):
    top = ftp_server.root / f"publisher-{abs(hash(request.node.nodeid))}"
    top.mkdir()
    for name, body in (("a.fa", BODY), ("a.fa.md5", f"{OTHER[:32]}  a.fa\n".encode())):
        (top / name).write_bytes(body)
        (top / name).chmod(0o644)
    top.chmod(0o755)
    downloader = CurlDownload("ftp", f"{ftp_server.host}:{ftp_server.port}", f"/{top.name}")
    downloader.set_options(ONCE)

    with pytest.raises(DigestMismatch):
        bring(downloader, tmp_path)


def test_checksums_are_found_beside_a_direct_file(nginx, bank, tmp_path):
    (bank / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    downloader = DirectHTTPDownload("http", f"{nginx.host}:{nginx.port}")
    downloader.set_options(ONCE)
    downloader.set_files_to_download({"name": f"{bank.name}/a.fa", "save_as": "a.fa"})

    with pytest.raises(DigestMismatch):
        downloader.download(str(tmp_path))


def test_no_checksum_is_looked_for_beside_the_answer_to_a_question(faulty_http, tmp_path):
    faulty_http.add("/search", Answer(body=BODY))
    downloader = DirectHTTPDownload("http", f"{faulty_http.host}:{faulty_http.port}")
    downloader.set_param({"query": "x"})
    downloader.set_files_to_download({"name": "search", "save_as": "a.fa"})

    downloader.download(str(tmp_path))

    assert len(faulty_http.requests) == 1


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "SHA-512"])
def test_a_given_checksum_wins_over_the_publishers(downloader, bank, tmp_path, algorithm):
    (bank / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    digest = hex_of(algorithm.replace("-", "").lower())
    downloader.set_options({"checksum": f"{algorithm}:{digest.upper()}"})
    bring(downloader, tmp_path)

    downloader.set_options({"checksum": f"{algorithm}:{OTHER[: len(digest)]}"})
    with pytest.raises(DigestMismatch):
        downloader.download(str(tmp_path))


def test_the_md5_of_a_message_is_obeyed(downloader, tmp_path):
    downloader.set_files_to_download([{"name": "a.fa", "md5": hex_of("md5")}])
    downloader.download(str(tmp_path))

    downloader.set_files_to_download([{"name": "a.fa", "md5": OTHER[:32]}])
    with pytest.raises(DigestMismatch):
        downloader.download(str(tmp_path))


def test_a_large_file_is_hashed_while_it_comes(downloader, bank, tmp_path):
    body = os.urandom(6 * 1024 * 1024)
    (bank / "large.dat").write_bytes(body)
    (bank / "SHA256SUMS").write_text(f"{hex_of('sha256', body)}  large.dat\n")
    downloader.set_files_to_download(["large.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "large.dat").read_bytes() == body


def test_a_local_file_obeys_a_given_checksum(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.fa").write_bytes(BODY)
    (source / "a.fa.md5").write_text(f"{OTHER[:32]}  a.fa\n")
    downloader = LocalDownload(str(source))
    downloader.set_options(ONCE)
    bring(downloader, tmp_path / "target")

    downloader.set_options({"checksum": f"md5:{OTHER[:32]}"})
    with pytest.raises(DigestMismatch):
        downloader.download(str(tmp_path / "target"))


@pytest.mark.parametrize("value", ["md5", "crc32:00000000", "md5:xyz", 5])
def test_a_wrong_checksum_is_named(downloader, value):
    with pytest.raises(OptionError, match=r"^checksum: expected ALGORITHM:DIGEST"):
        downloader.set_options({"checksum": value})
