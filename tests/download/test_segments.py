"""A large file comes over several connections, where that helps, and is always one version."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import DownloadError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import kept, partial, segments, shared
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.request import TransferRequest
from biomaj_download.transfer.resume import Continuation
from tests.background import start
from tests.contract.downloader import ONCE, TWICE_AT_ONCE
from tests.servers.faulty_http import Answer

MIB = 1024 * 1024
BODY = os.urandom(12 * MIB)
OTHER = os.urandom(12 * MIB)
DATE = {"Date": "Tue, 24 Nov 2026 12:00:00 GMT"}
#: Slow enough for the other connections to be of use.
SLOW = Answer(body=BODY, headers=DATE, etag='"v1"', pause_seconds=0.01, pause_every_bytes=64 * 1024)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let files of some MiB be large ones, and any server a slow one."""
    for scheme, least_bytes, most_bytes in (
        ("http", MIB // 2, MIB),
        ("ftp", MIB, 4 * MIB),
        ("sftp", MIB // 2, MIB),
    ):
        pieces = segments._PIECES[scheme]
        pieces = replace(
            pieces,
            least_bytes=least_bytes,
            most_bytes=most_bytes,
            most_tested_bytes=most_bytes,
        )
        monkeypatch.setitem(segments._PIECES, scheme, pieces)
    monkeypatch.setattr(segments, "FAST_BYTES_A_SECOND", 10**12)
    monkeypatch.setattr(segments, "_LOOK_SECONDS", 0.02)
    set_up()
    yield
    shared.set_up(TransferSettings())


def set_up(**limits):
    shared.set_up(TransferSettings(**{"segments_from_bytes": 2 * MIB, **limits}))


def by_http(server, options=ONCE):
    downloader = CurlDownload("http", f"{server.host}:{server.port}", "/")
    downloader.set_options({"verify": "off", **options})
    downloader.set_files_to_download(["a.dat"])
    return downloader


def ranges_asked(server):
    return [request.headers.get("Range") for request in server.requests_for("/a.dat")]


def ranges_bytes(server, path):
    wanted = [request.headers.get("Range") for request in server.requests_for(path)]
    ends = [asked.partition("=")[2].split("-") for asked in wanted if asked]
    return [int(end) - int(first) + 1 for first, end in ends]


def fail(downloader, folder):
    with pytest.raises(DownloadError):
        downloader.download(str(folder))


def answer_pieces(server, make, *, first=SLOW):
    """Answer the first request by `first`, and each for a piece by what `make` gives for it."""
    server.add("/a.dat", first)
    take = server.take

    def taken(request):
        answer = take(request)
        asked = request.headers.get("Range")
        return answer if asked is None else make(request, len(ranges_asked(server)) - 1)

    server.take = taken


def test_a_large_file_comes_over_as_many_connections_as_its_host_may_have(faulty_http, tmp_path):
    faulty_http.add("/a.dat", SLOW)

    by_http(faulty_http).download(str(tmp_path))

    requests = faulty_http.requests_for("/a.dat")
    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert requests[0].headers.get("Range") is None
    assert {request.headers["If-Range"] for request in requests[1:]} == {'"v1"'}
    assert 4 <= len({request.connection for request in requests}) <= 5  # the first one is lost
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dat"]


def test_pieces_are_shorter_where_a_test_reads_along(faulty_http, tmp_path, monkeypatch):
    pieces = replace(segments._PIECES["http"], most_tested_bytes=MIB // 2)
    monkeypatch.setitem(segments._PIECES, "http", pieces)
    packed = gzip.compress(BODY, compresslevel=0)
    for name in ("a.dat", "b.gz"):
        faulty_http.add(f"/{name}", replace(SLOW, body=packed))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download(["a.dat", "b.gz"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "b.gz").read_bytes() == packed
    assert max(ranges_bytes(faulty_http, "/a.dat")) == MIB
    assert max(ranges_bytes(faulty_http, "/b.gz")) == MIB // 2


@pytest.mark.parametrize(
    "answer",
    [
        replace(SLOW, serves_ranges=False),
        replace(SLOW, etag=None),
        replace(SLOW, etag='W/"v1"'),
        replace(SLOW, chunked=True),
        replace(SLOW, body=BODY[:MIB]),
    ],
)
def test_a_file_that_pieces_would_not_help_comes_over_one(faulty_http, tmp_path, answer):
    faulty_http.add("/a.dat", answer)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == answer.body
    assert ranges_asked(faulty_http) == [None]


@pytest.mark.parametrize(
    "limits",
    [{"segments_from_bytes": 0}, {"http_connections_per_host": 1}, {"max_connections": 1}],
)
def test_segments_can_be_off(faulty_http, tmp_path, limits):
    set_up(**limits)
    faulty_http.add("/a.dat", SLOW)

    by_http(faulty_http).download(str(tmp_path))

    assert ranges_asked(faulty_http) == [None]


def test_a_fast_server_is_not_given_more_connections(faulty_http, tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "FAST_BYTES_A_SECOND", 0)
    faulty_http.add("/a.dat", SLOW)

    by_http(faulty_http).download(str(tmp_path))

    assert ranges_asked(faulty_http) == [None]


def test_the_digest_needs_no_second_read(faulty_http, tmp_path, monkeypatch):
    read_again = []

    class Noted(partial.WatchedFile):
        def __init__(self, path, check):
            read_again.append(path)
            super().__init__(path, check)

    monkeypatch.setattr(partial, "WatchedFile", Noted)
    faulty_http.add("/a.dat", SLOW)
    right = {"checksum": f"sha256:{hashlib.sha256(BODY).hexdigest()}"}

    by_http(faulty_http, {**ONCE, **right}).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert len(ranges_asked(faulty_http)) > 1
    assert read_again == []


def changed(request, number):
    return replace(SLOW, body=OTHER, etag='"v2"')


def other_version_by_range(request, number):
    first, last = request.headers["Range"].removeprefix("bytes=").split("-")
    piece = OTHER[int(first) : int(last) + 1]
    told = {"Content-Range": f"bytes {first}-{last}/{len(OTHER)}", **DATE}
    return Answer(status=206, body=piece, headers=told, etag='"v2"')


def longer_by_range(request, number):
    first, last = request.headers["Range"].removeprefix("bytes=").split("-")
    told = {"Content-Range": f"bytes {first}-{last}/{len(OTHER) + 1}", **DATE}
    return Answer(status=206, body=OTHER[int(first) : int(last) + 1], headers=told, etag='"v1"')


@pytest.mark.parametrize("odd", [changed, other_version_by_range, longer_by_range])
def test_a_piece_of_another_version_is_never_written(faulty_http, tmp_path, odd):
    answer_pieces(faulty_http, odd)
    fail(by_http(faulty_http), tmp_path)
    assert not (tmp_path / "a.dat").exists()
    set_up(segments_from_bytes=0)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert ranges_asked(faulty_http)[-1] is None


def ignores_ranges(request, number):
    return replace(SLOW, serves_ranges=False)


def other_bytes(request, number):
    told = {"Content-Range": f"bytes 0-9/{len(BODY)}", **DATE}
    return Answer(status=206, body=BODY[:10], headers=told, etag='"v1"')


@pytest.mark.parametrize(
    "odd",
    [
        ignores_ranges,
        other_bytes,
        lambda *_: Answer(status=416, headers={"Content-Range": f"bytes */{len(BODY)}"}),
        lambda *_: Answer(status=503),
        lambda *_: Answer(status=429),
        lambda *_: Answer(status=403),
        lambda *_: Answer(raw=b""),
    ],
)
def test_the_first_connection_brings_what_others_are_refused(
    faulty_http, tmp_path, monkeypatch, odd
):
    pieces = replace(segments._PIECES["http"], most_bytes=4 * MIB)  # it goes on for so long
    monkeypatch.setitem(segments._PIECES, "http", pieces)
    answer_pieces(faulty_http, odd)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert ranges_asked(faulty_http).count(None) == 1


def test_pieces_that_wait_for_a_place_are_taken_back_after_a_refusal(
    faulty_http, tmp_path, monkeypatch
):
    set_up(http_connections_per_host=2)
    monkeypatch.setattr(Engine, "free_places", lambda *_, **__: 3)  # as there were a moment ago
    answer_pieces(faulty_http, lambda *_: Answer(status=503))

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert len(ranges_asked(faulty_http)) == 2


def test_a_refusal_may_come_when_the_first_connection_has_ended(faulty_http, tmp_path):
    set_up(http_connections_per_host=2)
    late = Answer(status=403, delay_seconds=0.6)
    answer_pieces(faulty_http, lambda _, number: late if number <= 2 else SLOW)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert ranges_asked(faulty_http).count(None) == 1


def cut_piece(request, number):
    return replace(SLOW, cut_after=200_000) if number == 2 else SLOW


def short_piece(request, number):
    if number != 2:
        return SLOW
    first, last = request.headers["Range"].removeprefix("bytes=").split("-")
    told = {"Content-Range": f"bytes {first}-{last}/{len(BODY)}", **DATE}
    piece = BODY[int(first) : int(last) + 1 - 100_000]
    return Answer(status=206, body=piece, headers=told, etag='"v1"')


@pytest.mark.parametrize("odd", [cut_piece, short_piece])
def test_after_an_error_only_the_holes_come_again(faulty_http, tmp_path, odd):
    answer_pieces(faulty_http, odd)
    fail(by_http(faulty_http), tmp_path)
    left = kept.kept(tmp_path / ".a.dat.part")
    holes = left.ranges.holes(len(BODY))
    before = len(ranges_asked(faulty_http))

    by_http(faulty_http).download(str(tmp_path))  # as another process would

    asked = ranges_asked(faulty_http)[before:]
    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert len(holes) > 1
    assert asked[0] == f"bytes={holes[0][0]}-"
    firsts = [int(one.removeprefix("bytes=").split("-")[0]) for one in asked]
    assert all(any(begin <= first < end for begin, end in holes) for first in firsts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dat"]


@pytest.mark.parametrize("limit", [{}, {"segments_from_bytes": 0}])
def test_holes_are_filled_one_after_the_other_where_segments_are_off(faulty_http, tmp_path, limit):
    answer_pieces(faulty_http, cut_piece)
    fail(by_http(faulty_http), tmp_path)
    set_up(**limit)
    faulty_http.take = type(faulty_http).take.__get__(faulty_http)
    faulty_http.add("/a.dat", SLOW)

    by_http(faulty_http).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert None not in ranges_asked(faulty_http)[-2:]


def test_a_part_with_holes_of_another_version_begins_again(faulty_http, tmp_path):
    answer_pieces(faulty_http, cut_piece)
    fail(by_http(faulty_http), tmp_path)
    faulty_http.take = type(faulty_http).take.__get__(faulty_http)
    faulty_http.add("/a.dat", replace(SLOW, body=OTHER, etag='"v2"'))

    by_http(faulty_http, TWICE_AT_ONCE).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == OTHER


def test_small_files_do_not_wait_for_a_large_one(faulty_http, tmp_path):
    set_up(http_connections_per_host=2)
    faulty_http.add("/a.dat", SLOW)
    names = [f"{number}.dat" for number in range(20)]
    for name in names:
        faulty_http.add(f"/{name}", Answer(body=b"small"))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download(names)
    (tmp_path / "large").mkdir()
    large = start(lambda: by_http(faulty_http).download(str(tmp_path / "large")))

    downloader.download(str(tmp_path))

    assert not large.done()
    large.result(60)
    assert (tmp_path / "large/a.dat").read_bytes() == BODY


def test_a_real_web_server_sends_pieces(nginx, tmp_path):
    folder = nginx.root / f"segments-{time.monotonic_ns()}"
    folder.mkdir()
    body = os.urandom(MIB) * 200
    (folder / "a.dat").write_bytes(body)
    os.utime(folder / "a.dat", (1, 1))
    folder.chmod(0o755)
    set_up(segments_from_bytes=1)
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", f"/{folder.name}")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == body


@pytest.fixture
def slow_ftp(slow_ftp_server):
    folder = slow_ftp_server.root / f"segments-{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "a.dat").write_bytes(BODY)
    for path in (folder, folder / "a.dat"):
        path.chmod(0o755)
    return slow_ftp_server, folder


def test_an_ftp_server_sends_pieces(slow_ftp, tmp_path):
    server, folder = slow_ftp
    set_up(ftp_connections_per_host=4)
    before = server.log_path.read_text() if server.log_path.exists() else ""
    downloader = CurlDownload("ftp", f"127.0.0.1:{server.port}", f"/{folder.name}")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert server.log_path.read_text()[len(before) :].count('"REST ') >= 2


def test_an_sftp_server_sends_pieces(ssh_server, tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "_LOOK_SECONDS", 0.001)
    folder = ssh_server.root / f"segments-{time.monotonic_ns()}"
    folder.mkdir()
    body = BODY * 8
    (folder / "a.dat").write_bytes(body)
    downloader = CurlDownload("sftp", f"127.0.0.1:{ssh_server.port}", str(folder))
    downloader.set_credentials(f"{ssh_server.user}:{ssh_server.password}")
    downloader.set_options({**ONCE, "verify": "off", "ssh_new_host": "accept"})
    downloader.set_files_to_download(["a.dat"])
    pieces = []
    real = segments.Piece.libcurl_options
    monkeypatch.setattr(
        segments.Piece, "libcurl_options", lambda self: pieces.append(self) or real(self)
    )

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == body
    assert len(pieces) > 3


@pytest.mark.parametrize(("left_mib", "is_relieved"), [(90, True), (2, False)])
def test_an_sftp_stream_that_would_come_last_is_relieved(tmp_path, left_mib, is_relieved):
    """All came in pieces from the beginning: no first stream tells how long an answer takes."""
    size_bytes = (10 + left_mib) * MIB
    told = Validators(url="", size_bytes=size_bytes, modified="1")
    request = TransferRequest(url="sftp://127.0.0.1/a.dat")
    with closing(partial.Part(tmp_path / "a.dat")) as part:
        first = Continuation(part, request, told=told)
        file = segments.Segments(shared.engine(), request, part, first, from_bytes=1, told=told)
        slow = segments.Piece(part, request, told, (0, size_bytes), told=told)
        now = time.monotonic()
        slow.submitted_at, slow.began_at, slow.position = now - 11, now - 10, 10 * MIB
        slow._mark = (slow.began_at, 0)
        file._running[Future()] = slow

        assert file._relieve_the_slowest() is is_relieved

        # At 1 MiB a second; another one needs a second to begin.
        keeps_mib = (left_mib + 1) / 2 if is_relieved else left_mib
        assert slow.end == pytest.approx((10 + keeps_mib) * MIB, abs=MIB / 4)
        assert file._missing == ([(slow.end, size_bytes)] if is_relieved else [])


def test_a_part_with_holes_never_gets_the_final_name(tmp_path):
    part = segments.Part(tmp_path / "a")
    part.create()
    part.place([b"end"], 100)

    assert part.holes(103) == [(0, 100)]
    with pytest.raises(DownloadError):
        part.publish_as(tmp_path / "a")
    part.discard()
