from __future__ import annotations

import os
from datetime import date, datetime, timezone
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from biomaj_download.download.direct import DirectFTPDownload, DirectHTTPDownload
from biomaj_download.errors import OptionError, RemoteFileMissing
from tests.contract.downloader import (
    ONCE,
    WRONG_PASSWORD,
    FetchContract,
    FtpNetworkContract,
    NetworkContract,
    with_password,
)
from tests.servers.faulty_http import Answer

MODIFIED = datetime(2023, 5, 6, 12, tzinfo=timezone.utc).timestamp()


class DirectContract(NetworkContract, FetchContract):
    """One file of a server whose address is known."""

    def wanted(self, bank, name):
        return {"name": f"{bank}/{name}", "save_as": name}


class DirectFtpContract(FtpNetworkContract, DirectContract):
    """Direct FTP; `ftp_options(server)` are what it needs."""

    PROTOCOL: ClassVar[str]

    @pytest.fixture
    def root(self, server):
        return server.root

    @pytest.fixture
    def port(self, server):
        return server.port

    @pytest.fixture
    def open_at(self, server, slow_server):
        def opened(_directory, port):
            downloader = DirectFTPDownload(self.PROTOCOL, f"127.0.0.1:{port}", "/")
            trusted = slow_server if port == slow_server.port else server
            downloader.set_options({"ssl_server_cert": str(trusted.ca_file)})
            return downloader

        return opened

    @pytest.fixture
    def locked_out(self, open_downloader, server):
        return with_password(open_downloader, f"{server.user}:{WRONG_PASSWORD}")


class TestDirectFtp(DirectFtpContract):
    PROTOCOL = "ftp"

    @pytest.fixture
    def server(self, ftp_server):
        return ftp_server

    @pytest.fixture
    def slow_server(self, slow_ftp_server):
        return slow_ftp_server


class TestDirectFtps(DirectFtpContract):
    PROTOCOL = "ftps"

    @pytest.fixture
    def server(self, ftps_implicit_server):
        return ftps_implicit_server

    @pytest.fixture
    def slow_server(self, slow_ftps_implicit_server):
        return slow_ftps_implicit_server


class DirectHttpContract(DirectContract):
    """Direct HTTP: an address is taken as it stands, so what it must not hold is encoded."""

    PROTOCOL: ClassVar[str]

    @pytest.fixture
    def root(self, nginx):
        return nginx.root

    @pytest.fixture
    def open_at(self, nginx):
        def opened(directory, port):
            rootdir = "/private" if directory.startswith("private/") else ""
            downloader = DirectHTTPDownload(self.PROTOCOL, f"127.0.0.1:{port}", rootdir)
            downloader.set_options({"ssl_server_cert": str(nginx.ca_file)})
            return downloader

        return opened

    @pytest.fixture
    def locked_out(self, open_downloader, nginx):
        return with_password(
            lambda bank: open_downloader(f"private/{bank}"), f"{nginx.user}:{WRONG_PASSWORD}"
        )

    def wanted(self, bank, name):
        return {"name": f"{bank}/{quote(name)}", "save_as": name}


class TestDirectHttp(DirectHttpContract):
    PROTOCOL = "http"

    @pytest.fixture
    def port(self, nginx):
        return nginx.port


class TestDirectHttps(DirectHttpContract):
    PROTOCOL = "https"

    @pytest.fixture
    def port(self, nginx):
        return nginx.https_port


@pytest.fixture
def ftp(ftp_server):
    path = ftp_server.root / "direct.dat"
    path.write_bytes(b"direct")
    path.chmod(0o644)
    os.utime(path, (MODIFIED, MODIFIED))
    downloader = DirectFTPDownload("ftp", f"{ftp_server.host}:{ftp_server.port}", "/")
    downloader.set_options(ONCE)
    return downloader


@pytest.fixture
def http(faulty_http):
    downloader = DirectHTTPDownload("http", f"{faulty_http.host}:{faulty_http.port}")
    downloader.set_options(ONCE)
    return downloader


def test_direct_ftp_tells_size_and_day_of_its_file(ftp):
    ftp.set_files_to_download("/direct.dat")

    (file,), directories = ftp.list()

    assert directories == []
    assert (file["size"], file["year"], file["month"], file["day"]) == (6, 2023, 5, 6)
    assert file["hash"]


def test_direct_ftp_downloads_under_the_base_name(ftp, tmp_path):
    ftp.set_files_to_download([{"name": "/direct.dat"}])
    ftp.match(["anything"], [])

    ftp.download(str(tmp_path))

    assert (tmp_path / "direct.dat").read_bytes() == b"direct"
    assert date.fromtimestamp((tmp_path / "direct.dat").stat().st_mtime) == date(2023, 5, 6)


def test_direct_download_saves_as_it_is_told(ftp, tmp_path):
    ftp.set_save_as("other.dat")
    ftp.set_files_to_download("/direct.dat")

    ftp.download(str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["other.dat"]


def test_direct_download_takes_one_file(ftp):
    with pytest.raises(ValueError, match="expected one file, got 2"):
        ftp.set_files_to_download(["a", "b"])


def test_direct_http_sends_its_parameters_as_a_query(http, faulty_http, tmp_path):
    faulty_http.add("/search", Answer(body=b"found"))
    http.set_param({"query": "a b&c", "format": "fasta"})
    http.set_files_to_download("search")
    http.set_save_as("result.fasta")

    http.download(str(tmp_path))

    assert (tmp_path / "result.fasta").read_bytes() == b"found"
    (asked,) = faulty_http.requests_for("/search")
    assert asked.method == "GET"
    assert asked.path.endswith("?query=a+b%26c&format=fasta")


def test_direct_http_posts_its_parameters_as_a_form(http, faulty_http, tmp_path):
    faulty_http.add("/search", Answer(body=b"found"))
    http.set_method("POST")
    http.set_param({"query": "a b"})
    http.set_files_to_download("search")

    http.list()
    http.download(str(tmp_path))

    (asked,) = faulty_http.requests_for("/search")
    assert (asked.method, asked.body) == ("POST", b"query=a+b")


def test_direct_http_keeps_a_query_in_its_name(http, faulty_http, tmp_path):
    faulty_http.add("/get", Answer(body=b"found"))
    http.set_files_to_download({"name": "/get?id=1&x=%41", "save_as": "one"})

    http.download(str(tmp_path))

    assert faulty_http.requests_for("/get")[0].path == "/get?id=1&x=%41"


def test_direct_http_tells_size_and_day(http, faulty_http):
    faulty_http.add("/a.dat", Answer(body=b"12345", modified="Sat, 06 May 2023 12:00:00 GMT"))
    http.set_files_to_download("a.dat")

    (file,), _ = http.list()

    assert (file["size"], file["year"], file["month"], file["day"]) == (5, 2023, 5, 6)


@pytest.mark.parametrize("status", [403, 405, 501])
def test_direct_http_does_without_head_where_it_is_refused(http, faulty_http, tmp_path, status):
    """As a signed address does, which is for GET alone."""
    faulty_http.add("/a.dat", Answer(status=status), Answer(body=b"12345"))
    http.set_files_to_download("a.dat")

    (file,), _ = http.list()
    http.download(str(tmp_path))

    today = date.today()
    assert (file["year"], file["month"], file["day"]) == (today.year, today.month, today.day)
    assert file["hash"] is None
    assert (tmp_path / "a.dat").read_bytes() == b"12345"


def test_direct_http_never_saves_an_error_page(http, faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(status=404, body=b"<html>not found</html>"))
    http.set_files_to_download("a.dat")

    with pytest.raises(RemoteFileMissing):
        http.download(str(tmp_path))

    assert list(Path(tmp_path).iterdir()) == []


def test_direct_http_refuses_another_method(http):
    with pytest.raises(OptionError, match="DELETE"):
        http.set_method("DELETE")


def test_a_direct_file_whose_name_is_not_utf8_is_listed(http, faulty_http):
    faulty_http.add("/caf%E9.dat", Answer(body=b"x", modified="Tue, 24 Jan 2023 07:45:00 GMT"))
    http.set_files_to_download("caf\udce9.dat")

    (file,), _ = http.list()

    assert len(file["hash"]) == 32
