from __future__ import annotations

import socket
from typing import ClassVar

import pytest

from biomaj_download.download.curl import CurlDownload, HTTPParse
from biomaj_download.errors import (
    ConnectFailed,
    HostNotFound,
    OptionError,
    TransferError,
    UntrustedPeer,
)
from biomaj_download.transfer import shared
from tests.contract.downloader import (
    ONCE,
    WRONG_PASSWORD,
    DownloaderContract,
    FtpNetworkContract,
    NetworkContract,
    with_password,
)
from tests.servers.faulty_http import Answer


def host_of(server) -> str:
    return f"{server.host}:{server.port}"


class TestFtp(FtpNetworkContract, DownloaderContract):
    @pytest.fixture
    def root(self, ftp_server):
        return ftp_server.root

    @pytest.fixture
    def port(self, ftp_server):
        return ftp_server.port

    @pytest.fixture
    def slow_server(self, slow_ftp_server):
        return slow_ftp_server

    @pytest.fixture
    def open_at(self):
        return lambda directory, port: CurlDownload("ftp", f"127.0.0.1:{port}", f"/{directory}")

    @pytest.fixture
    def locked_out(self, open_downloader, ftp_server):
        return with_password(open_downloader, f"{ftp_server.user}:{WRONG_PASSWORD}")

    def test_logs_in(self, downloader, ftp_server):
        downloader.set_credentials(f"{ftp_server.user}:{ftp_server.password}")

        files, _ = downloader.list()

        assert len(files) == 3

    @pytest.mark.parametrize("method", ["default", "multicwd", "nocwd", "singlecwd"])
    def test_finds_a_file_by_each_method(self, downloader, tmp_path, method):
        downloader.set_options({"ftp_method": method})
        downloader.set_files_to_download([{"name": "/sub/deep/five.dat"}])

        downloader.download(str(tmp_path))

        assert (tmp_path / "sub/deep/five.dat").read_bytes() == b"5"


class FtpsContract(FtpNetworkContract, DownloaderContract):
    """FTPS; `server` and `TLS` say which kind."""

    TLS: ClassVar[str]

    @pytest.fixture
    def root(self, server):
        return server.root

    @pytest.fixture
    def port(self, server):
        return server.port

    @pytest.fixture
    def open_at(self, server, slow_server):
        def opened(directory, port):
            downloader = CurlDownload("ftps", f"127.0.0.1:{port}", f"/{directory}")
            trusted = slow_server if port == slow_server.port else server
            downloader.set_options({"ftp_tls": self.TLS, "ssl_server_cert": str(trusted.ca_file)})
            return downloader

        return opened

    @pytest.fixture
    def locked_out(self, open_downloader, server):
        return with_password(open_downloader, f"{server.user}:{WRONG_PASSWORD}")

    def test_refuses_a_certificate_that_nobody_signed(self, server):
        downloader = CurlDownload("ftps", host_of(server), "/")
        downloader.set_options({**ONCE, "ftp_tls": self.TLS})
        fresh()

        with pytest.raises(UntrustedPeer):
            downloader.list()

        downloader.set_options({"ssl_verifypeer": "false", "ssl_verifyhost": "false"})
        downloader.list()


class TestFtpsExplicit(FtpsContract):
    TLS = "explicit"

    @pytest.fixture
    def server(self, ftps_server):
        return ftps_server

    @pytest.fixture
    def slow_server(self, slow_ftps_server):
        return slow_ftps_server


class TestFtpsImplicit(FtpsContract):
    TLS = "implicit"

    @pytest.fixture
    def server(self, ftps_implicit_server):
        return ftps_implicit_server

    @pytest.fixture
    def slow_server(self, slow_ftps_implicit_server):
        return slow_ftps_implicit_server


class HttpContract(NetworkContract, DownloaderContract):
    """HTTP and HTTPS on nginx."""

    @pytest.fixture
    def root(self, nginx):
        return nginx.root

    @pytest.fixture
    def locked_out(self, open_downloader, nginx):
        return with_password(
            lambda bank: open_downloader(f"private/{bank}"), f"{nginx.user}:{WRONG_PASSWORD}"
        )

    def test_logs_in(self, open_downloader, bank, nginx):
        downloader = open_downloader(f"private/{bank}")
        downloader.set_credentials(f"{nginx.user}:{nginx.password}")

        files, _ = downloader.list()

        assert len(files) == 3


class TestHttp(HttpContract):
    @pytest.fixture
    def port(self, nginx):
        return nginx.port

    @pytest.fixture
    def open_at(self):
        return lambda directory, port: CurlDownload("http", f"127.0.0.1:{port}", f"/{directory}")

    def test_reads_a_page_by_a_sites_own_expressions(self, bank, nginx):
        parse = HTTPParse(
            dir_line=r'<a href="([\w.-]+)/">.*?(\d{2}-\w{3}-\d{4} \d{2}:\d{2})',
            file_line=r'<a href="([\w.-]+)">.*?(\d{2}-\w{3}-\d{4} \d{2}:\d{2})\s+(\d+)',
            file_date_format="%%d-%%b-%%Y %%H:%%M",
        )
        downloader = CurlDownload("http", host_of(nginx), f"/{bank}", parse)

        files, directories = downloader.list()

        assert {file["name"]: file["size"] for file in files}["two.dat"] == 2000
        assert [directory["name"] for directory in directories] == ["sub"]


class TestHttps(HttpContract):
    @pytest.fixture
    def port(self, nginx):
        return nginx.https_port

    @pytest.fixture
    def open_at(self, nginx):
        def opened(directory, port):
            downloader = CurlDownload("https", f"127.0.0.1:{port}", f"/{directory}")
            downloader.set_options({"ssl_server_cert": str(nginx.ca_file)})
            return downloader

        return opened

    def test_refuses_a_certificate_that_nobody_signed(self, nginx):
        downloader = CurlDownload("https", f"{nginx.host}:{nginx.https_port}", "/")
        downloader.set_options(ONCE)

        with pytest.raises(UntrustedPeer):
            downloader.list()

        downloader.set_options({"ssl_verifypeer": "false"})
        downloader.list()


class TestSftp(NetworkContract, DownloaderContract):
    @pytest.fixture
    def root(self, ssh_server):
        return ssh_server.root

    @pytest.fixture
    def port(self, ssh_server):
        return ssh_server.port

    @pytest.fixture
    def open_at(self, ssh_server):
        def opened(directory, port):
            address = f"127.0.0.1:{port}"
            downloader = CurlDownload("sftp", address, f"{ssh_server.root}/{directory}")
            downloader.set_credentials(f"{ssh_server.user}:{ssh_server.password}")
            known = {"ssh_hosts_file": str(ssh_server.known_hosts_file)}
            other = {"ssh_new_host": "accept"} if port != ssh_server.port else {}
            downloader.set_options({**known, **other})
            return downloader

        return opened

    @pytest.fixture
    def locked_out(self, open_downloader, ssh_server):
        return with_password(open_downloader, f"{ssh_server.user}:{WRONG_PASSWORD}")

    def test_refuses_a_host_whose_key_has_changed(self, downloader, ssh_server, tmp_path):
        hosts_file = tmp_path / "known_hosts"
        lines = ssh_server.known_hosts_file.read_text().splitlines()
        hosts_file.write_text("".join(f"{with_another_key(line)}\n" for line in lines))
        downloader.set_options({"ssh_hosts_file": str(hosts_file), "ssh_new_host": "accept"})
        fresh()

        with pytest.raises(UntrustedPeer):
            downloader.list()


def fresh() -> None:
    """Let the next transfer make a connection of its own."""
    shared.close()


def with_another_key(line: str) -> str:
    host, kind, key = line.split()[:3]
    middle = len(key) // 2
    other = "A" if key[middle] != "A" else "B"
    return f"{host} {kind} {key[:middle]}{other}{key[middle + 1 :]}"


def test_curl_refuses_a_protocol_it_does_not_have():
    with pytest.raises(ValueError, match="gopher"):
        CurlDownload("gopher", "example.org", "/")


def test_curl_takes_a_protocol_in_any_case():
    assert CurlDownload("FTP", "example.org", "/").curl_protocol == "ftp"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ftp_method": "sideways"}, "sideways"),
        ({"ssl_verifyhost": "maybe"}, "ssl_verifyhost"),
        ({"tcp_keepalive": "soon"}, "tcp_keepalive"),
        ({"ssh_new_host": "perhaps"}, "reject"),
    ],
)
def test_curl_names_an_option_with_a_wrong_value(options, expected):
    with pytest.raises(OptionError, match=expected):
        CurlDownload("ftp", "example.org", "/").set_options(options)


def test_curl_names_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        downloader = CurlDownload("http", f"127.0.0.1:{taken.getsockname()[1]}", "/")
        downloader.set_options(ONCE)

        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            downloader.list()


def test_curl_names_a_host_without_an_address():
    downloader = CurlDownload("http", "no-such-host.invalid", "/")
    downloader.set_options(ONCE)

    with pytest.raises(HostNotFound, match="no-such-host"):
        downloader.list()


def test_curl_follows_redirections_unless_told_not_to(faulty_http, tmp_path):
    faulty_http.add("/new.dat", Answer(body=b"here"))
    faulty_http.add("/old.dat", Answer(status=302, headers={"Location": "/new.dat"}))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options(ONCE)
    downloader.set_files_to_download([{"name": "old.dat"}])

    downloader.download(str(tmp_path))
    assert (tmp_path / "old.dat").read_bytes() == b"here"

    downloader.set_options({"allow_redirections": "false"})
    with pytest.raises(TransferError, match="302"):
        downloader.download(str(tmp_path))
