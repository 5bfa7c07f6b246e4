"""Servers that send us elsewhere: to other schemes, other hosts, or into our own network."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectHTTPDownload
from biomaj_download.download.irods_sessions import sessions
from biomaj_download.download.protocolirods import IRODSDownload
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.errors import AccessDenied, ConnectFailed, DownloadError, UntrustedPeer
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import shared
from biomaj_download.transfer.addresses import guard_of
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.irods import IrodsServer
from tests.servers.nginx import NginxServer
from tests.servers.proxy import RecordingProxy
from tests.servers.pyftpd import PyftpdServer
from tests.servers.tls import issue_certificate
from tests.servers.vsftpd import Tls, VsftpdServer

SECRET = "planted-secret"


@pytest.fixture
def other() -> Iterator[FaultyHttpServer]:
    """Another server than the one that is asked."""
    with FaultyHttpServer() as server:
        server.add("/a.dat", Answer(body=b"data"))
        yield server


def by_http(server: FaultyHttpServer) -> CurlDownload:
    downloader = CurlDownload("http", f"{server.host}:{server.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["a.dat"])
    return downloader


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_do_not_follow_a_redirection_to_another_host(
    faulty_http, other, tmp_path, status
):
    faulty_http.add("/a.dat", Answer(status=status, headers={"Location": f"{other.url}/a.dat"}))
    downloader = by_http(faulty_http)
    downloader.set_credentials(f"user:{SECRET}")

    downloader.download(str(tmp_path))

    assert "Authorization" in faulty_http.requests_for("/a.dat")[0].headers
    assert other.requests_for("/a.dat")
    assert all("Authorization" not in request.headers for request in other.requests)


def test_credentials_do_not_follow_a_redirection_to_an_ftp_server(faulty_http, tmp_path):
    with PyftpdServer() as ftp:
        (ftp.root / "a.dat").write_bytes(b"data")
        location = f"ftp://{ftp.host}:{ftp.port}/a.dat"
        faulty_http.add("/a.dat", Answer(status=302, headers={"Location": location}))
        downloader = by_http(faulty_http)
        downloader.set_credentials(f"user:{SECRET}")

        downloader.download(str(tmp_path))

        assert "USER anonymous" in ftp.commands
        assert not any(SECRET in command for command in ftp.commands)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_form_is_not_sent_on_to_another_host(faulty_http, other, tmp_path, status):
    faulty_http.add("/form", Answer(status=status, headers={"Location": f"{other.url}/a.dat"}))
    downloader = DirectHTTPDownload("http", f"{faulty_http.host}:{faulty_http.port}")
    downloader.set_options(ONCE)
    downloader.set_method("POST")
    downloader.set_param({"password": SECRET})
    downloader.set_files_to_download([{"name": "form", "save_as": "a.dat"}])

    with suppress(DownloadError):
        downloader.download(str(tmp_path))

    assert SECRET.encode() in faulty_http.requests_for("/form")[0].body
    assert not any(request.body for request in other.requests)


@pytest.fixture
def guarded() -> Iterator[None]:
    """No connection may be made to private addresses, of which loopback's are."""
    before = shared.settings()
    shared.set_up(TransferSettings(denied_networks=("private",)))
    yield
    shared.set_up(before)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1"])
def test_no_connection_is_made_to_a_denied_address(faulty_http, tmp_path, host):
    downloader = by_http(faulty_http)
    downloader.set_server(f"{host}:{faulty_http.port}")

    with pytest.raises(AccessDenied, match="denied_networks"):
        downloader.download(str(tmp_path))

    assert faulty_http.requests == []


def test_a_redirection_does_not_lead_to_a_denied_address(faulty_http, tmp_path):
    """The server that redirects is allowed, and what it points to is not."""
    before = shared.settings()
    shared.set_up(TransferSettings(denied_networks=("127.0.0.2/32",)))
    target = f"http://127.0.0.2:{faulty_http.port}/b.dat"
    faulty_http.add("/a.dat", Answer(status=302, headers={"Location": target}))
    try:
        with pytest.raises(AccessDenied, match=r"127\.0\.0\.2"):
            by_http(faulty_http).download(str(tmp_path))
    finally:
        shared.set_up(before)

    assert faulty_http.requests_for("/b.dat") == []


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("kind", ["ftp", "sftp", "rsync", "ssh", "irods"])
def test_no_protocol_connects_to_a_denied_address(tmp_path, kind):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(0.2)
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        downloader = {
            "ftp": lambda: CurlDownload("ftp", place, "/"),
            "sftp": lambda: CurlDownload("sftp", place, "/"),
            "rsync": lambda: RSYNCDownload(f"rsync://{place}/data", "/"),
            "ssh": lambda: RSYNCDownload(place, "/data"),
            "irods": lambda: IRODSDownload("127.0.0.1", "/zone"),
        }[kind]()
        downloader.set_options(ONCE)
        downloader.set_param({"user": "u", "password": "p", "port": place.partition(":")[2]})
        downloader.set_files_to_download(["a.dat"])

        with pytest.raises(AccessDenied, match="denied_networks"):
            downloader.download(str(tmp_path))

        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.fixture
def named(monkeypatch):
    """Have a name mean one address after the other; the last one stays (DNS rebinding)."""
    real = socket.getaddrinfo

    def named(name: str, *addresses: str) -> None:
        left = list(addresses)

        def look_up(host, *where, **how):
            if host == name:
                host = left.pop(0) if len(left) > 1 else left[0]
            return real(host, *where, **how)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return named


@pytest.fixture
def deny() -> Iterator[Callable[[str], None]]:
    """Deny one address alone."""
    before = shared.settings()
    yield lambda address: shared.set_up(TransferSettings(denied_networks=(f"{address}/32",)))
    shared.set_up(before)


def by_irods(server: IrodsServer, host: str) -> IRODSDownload:
    downloader = IRODSDownload(host, server.home)
    downloader.set_options(ONCE)
    downloader.set_param(
        {"user": server.user, "password": server.password, "port": str(server.port)}
    )
    return downloader


def test_irods_connects_to_the_address_that_was_looked_at(named, deny):
    deny("127.0.0.1")
    named("irods.example.org", "::1", "127.0.0.1")
    with IrodsServer() as server, pytest.raises(ConnectFailed):
        by_irods(server, "irods.example.org").list()

    assert server.connections == 0


@pytest.mark.parametrize("name", ["irods.example.org", "other.example.org"])
def test_irods_wants_the_certificate_of_the_name_not_of_the_address(named, deny, tmp_path, name):
    deny("127.0.0.2")
    named("irods.example.org", "127.0.0.1")
    certificate = issue_certificate(tmp_path, name, "127.0.0.1")
    with IrodsServer(tls=certificate) as server:
        downloader = by_irods(server, "irods.example.org")
        downloader.set_options({"irods_tls": "true", "ssl_server_cert": str(server.ca_file)})
        refused = pytest.raises(UntrustedPeer) if name.startswith("other") else nullcontext()
        with refused:
            downloader.list()
        sessions.close()

    assert server.connections > 0


def test_an_allowed_network_is_connected_to_all_the_same(faulty_http, tmp_path):
    before = shared.settings()
    shared.set_up(
        TransferSettings(denied_networks=("private",), allowed_networks=("127.0.0.1/32",))
    )
    faulty_http.add("/a.dat", Answer(body=b"data"))
    try:
        by_http(faulty_http).download(str(tmp_path))
    finally:
        shared.set_up(before)

    assert (tmp_path / "a.dat").read_bytes() == b"data"


@pytest.mark.parametrize("of_bank", [True, False])
def test_the_sites_own_proxy_may_be_private_and_a_banks_may_not(tmp_path, faulty_http, of_bank):
    before = shared.settings()
    faulty_http.add("/a.dat", Answer(body=b"data"))
    with RecordingProxy(hosts={"example.org": faulty_http.port}) as proxy:
        proxies = {} if of_bank else {"*": proxy.url}
        shared.set_up(TransferSettings(denied_networks=("private",), proxies=proxies))
        downloader = by_http(faulty_http)
        downloader.set_server("example.org")
        if of_bank:
            downloader.set_proxy(proxy.url)
        try:
            if of_bank:
                with pytest.raises(AccessDenied):
                    downloader.download(str(tmp_path))
            else:
                downloader.download(str(tmp_path))
        finally:
            shared.set_up(before)
        assert bool(proxy.requests) is not of_bank


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_what_is_not_on_the_public_internet_is_private(address):
    guard = guard_of(TransferSettings(denied_networks=("private",)))

    assert guard.refusal(address) is not None
    assert guard.refusal("8.8.8.8") is None
    assert guard.refusal("2001:4860:4860::8888") is None


def highest_tls(host: str, port: int, *, explicit: bool) -> str | None:
    """Return the TLS version that a server speaks with who would speak any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection((host, port), timeout=10) as plain:
        if explicit:
            plain.recv(4096)
            plain.sendall(b"AUTH TLS\r\n")
            plain.recv(4096)
        with context.wrap_socket(plain) as connection:
            return connection.version()


@pytest.fixture(params=["nginx", Tls.IMPLICIT, Tls.EXPLICIT])
def old_server(request):
    """A server of TLS 1.1, and of nothing newer; and who asks it."""
    if request.param == "nginx":
        with NginxServer(only_old_tls=True) as web:
            yield web, web.https_port, CurlDownload("https", f"{web.host}:{web.https_port}", "/")
        return
    with VsftpdServer(request.param, only_old_tls=True) as server:
        downloader = CurlDownload("ftps", f"{server.host}:{server.port}", "/")
        downloader.set_options({"ftp_tls": request.param.value})
        yield server, server.port, downloader


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_1_1_is_not_spoken(old_server, tmp_path):
    server, port, downloader = old_server
    (server.root / "a.dat").write_bytes(b"data")
    explicit = getattr(server, "tls", None) is Tls.EXPLICIT
    assert highest_tls(server.host, port, explicit=explicit) == "TLSv1.1"
    options = {"verify": "off", "ssl_server_cert": str(server.ca_file)}
    downloader.set_options({**ONCE, **options})
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(ConnectFailed, match=r"(?i)protocol.version|unsupported.protocol"):
        downloader.download(str(tmp_path / "home"))

    assert not (tmp_path / "home" / "a.dat").exists()


def test_a_handle_that_may_go_to_the_sites_proxy_is_not_one_that_a_bank_may_send_there(
    faulty_http, tmp_path
):
    """The requests differ in nothing but whose word the proxy is."""
    before = shared.settings()
    faulty_http.add("/a.dat", Answer(body=b"data"))
    with RecordingProxy(hosts={"example.org": faulty_http.port}) as proxy:
        shared.set_up(TransferSettings(denied_networks=("private",), proxies={"*": proxy.url}))
        try:
            for of_bank in (False, True, False):
                downloader = by_http(faulty_http)
                downloader.set_server("example.org")
                downloader.set_files_to_download([{"name": "a.dat", "size": 4}])
                if of_bank:
                    downloader.set_proxy(proxy.url)
                    with pytest.raises(AccessDenied):
                        downloader.download(str(tmp_path))
                else:
                    downloader.download(str(tmp_path))
        finally:
            shared.set_up(before)
