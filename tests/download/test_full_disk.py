"""A disk that is full or refuses: final at once, named, and nothing of the file stays."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.download.protocolirods import IRODSDownload
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import DiskFull, PublishError
from tests.contract.downloader import TWICE_AT_ONCE
from tests.servers.faulty_http import Answer
from tests.servers.irods import IrodsServer

#: More than the small disk holds; and so much that iRODS brings it in parts side by side.
TOO_LARGE = os.urandom(1024 * 1024) * 12
LARGER = TOO_LARGE * 3
MIB = 1024 * 1024
#: What a wrong listing says of it.
FAR_TOO_LARGE_BYTES = 1024**4


def told(downloader):
    """Return a downloader of `a.dat` that would try again, were it allowed to."""
    downloader.set_options({"verify": "off", **TWICE_AT_ONCE})
    downloader.set_files_to_download(["a.dat"])
    downloader.reserve_bytes = 0
    return downloader


def by_http(server):
    return told(CurlDownload("http", f"{server.host}:{server.port}", "/"))


def put(server, name, body=TOO_LARGE):
    folder = server.root / name
    folder.mkdir(exist_ok=True)
    (folder / "a.dat").write_bytes(body)
    (folder / "a.dat").chmod(0o644)
    return name


@pytest.fixture
def http(nginx):
    name = put(nginx, "full")
    return CurlDownload("http", f"{nginx.host}:{nginx.port}", f"/{name}")


@pytest.fixture
def ftp(ftp_server):
    name = put(ftp_server, "full")
    return CurlDownload("ftp", f"{ftp_server.host}:{ftp_server.port}", f"/{name}")


@pytest.fixture
def sftp(ssh_server):
    name = put(ssh_server, "full")
    host = f"{ssh_server.host}:{ssh_server.port}"
    downloader = CurlDownload("sftp", host, f"{ssh_server.root}/{name}")
    downloader.set_credentials(f"{ssh_server.user}:{ssh_server.password}")
    downloader.set_options({"ssh_hosts_file": str(ssh_server.known_hosts_file)})
    return downloader


@pytest.fixture
def local(tmp_path):
    (tmp_path / "a.dat").write_bytes(TOO_LARGE)
    return LocalDownload(str(tmp_path))


@pytest.fixture
def rsync(tmp_path):
    (tmp_path / "a.dat").write_bytes(TOO_LARGE)
    return RSYNCDownload(str(tmp_path), "")


@pytest.fixture
def rsync_daemon(rsync_server):
    name = put(rsync_server, "full")
    return RSYNCDownload(f"rsync://{rsync_server.host}:{rsync_server.port}/data", name)


@pytest.fixture(params=[TOO_LARGE, LARGER], ids=["in one go", "in parts"])
def irods(request):
    with IrodsServer() as server:
        (server.root / "a.dat").write_bytes(request.param)
        downloader = IRODSDownload(server.host, server.home)
        account = {"user": server.user, "password": server.password, "port": str(server.port)}
        downloader.set_param(account)
        yield downloader


@pytest.fixture(params=["http", "ftp", "sftp", "local", "rsync", "rsync_daemon"])
def downloader(request):
    return told(request.getfixturevalue(request.param))


def assert_ends_as_full(downloader, folder, capfd):
    """Hold that the disk is filled once, that the error says so, and that nothing stays."""
    (folder / "a.dat").write_bytes(b"old")

    with pytest.raises(DiskFull) as raised:
        downloader.download(str(folder))

    assert str(folder) in str(raised.value)
    assert "No space left on device" in str(raised.value)
    assert "df -h" in str(raised.value)
    assert downloader.retryer.statistics["attempt_number"] == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.dat": b"old"}
    assert "Traceback" not in capfd.readouterr().err


def test_a_disk_that_fills_up_is_named_and_left_as_it_was(downloader, small_disk, capfd):
    assert_ends_as_full(downloader, small_disk, capfd)


def test_a_disk_that_fills_up_under_irods_is_left_as_it_was(irods, small_disk, capfd):
    assert_ends_as_full(told(irods), small_disk, capfd)


def methods(server):
    return [request.method for request in server.requests_for("/a.dat")]


def assert_is_refused_by_the_servers_word(downloader, folder):
    downloader.set_files_to_download([{"name": "a.dat", "size": FAR_TOO_LARGE_BYTES}])

    with pytest.raises(DiskFull, match=r"needs \d+ bytes more, .* but \d+ are free") as raised:
        downloader.download(str(folder))

    assert f"needs {len(TOO_LARGE)} bytes" in str(raised.value)
    assert list(folder.iterdir()) == []


def test_a_file_that_does_not_fit_is_not_begun(downloader, small_disk):
    assert_is_refused_by_the_servers_word(downloader, small_disk)


@pytest.mark.parametrize("irods", [TOO_LARGE], indirect=True)
def test_a_data_object_that_does_not_fit_is_not_begun(irods, small_disk):
    assert_is_refused_by_the_servers_word(told(irods), small_disk)


def test_a_file_that_does_not_fit_is_asked_for_its_size_alone(faulty_http, small_disk):
    faulty_http.add("/a.dat", Answer(body=TOO_LARGE))

    assert_is_refused_by_the_servers_word(by_http(faulty_http), small_disk)

    assert methods(faulty_http) == ["HEAD"]


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({}, ["HEAD", "GET"]),
        ({"refuses_head": True}, ["HEAD", "GET", "GET"]),
        ({"chunked": True}, ["HEAD", "GET"]),
    ],
)
def test_a_listed_size_that_is_wrong_keeps_no_file_out(how, asked, faulty_http, small_disk):
    faulty_http.add("/a.dat", Answer(body=b"short", **how))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", "size": FAR_TOO_LARGE_BYTES}])

    downloader.download(str(small_disk))

    assert (small_disk / "a.dat").read_bytes() == b"short"
    assert methods(faulty_http) == asked


def test_the_rest_of_a_file_needs_room_for_no_more_than_the_rest(faulty_http, small_disk):
    body = TOO_LARGE[: 6 * MIB]
    answer = {"body": body, "etag": '"1"'}
    faulty_http.add("/a.dat", Answer(cut_after=5 * MIB, **answer), Answer(**answer))
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", "size": len(body)}])

    downloader.download(str(small_disk))

    assert (small_disk / "a.dat").read_bytes() == body
    assert "Range" in faulty_http.requests_for("/a.dat")[1].headers


def test_a_file_is_not_begun_that_would_use_up_the_reserve(faulty_http, small_disk):
    faulty_http.add("/a.dat", Answer(body=TOO_LARGE[: 6 * MIB]))
    downloader = by_http(faulty_http)
    downloader.reserve_bytes = 3 * MIB
    downloader.set_files_to_download([{"name": "a.dat", "size": 6 * MIB}])

    with pytest.raises(DiskFull, match=r"storage\.reserve_bytes"):
        downloader.download(str(small_disk))

    assert methods(faulty_http) == ["HEAD"]


def test_a_file_of_unknown_size_is_begun_while_the_reserve_is_free(faulty_http, small_disk):
    faulty_http.add("/a.dat", Answer(body=b"new"))
    downloader = by_http(faulty_http)
    downloader.reserve_bytes = 3 * MIB

    downloader.download(str(small_disk))
    (small_disk / "other").write_bytes(bytes(6 * MIB))
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(DiskFull, match="an unknown number of bytes"):
        downloader.download(str(small_disk))


def test_a_reserve_leaves_half_of_a_small_disk_to_use(faulty_http, small_disk):
    faulty_http.add("/a.dat", Answer(body=TOO_LARGE[: 3 * MIB]))
    downloader = by_http(faulty_http)
    downloader.reserve_bytes = 1024**4
    downloader.set_files_to_download([{"name": "a.dat", "size": 3 * MIB}])

    downloader.download(str(small_disk))

    assert (small_disk / "a.dat").stat().st_size == 3 * MIB


def test_a_link_needs_no_room(small_disk):
    (small_disk / "origin").mkdir()
    (small_disk / "origin" / "a.dat").write_bytes(bytes(5 * MIB))
    downloader = told(LocalDownload(str(small_disk / "origin"), use_hardlinks=True))
    downloader.set_files_to_download([{"name": "a.dat", "size": 5 * MIB}])

    downloader.download(str(small_disk / "new"))

    assert (small_disk / "new" / "a.dat").samefile(small_disk / "origin" / "a.dat")


def test_a_disk_that_is_read_only_is_named_at_once(downloader, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(PublishError, match="Read-only file system; have the file system mounted"):
        downloader.download(str(small_disk))

    assert downloader.retryer.statistics["attempt_number"] == 1


def test_a_right_that_is_missing_is_named_at_once(downloader, small_disk):
    os.seteuid(65534)
    try:
        with pytest.raises(PublishError, match=f"{small_disk}.*Permission denied; let the user"):
            downloader.download(str(small_disk / "bank"))
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("downloader", ["http", "ftp", "sftp", "local"], indirect=True)
def test_a_quota_that_is_used_up_counts_as_a_full_disk(downloader, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "pwritev", fail)
    folder = tmp_path / "local"
    with pytest.raises(DiskFull, match="Disk quota exceeded; remove files of this user"):
        downloader.download(str(folder))

    assert list(folder.iterdir()) == []


def test_a_name_that_is_too_long_is_refused_before_anything_is_asked(faulty_http, tmp_path):
    downloader = by_http(faulty_http)
    downloader.set_files_to_download([{"name": "a.dat", "save_as": "a" * 256}])

    with pytest.raises(
        PublishError, match="at most 255 bytes, got 256; save the file under a shorter"
    ):
        downloader.download(str(tmp_path))

    assert faulty_http.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_the_file_is_named_before_anything_is_asked(
    faulty_http, tmp_path
):
    (tmp_path / "a.dat").mkdir()

    with pytest.raises(PublishError, match="Is a directory; remove the directory"):
        by_http(faulty_http).download(str(tmp_path))

    assert faulty_http.requests == []


@pytest.mark.parametrize("below", ["bank", "bank/sub"])
def test_a_file_in_the_place_of_a_directory_is_named(faulty_http, tmp_path, below):
    (tmp_path / "bank").write_bytes(b"")

    with pytest.raises(PublishError, match="remove the file that stands where a directory"):
        by_http(faulty_http).download(str(tmp_path / below))

    assert (tmp_path / "bank").is_file()
