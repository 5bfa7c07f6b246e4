"""A transfer that broke off goes on where it stopped, and never mixes two versions."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import (
    ArchiveBroken,
    ConnectFailed,
    DigestMismatch,
    DownloadError,
    Truncated,
    UnexpectedContent,
)
from biomaj_download.transfer import kept
from tests.background import start
from tests.contract.downloader import ONCE, TWICE_AT_ONCE, cut_after_retr
from tests.servers.cutter import Cutter
from tests.servers.faulty_http import Answer
from tests.servers.process import free_port

OLD = os.urandom(3 * 1024 * 1024)
NEW = os.urandom(3 * 1024 * 1024)
CUT = 2 * 1024 * 1024
#: Libssh2 reads ahead: what it had not handed on when it was cut is lost.
LARGE = OLD * 4
LATE = 10 * 1024 * 1024
DATE = {"Date": "Tue, 24 Nov 2026 12:00:00 GMT"}
MONDAY, TUESDAY = "Mon, 23 Nov 2026 12:00:00 GMT", "Tue, 24 Nov 2026 11:00:00 GMT"


def by_http(server, options=ONCE):
    downloader = CurlDownload("http", f"{server.host}:{server.port}", "/")
    downloader.set_options({"verify": "off", **options})
    downloader.set_files_to_download(["a.dat"])
    return downloader


def cut_first(server, **known):
    """Have a first attempt cut in the middle, as the server answers by `known`."""
    server.add("/a.dat", Answer(body=OLD, headers=DATE, cut_after=CUT, **known))


def fail(downloader, folder):
    with pytest.raises(DownloadError):
        downloader.download(str(folder))


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def asked(server):
    """Return the Range of each request, and whether it had an If-Range."""
    return [
        (request.headers.get("Range"), request.headers.get("If-Range"))
        for request in server.requests_for("/a.dat")
    ]


@pytest.mark.parametrize(
    ("known", "validator"),
    [
        ({"etag": '"v1"'}, '"v1"'),
        ({"modified": MONDAY}, MONDAY),
        ({"etag": '"v1"', "modified": MONDAY}, '"v1"'),
        ({"etag": 'W/"v1"', "modified": MONDAY}, MONDAY),
    ],
)
def test_http_goes_on_where_it_stopped(faulty_http, tmp_path, known, validator):
    cut_first(faulty_http, **known)
    fail(by_http(faulty_http), tmp_path)
    part = (tmp_path / ".a.dat.part").stat().st_size
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, **known))

    by_http(faulty_http).download(str(tmp_path))  # as another process would

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http) == [(None, None), (f"bytes={part}-", validator)]
    assert part == CUT
    assert names(tmp_path) == ["a.dat"]


def test_http_goes_on_within_its_attempts(faulty_http, tmp_path):
    whole = Answer(body=OLD, headers=DATE, etag='"v1"')
    cut_first(faulty_http, etag='"v1"')
    faulty_http._answers["/a.dat"].append(whole)

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[1][0] == f"bytes={CUT}-"


@pytest.mark.parametrize(
    "second",
    [
        Answer(body=NEW, headers=DATE, etag='"v2"', modified=TUESDAY),
        Answer(body=NEW, headers=DATE, etag='"v2"', modified=TUESDAY, serves_ranges=False),
        Answer(body=NEW[:1000], headers=DATE, etag='"v2"'),
        Answer(body=b"", headers=DATE, etag='"v2"'),
    ],
)
def test_http_begins_again_with_another_version(faulty_http, tmp_path, second):
    cut_first(faulty_http, etag='"v1"', modified=MONDAY)
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/a.dat", second)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == second.body
    assert names(tmp_path) == ["a.dat"]


def test_http_begins_again_where_a_server_has_no_ranges(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"', serves_ranges=False)
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"', serves_ranges=False))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD


@pytest.mark.parametrize(
    "content_range",
    [
        f"bytes 0-{len(OLD) - 1}/{len(OLD)}",
        f"bytes {CUT + 1}-{len(OLD) - 1}/{len(OLD)}",
        f"bytes {CUT}-{len(OLD)}/{len(OLD) + 1}",
        "nonsense",
        "",
    ],
)
def test_http_never_writes_another_range(faulty_http, tmp_path, content_range):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    headers = {**DATE, "Content-Range": content_range}
    odd = Answer(status=206, body=OLD[CUT:], headers=headers, serves_ranges=False)
    faulty_http.add("/a.dat", odd, Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1] == (None, None)


def test_http_goes_on_behind_a_part_of_the_rest(faulty_http, tmp_path):
    """A server may send less than it was asked for (RFC 9110, section 15.3.7)."""
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    told = {**DATE, "Content-Range": f"bytes {CUT}-{CUT + 999}/{len(OLD)}"}
    some = Answer(
        status=206, body=OLD[CUT : CUT + 1000], headers=told, etag='"v1"', serves_ranges=False
    )
    faulty_http.add("/a.dat", some, Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1][0] == f"bytes={CUT + 1000}-"


def test_http_never_takes_an_empty_part_of_the_rest_for_all_of_it(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    told = {**DATE, "Content-Range": f"bytes {CUT}-{CUT}/{len(OLD)}"}
    nothing = Answer(status=206, body=b"", headers=told, etag='"v1"', serves_ranges=False)
    faulty_http.add("/a.dat", nothing, Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD


def test_http_never_takes_a_part_for_the_whole(faulty_http, tmp_path):
    headers = {"Content-Range": f"bytes 0-999/{len(OLD)}"}
    faulty_http.add("/a.dat", Answer(status=206, body=OLD[:1000], headers=headers))

    fail(by_http(faulty_http), tmp_path)

    assert names(tmp_path) == []


def leave_a_whole_part(server, folder):
    """Leave a part that only lacks its final name, as a killed process does."""
    cut_first(server, etag='"v1"')
    fail(by_http(server), folder)
    with (folder / ".a.dat.part").open("ab") as part:
        part.write(OLD[CUT:])


def test_http_takes_a_whole_part_as_it_is(faulty_http, tmp_path):
    leave_a_whole_part(faulty_http, tmp_path)
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1][0] == f"bytes={len(OLD)}-"


def test_http_begins_again_where_a_part_is_longer_than_the_file(faulty_http, tmp_path):
    leave_a_whole_part(faulty_http, tmp_path)
    short = NEW[: 2 * 1024 * 1024]
    refused = Answer(status=416, headers={"Content-Range": f"bytes */{len(short)}"})
    faulty_http.add("/a.dat", refused, Answer(body=short, headers=DATE, etag='"v2"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == short


@pytest.mark.parametrize("content_range", [{}, {"Content-Range": "bytes */*"}])
def test_http_begins_again_where_a_server_only_says_that_there_is_no_rest(
    faulty_http, tmp_path, content_range
):
    leave_a_whole_part(faulty_http, tmp_path)
    refused = Answer(status=416, headers=content_range)
    faulty_http.add("/a.dat", refused, Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1] == (None, None)


def test_http_begins_again_with_another_version_that_came_all_the_same(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"', modified=MONDAY)
    fail(by_http(faulty_http), tmp_path)
    other = Answer(body=NEW, headers=DATE, etag='"v2"', modified=TUESDAY, obeys_if_range=False)
    faulty_http.add("/a.dat", other)

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == NEW


def test_http_goes_on_where_only_the_date_of_a_version_is_another_one(faulty_http, tmp_path):
    """As caches and mirrors say that give the same ETag a date of their own."""
    cut_first(faulty_http, etag='"v1"', modified=MONDAY)
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"', modified=TUESDAY))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1][0] == f"bytes={CUT}-"


def test_http_goes_on_with_a_compressed_file_that_a_server_calls_encoded(faulty_http, tmp_path):
    """As Apache does with AddEncoding."""
    known = {"headers": {**DATE, "Content-Encoding": "x-gzip"}, "etag": '"v1"'}
    body = gzip.compress(OLD, 1)
    faulty_http.add("/a.gz", Answer(body=body, cut_after=CUT, **known))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download(["a.gz"])
    fail(downloader, tmp_path)
    faulty_http.add("/a.gz", Answer(body=body, **known))

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.gz").read_bytes() == body
    assert faulty_http.requests_for("/a.gz")[-1].headers["Range"] == f"bytes={CUT}-"


def test_what_came_stays_where_an_attempt_fails_before_it_goes_on(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/", Answer(status=500))
    fail(by_http(faulty_http, {**ONCE, "verify": "require"}), tmp_path)
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1][0] == f"bytes={CUT}-"


@pytest.mark.parametrize(("status", "stays"), [(403, True), (500, True), (404, False)])
def test_what_came_stays_unless_the_file_is_gone(faulty_http, tmp_path, status, stays):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/a.dat", Answer(status=status))

    fail(by_http(faulty_http), tmp_path)

    assert (".a.dat.part" in names(tmp_path)) is stays


@pytest.mark.parametrize("known", [{}, {"modified": DATE["Date"]}, {"etag": 'W/"v1"'}])
def test_http_begins_again_where_versions_cannot_be_told_apart(faulty_http, tmp_path, known):
    cut_first(faulty_http, **known)
    fail(by_http(faulty_http), tmp_path)
    assert names(tmp_path) == []
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, **known))

    by_http(faulty_http).download(str(tmp_path))

    assert asked(faulty_http)[-1] == (None, None)


def test_a_small_part_is_not_kept(faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"', cut_after=1000))

    fail(by_http(faulty_http), tmp_path)

    assert names(tmp_path) == []


def test_a_part_of_another_address_is_not_gone_on_with(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    faulty_http.add("/other/a.dat", Answer(body=NEW, headers=DATE, etag='"v1"'))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "other/a.dat", "save_as": "a.dat"}])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == NEW


def test_after_a_power_cut_only_synced_bytes_count(faulty_http, tmp_path, monkeypatch):
    synced, cut = 4_000_000, 5_700_000  # more than is written at once lies between them
    monkeypatch.setattr(kept, "_SYNC_EVERY_BYTES", synced)
    answer = Answer(body=LARGE, headers=DATE, etag='"v1"')
    faulty_http.add("/a.dat", replace(answer, cut_after=cut))
    fail(by_http(faulty_http), tmp_path)
    monkeypatch.setattr(kept, "this_run", lambda: "another run")
    faulty_http.add("/a.dat", answer)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == LARGE
    first = int(asked(faulty_http)[-1][0].removeprefix("bytes=").rstrip("-"))
    assert synced <= first < cut


def test_a_part_whose_record_is_garbled_begins_again(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"')
    fail(by_http(faulty_http), tmp_path)
    (tmp_path / ".a.dat.kept").write_text('{"url": 5')
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"'))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1] == (None, None)


def test_the_digest_is_that_of_both_parts_together(faulty_http, tmp_path):
    body = OLD + NEW
    faulty_http.add("/a.dat", Answer(body=body, headers=DATE, etag='"v1"', cut_after=5_000_000))
    right = {"checksum": f"sha256:{hashlib.sha256(body).hexdigest()}"}
    fail(by_http(faulty_http, {**ONCE, **right}), tmp_path)
    faulty_http.add("/a.dat", Answer(body=body, headers=DATE, etag='"v1"'))

    by_http(faulty_http, {**ONCE, **right}).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == body
    assert asked(faulty_http)[-1][0] == "bytes=5000000-"


def test_a_body_cut_without_a_word_goes_on_where_it_stopped(faulty_http, tmp_path):
    cut_first(faulty_http, etag='"v1"', until_close=True)
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", "size": len(OLD)}])
    with pytest.raises(Truncated):
        downloader.download(str(tmp_path))
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"', until_close=True))

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert asked(faulty_http)[-1][0] == f"bytes={CUT}-"


def test_a_body_that_is_shorter_than_listed_is_taken_when_the_server_says_so(faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=OLD, headers=DATE, etag='"v1"', until_close=True))
    downloader = by_http(faulty_http, TWICE_AT_ONCE)
    downloader.set_files_to_download([{"name": "a.dat", "size": 2 * len(OLD)}])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert downloader.retryer.statistics["attempt_number"] == 2


@pytest.mark.parametrize(
    ("options", "name", "error"),
    [
        ({"checksum": f"md5:{'0' * 32}"}, "a.dat", DigestMismatch),
        ({"check_content": "false"}, "a.gz", ArchiveBroken),
        ({}, "a.gz", UnexpectedContent),
    ],
)
def test_a_wrong_file_is_not_kept(faulty_http, tmp_path, options, name, error):
    faulty_http.add(f"/{name}", Answer(body=OLD, headers=DATE, etag='"v1"'))
    downloader = by_http(faulty_http, {**ONCE, **options})
    downloader.set_files_to_download([name])

    with pytest.raises(error):
        downloader.download(str(tmp_path))

    assert names(tmp_path) == []


@pytest.fixture
def slow_ftp(slow_ftp_server):
    """A slow FTP server that was cut in the middle of a file, and a downloader of that."""
    folder = slow_ftp_server.root / f"resume-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "a.dat").write_bytes(OLD)
    for path in (folder, folder / "a.dat"):
        path.chmod(0o755)
    downloader = CurlDownload("ftp", f"127.0.0.1:{slow_ftp_server.port}", f"/{folder.name}")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["a.dat"])
    return slow_ftp_server, folder, downloader


def cut_ftp(server, downloader, folder):
    log_bytes = server.log_path.stat().st_size if server.log_path.exists() else 0
    cut = start(lambda: cut_after_retr(server, log_bytes, after_seconds=0.9))
    fail(downloader, folder)
    cut.result(20)
    assert kept.FROM_BYTES < (folder / ".a.dat.part").stat().st_size < len(OLD)


def test_ftp_goes_on_where_it_stopped(slow_ftp, tmp_path):
    server, _, downloader = slow_ftp
    cut_ftp(server, downloader, tmp_path)
    part = (tmp_path / ".a.dat.part").stat().st_size

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OLD
    assert f'"REST {part}"' in server.log_path.read_text()
    assert names(tmp_path) == ["a.dat"]


@pytest.mark.parametrize("body", [NEW, NEW[:1_000_000]])
def test_ftp_begins_again_with_another_version(slow_ftp, tmp_path, body):
    server, folder, downloader = slow_ftp
    cut_ftp(server, downloader, tmp_path)
    (folder / "a.dat").write_bytes(body)
    os.utime(folder / "a.dat", (1, 1))
    downloader.set_options(TWICE_AT_ONCE)

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == body


@pytest.fixture
def sftp(ssh_server):
    """A function that opens an SFTP downloader of one file by a port."""
    folder = ssh_server.root / f"resume-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "a.dat").write_bytes(LARGE)

    def opened(port):
        downloader = CurlDownload("sftp", f"127.0.0.1:{port}", str(folder))
        downloader.set_credentials(f"{ssh_server.user}:{ssh_server.password}")
        downloader.set_options({**ONCE, "verify": "off", "ssh_new_host": "accept"})
        downloader.set_files_to_download(["a.dat"])
        return downloader

    return opened, folder


def test_sftp_goes_on_where_it_stopped(sftp, ssh_server, tmp_path):
    opened, _ = sftp
    with Cutter(ssh_server.port, cut_after_bytes=LATE) as cutter:
        fail(opened(cutter.port), tmp_path)
        part = (tmp_path / ".a.dat.part").stat().st_size
        before = cutter.brought_bytes

        opened(cutter.port).download(str(tmp_path))

        rest = cutter.brought_bytes - before
    assert (tmp_path / "a.dat").read_bytes() == LARGE
    assert rest < len(LARGE) - part + 500_000
    assert names(tmp_path) == ["a.dat"]


def test_sftp_goes_on_after_a_server_that_was_away(sftp, ssh_server, tmp_path):
    opened, _ = sftp
    with Cutter(ssh_server.port, cut_after_bytes=LATE) as cutter:
        fail(opened(cutter.port), tmp_path)
        part = (tmp_path / ".a.dat.part").stat().st_size
        with pytest.raises(ConnectFailed):
            opened(free_port()).download(str(tmp_path))
        before = cutter.brought_bytes

        opened(cutter.port).download(str(tmp_path))

        rest = cutter.brought_bytes - before
    assert (tmp_path / "a.dat").read_bytes() == LARGE
    assert rest < len(LARGE) - part + 500_000


def test_sftp_goes_on_after_each_cut(sftp, ssh_server, tmp_path):
    opened, _ = sftp
    with Cutter(ssh_server.port, cut_after_bytes=LATE // 2, cuts=2) as cutter:
        fail(opened(cutter.port), tmp_path)
        first = (tmp_path / ".a.dat.part").stat().st_size

        fail(opened(cutter.port), tmp_path)

        assert (tmp_path / ".a.dat.part").stat().st_size > first
        opened(cutter.port).download(str(tmp_path))
    assert (tmp_path / "a.dat").read_bytes() == LARGE


def test_sftp_begins_again_with_another_version(sftp, ssh_server, tmp_path):
    opened, folder = sftp
    with Cutter(ssh_server.port, cut_after_bytes=LATE) as cutter:
        fail(opened(cutter.port), tmp_path)
        (folder / "a.dat").write_bytes(NEW)
        os.utime(folder / "a.dat", (1, 1))
        downloader = opened(cutter.port)
        downloader.set_options(TWICE_AT_ONCE)

        downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == NEW


@pytest.mark.parametrize("body", [OLD, NEW])
def test_rsync_goes_on_where_it_stopped(rsync_server, tmp_path, body):
    folder = rsync_server.root / f"resume-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "a.dat").write_bytes(OLD)
    with Cutter(rsync_server.port, cut_after_bytes=CUT) as cutter:
        downloader = RSYNCDownload(f"rsync://127.0.0.1:{cutter.port}/data", folder.name)
        downloader.set_options({**ONCE, "verify": "off"})
        downloader.set_files_to_download(["a.dat"])
        fail(downloader, tmp_path)
        (folder / "a.dat").write_bytes(body)
        before = cutter.brought_bytes
        kept_bytes = (tmp_path / ".a.dat.part").stat().st_size  # a reset loses what was on its way

        downloader.download(str(tmp_path))

        rest_bytes = cutter.brought_bytes - before
    assert (tmp_path / "a.dat").read_bytes() == body
    assert kept_bytes > 0
    assert (rest_bytes < len(OLD) - kept_bytes // 2) == (body == OLD)
    assert names(tmp_path) == ["a.dat"]
