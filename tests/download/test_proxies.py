"""Proxies: from the message, else the configuration, else the environment; for all that is asked.

The databank's name is known to the proxy alone, so what arrives came by it.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from biomaj_download.download.registry import get_handler
from biomaj_download.errors import AccessDenied, DownloadError, HostNotFound, OptionError
from biomaj_download.job import RemoteFile
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import shared
from biomaj_download.worker import open_downloader
from tests.contract.downloader import MODIFIED, ONCE
from tests.servers.proxy import Proxied, RecordingProxy

NAME = "databank.example"
HOST = f"{NAME}:8000"
WRONG = "me:wrong-secret"


@pytest.fixture
def bank(request):
    """Make a bank of one file in a server's folder."""
    name = f"proxied-{abs(hash(request.node.nodeid))}"

    def make(root: Path) -> str:
        folder = root / name
        folder.mkdir()
        (folder / "a.dat").write_bytes(b"a" * 20000)
        os.utime(folder / "a.dat", (MODIFIED.timestamp(), MODIFIED.timestamp()))
        (folder / "a.dat").chmod(0o644)
        folder.chmod(0o755)
        return name

    return make


@pytest.fixture(autouse=True)
def _own_engine(monkeypatch):
    """Each test has connections and an environment of its own."""
    for name in ("http", "https", "ftp", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    yield
    shared.set_up(TransferSettings(low_speed_seconds=59))
    shared.set_up(TransferSettings())


@pytest.fixture
def served(bank, nginx, ftp_server, ssh_server, rsync_server):
    """Return what a protocol needs: its port, root directory, account and options."""

    def serve(protocol):
        server = {"ftp": ftp_server, "sftp": ssh_server, "rsync": rsync_server}.get(protocol, nginx)
        port = nginx.https_port if protocol == "https" else server.port
        directory = f"/{bank(server.root)}"
        account = None
        options = {**ONCE, "verify": "off"}
        if protocol == "https":
            options |= {"ssl_verifyhost": "false", "ssl_server_cert": str(nginx.ca_file)}
        if protocol == "sftp":
            directory = f"{server.root}{directory}"
            account = f"{server.user}:{server.password}"
            options["ssh_new_host"] = "accept"
        return port, directory, account, options

    return serve


def opened(protocol, directory, account, options, proxy=None, proxy_auth=None):
    server = f"rsync://{HOST}/data" if protocol == "rsync" else HOST
    return get_handler(
        protocol,
        server,
        directory,
        credentials=account,
        options=options,
        proxy=proxy,
        proxy_auth=proxy_auth,
    )


def bring(downloader, folder):
    """List, match and download; the body."""
    files, directories = downloader.list()
    downloader.match(["^a"], files, directories)
    assert downloader.files_to_download[0]["size"] in (20000, 0)
    downloader.download(str(folder))
    return (Path(folder) / "a.dat").read_bytes()


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("http", "http"),
        ("http", "https"),
        ("http", "socks5"),
        ("https", "http"),
        ("https", "https"),
        ("https", "socks5"),
        ("ftp", "http"),
        ("ftp", "socks5"),
        ("sftp", "http"),
        ("sftp", "socks5"),
        ("rsync", "http"),
    ],
)
def test_a_proxy_is_used_for_all_that_is_asked(served, tmp_path, protocol, kind):
    port, *known = served(protocol)
    with RecordingProxy({HOST: port}, kind=kind, folder=tmp_path) as proxy:
        if kind == "https":
            shared.set_up(TransferSettings(authorities_file=proxy.ca_file))

        assert bring(opened(protocol, *known, proxy.url), tmp_path / "home") == b"a" * 20000

    assert proxy.requests
    assert all(
        NAME in request.target or "127.0.0.1" in request.target for request in proxy.requests
    )
    if (protocol, kind) == ("http", "http"):
        assert [request.method for request in proxy.requests] == ["GET", "GET"]
    if (protocol, kind) == ("ftp", "http"):  # its page has no sizes, which FTP is not asked for
        assert [request.target.partition(":")[0] for request in proxy.requests] == ["ftp", "ftp"]


def test_a_question_for_a_size_goes_by_the_proxy(served, tmp_path):
    port, directory, *known = served("http")
    with RecordingProxy({HOST: port}) as proxy:
        downloader = opened("http", f"/rounded{directory}", *known, proxy.url)

        bring(downloader, tmp_path)

    assert [request.method for request in proxy.requests] == ["GET", "HEAD", "GET"]
    assert downloader.files_to_download[0]["size"] == 20000


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [("http", "http"), ("https", "http"), ("http", "socks5"), ("rsync", "http")],
)
def test_a_proxys_account_is_told_to_it_alone(served, tmp_path, protocol, kind):
    port, *known = served(protocol)
    with RecordingProxy({HOST: port}, kind=kind, account="me:secret") as proxy:
        bring(opened(protocol, *known, proxy.url, "me:secret"), tmp_path)
        assert {request.account for request in proxy.requests} == {"me:secret"}

        shared.close()
        with pytest.raises(DownloadError) as raised:
            opened(protocol, *known, proxy.url, WRONG).list()

    assert "wrong-secret" not in str(raised.value)


def test_a_message_names_a_proxy(served, tmp_path):
    port, directory, _, options = served("http")
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session", str(tmp_path)
    download.options.update(options)
    download.remote_file.protocol = wire.DownloadFile.HTTP
    download.remote_file.server, download.remote_file.remote_dir = HOST, directory
    download.remote_file.files.add(name="a.dat")
    with RecordingProxy({HOST: port}, account="me:secret") as proxy:
        download.proxy.proxy, download.proxy.proxy_auth = proxy.url, "me:secret"

        open_downloader(decode(operation.SerializeToString())).download(str(tmp_path))

    assert proxy.requests == [Proxied("GET", f"http://{HOST}{directory}/a.dat", "me:secret")]


@pytest.mark.parametrize("host", [HOST, NAME, "*"])
@pytest.mark.parametrize("protocol", ["http", "rsync"])
def test_the_configuration_names_a_proxy_for_a_host(served, tmp_path, host, protocol):
    port, *known = served(protocol)
    with RecordingProxy({HOST: port}) as proxy:
        shared.set_up(TransferSettings(proxies={host: proxy.url, "other.example": "http://none:1"}))

        assert bring(opened(protocol, *known), tmp_path)


def test_the_configuration_may_want_no_proxy_for_a_host(served, monkeypatch):
    _, *known = served("http")
    with RecordingProxy({}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        shared.set_up(TransferSettings(proxies={NAME: "direct", "*": proxy.url}))

        with pytest.raises(HostNotFound):
            opened("http", *known).list()

    assert proxy.requests == []


@pytest.mark.parametrize(
    ("protocol", "variable"),
    [("http", "http_proxy"), ("https", "https_proxy"), ("ftp", "all_proxy")],
)
def test_the_environment_names_a_proxy(served, tmp_path, monkeypatch, protocol, variable):
    port, *known = served(protocol)
    with RecordingProxy({HOST: port}) as proxy:
        monkeypatch.setenv(variable, proxy.url)

        assert bring(opened(protocol, *known), tmp_path)


def test_the_environment_names_hosts_without_a_proxy(served, monkeypatch):
    _, *known = served("http")
    with RecordingProxy({}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", ".example")

        with pytest.raises(HostNotFound):
            opened("http", *known).list()

    assert proxy.requests == []


def test_the_message_wins_over_the_configuration_and_that_over_the_environment(
    served, tmp_path, monkeypatch
):
    port, *known = served("http")
    hosts = {HOST: port}
    with (
        RecordingProxy(hosts) as told,
        RecordingProxy(hosts) as configured,
        RecordingProxy(hosts) as environment,
    ):
        monkeypatch.setenv("http_proxy", environment.url)
        monkeypatch.setenv("no_proxy", "*")
        shared.set_up(TransferSettings(proxies={"*": configured.url}))

        bring(opened("http", *known, told.url), tmp_path)
        counts = [len(proxy.requests) for proxy in (told, configured, environment)]
        assert counts == [2, 0, 0]

        bring(opened("http", *known), tmp_path)
        counts = [len(proxy.requests) for proxy in (told, configured, environment)]
        assert counts == [2, 2, 0]


def test_what_a_proxy_says_of_a_tunnel_is_not_what_the_server_says_of_a_file(served):
    port, *known = served("sftp")
    heard: list[bytes] = []
    with RecordingProxy({HOST: port}) as proxy:
        downloader = opened("sftp", *known, proxy.url)
        url = downloader.file_url(RemoteFile(name="a.dat"))

        shared.engine().move(downloader.request(url, sink=BytesIO(), on_header=heard.append))

    assert proxy.requests
    assert heard == []


def test_rsync_does_not_go_round_a_proxy_that_it_cannot_speak_with(served):
    _, *known = served("rsync")
    with pytest.raises(OptionError, match="rsync takes no other"):
        opened("rsync", *known, "socks5h://me:secret@127.0.0.1:1").list()


def test_rsync_does_not_connect_to_a_banks_proxy_in_a_denied_network(served):
    _, *known = served("rsync")
    shared.set_up(TransferSettings(denied_networks=("private",)))
    with RecordingProxy({}) as proxy, pytest.raises(AccessDenied, match="denied_networks"):
        opened("rsync", *known, proxy.url).list()

    assert proxy.requests == []


def test_an_account_within_the_address_of_a_proxy_is_told_to_it_by_rsync_too(served):
    _, *known = port_and_known = served("rsync")
    with RecordingProxy({HOST: port_and_known[0]}, account="me:secret") as proxy:
        address = proxy.url.replace("://", "://me:secret@")

        opened("rsync", *known, address).list()

    assert {request.account for request in proxy.requests} == {"me:secret"}


def test_a_bank_that_wants_no_proxy_does_not_get_into_a_denied_network(served):
    _, *known = served("rsync")
    shared.set_up(TransferSettings(denied_networks=("private",)))
    downloader = opened("rsync", *known, "direct")
    downloader.set_server("rsync://127.0.0.1/data")

    with pytest.raises(AccessDenied, match="denied_networks"):
        downloader.list()
