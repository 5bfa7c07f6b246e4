"""FTP listings by MLSD where a server has it, and of whole trees at once."""

from __future__ import annotations

import re

import pytest

from biomaj_download.download import curl
from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import AccessDenied, BadStatus, DownloadError
from tests.contract.downloader import MODIFIED, ONCE, DownloaderContract
from tests.servers.faulty_http import Answer
from tests.servers.pyftpd import PyftpdServer


@pytest.fixture
def pyftpd():
    with PyftpdServer() as server:
        yield server


def by_ftp(server, directory=""):
    downloader = CurlDownload("ftp", f"{server.host}:{server.port}", f"/{directory}")
    downloader.set_options(ONCE)
    return downloader


def listings(server):
    """Return by which commands a server was asked for listings."""
    told = [command.split()[0] for command in server.commands]
    return [command for command in told if command in ("LIST", "MLSD")]


class TestFtpByMlsd(DownloaderContract):
    @pytest.fixture
    def root(self, pyftpd):
        return pyftpd.root

    @pytest.fixture
    def open_downloader(self, pyftpd):
        return lambda directory: by_ftp(pyftpd, directory)

    def test_asks_by_mlsd_alone(self, downloader, pyftpd):
        downloader.list()

        assert "MLSD" in pyftpd.commands
        assert not any(command.startswith("LIST") for command in pyftpd.commands)

    def test_knows_the_instant_of_a_change(self, downloader):
        listing = downloader.entries()

        assert {file.modified_at for file in listing.files} == {MODIFIED.replace(second=0)}


def test_a_server_without_mlsd_is_asked_for_it_once():
    with PyftpdServer(without=("MLSD", "MLST")) as server:
        (server.root / "a.dat").write_bytes(b"a")
        for _ in range(3):
            files, _ = by_ftp(server).list()
            assert [file["name"] for file in files] == ["a.dat"]

        told = [command.split()[0] for command in server.commands]
        assert (told.count("MLSD"), told.count("LIST")) == (1, 3)
        assert f"{server.host}:{server.port}" in curl._without_mlsd


def test_a_directory_that_is_not_there_is_no_lack_of_mlsd(pyftpd):
    with pytest.raises(DownloadError):
        by_ftp(pyftpd, "none").list()

    assert f"{pyftpd.host}:{pyftpd.port}" not in curl._without_mlsd


def test_a_wrong_password_is_no_lack_of_mlsd(pyftpd):
    downloader = by_ftp(pyftpd)
    downloader.set_credentials("me:wrong")

    with pytest.raises(AccessDenied):
        downloader.list()

    assert f"{pyftpd.host}:{pyftpd.port}" not in curl._without_mlsd


def test_an_empty_directory_is_an_empty_listing(pyftpd, ftp_server, nginx):
    for server in (pyftpd, ftp_server):
        (server.root / "empty").mkdir(exist_ok=True)
        (server.root / "empty").chmod(0o755)
        assert by_ftp(server, "empty").list() == ([], [])
    (nginx.root / "empty").mkdir(exist_ok=True)
    downloader = CurlDownload("http", f"{nginx.host}:{nginx.port}", "/empty")
    assert downloader.list() == ([], [])


def test_a_tree_is_listed_by_many_at_once_within_the_limit(pyftpd):
    for number in range(30):
        folder = pyftpd.root / f"d{number:02}" / "below"
        folder.mkdir(parents=True)
        (folder / "a.dat").write_bytes(b"a")
    downloader = by_ftp(pyftpd)
    files, directories = downloader.list()

    downloader.match(["**/*"], files, directories)

    names = sorted(file["name"] for file in downloader.files_to_download)
    assert names == [f"/d{number:02}/below/a.dat" for number in range(30)]
    assert listings(pyftpd) == ["MLSD"] * (1 + 30 + 30)
    assert pyftpd.most_connections == 2  # transfer.ftp_connections_per_host


@pytest.mark.parametrize("without", [(), ("MLSD", "MLST")])
def test_directories_below_are_listed_without_going_there(without):
    with PyftpdServer(without=without) as server:
        below = server.root / "below" / "further"
        below.mkdir(parents=True)
        for name in ("a.dat", "b.dat"):
            (below.parent / name).write_bytes(b"a")
            (below / name).write_bytes(b"a")
        downloader = by_ftp(server)
        files, directories = downloader.list()
        before = len(server.commands)

        downloader.match(["**/*"], files, directories)

        assert len(downloader.files_to_download) == 4
        assert not [told for told in server.commands[before:] if told.startswith("CWD")]


@pytest.mark.parametrize("name", ["a b", "-l", "a[1]", "a*", "é"])
def test_a_directory_with_an_odd_name_below_is_listed(ftp_server, name):
    folder = ftp_server.root / "odd" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("a.dat", "b.dat"):
        (folder / file).write_bytes(b"a")
    downloader = by_ftp(ftp_server, "odd/")
    files, directories = downloader.list()

    downloader.match([f"{re.escape(name)}$/.*"], files, directories)

    names = sorted(file["name"] for file in downloader.files_to_download)
    assert names == [f"/{name}/a.dat", f"/{name}/b.dat"]


def test_what_is_no_directory_below_or_is_gone_is_told(ftp_server):
    (ftp_server.root / "kinds").mkdir(exist_ok=True)
    (ftp_server.root / "kinds" / "a.dat").write_bytes(b"a")
    downloader = by_ftp(ftp_server, "kinds")

    for name in ("a.dat", "none"):
        with pytest.raises(DownloadError):
            downloader.entries(f"/{name}/")


def test_directories_are_listed_side_by_side(faulty_http):
    rows = "".join(f'<a href="d{number}/">d{number}/</a>\n' for number in range(16))
    faulty_http.add("/", Answer(body=f"<title>Index of /</title><pre>{rows}".encode()))
    below = b'<title>Index of</title><a href="a.dat">a.dat</a>  2024-02-29 12:30  12'
    for number in range(16):
        faulty_http.add(f"/d{number}/", Answer(body=below, delay_seconds=0.2))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    files, directories = downloader.list()

    downloader.match(["**/*"], files, directories)

    assert len(downloader.files_to_download) == 16
    # One after the other they would share a connection (transfer.http_connections_per_host: 4).
    assert len({request.connection for request in faulty_http.requests}) == 4
    assert [len(faulty_http.requests_for(f"/d{number}/")) for number in range(16)] == [1] * 16


def test_a_loop_of_links_is_cut(pyftpd):
    top = pyftpd.root / "data"
    top.mkdir()
    for name in ("a.dat", "b.dat"):
        (top / name).write_bytes(b"a")
    (top / "again").symlink_to(top)
    downloader = by_ftp(pyftpd, "data")
    files, directories = downloader.list()

    downloader.match(["**/*"], files, directories)

    assert sorted(file["name"] for file in downloader.files_to_download) == ["a.dat", "b.dat"]
    assert listings(pyftpd) == ["MLSD"] * 2


def test_a_failure_below_ends_the_listing(pyftpd):
    for number in range(5):
        (pyftpd.root / f"d{number}").mkdir()
    downloader = by_ftp(pyftpd)
    files, directories = downloader.list()
    (pyftpd.root / "d3").rmdir()

    with pytest.raises(DownloadError, match="d3"):
        downloader.match(["**/*"], files, directories)


@pytest.mark.parametrize("by_mlsd", [True, False])
def test_a_directory_that_cannot_be_listed_now_is_not_an_empty_one(by_mlsd):
    without = () if by_mlsd else ("MLSD", "MLST")
    busy = dict.fromkeys(("LIST", "MLSD"), "450 File busy")
    with PyftpdServer(without=without, refuses=busy) as server:
        (server.root / "sub").mkdir()
        for directory in ("", "/sub/"):
            with pytest.raises(BadStatus, match="450"):
                by_ftp(server).list(directory)


def test_a_link_that_cannot_be_listed_now_is_not_taken_for_a_file():
    with PyftpdServer(without=("MLSD", "MLST")) as server:
        (server.root / "release").mkdir()
        (server.root / "release" / "a.dat").write_bytes(b"a")
        (server.root / "current").symlink_to("release")
        files, directories = by_ftp(server).list()
        server.refuses = {"LIST": "425 no data connection"}

        with pytest.raises(BadStatus, match="425"):
            by_ftp(server).match([r"^current/.*\.dat$"], files, directories)
