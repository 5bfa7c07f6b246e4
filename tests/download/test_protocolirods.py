from __future__ import annotations

import base64
import hashlib
import os
import socket

import pytest

from biomaj_download.download.irods_sessions import sessions
from biomaj_download.download.protocolirods import IRODSDownload
from biomaj_download.errors import (
    AccessDenied,
    ConnectFailed,
    DigestMismatch,
    OptionError,
    RemoteFileMissing,
    Stalled,
    TimedOut,
    UntrustedPeer,
)
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode
from biomaj_download.worker import open_downloader
from tests.contract.downloader import (
    ONCE,
    TWICE_AT_ONCE,
    WRONG_PASSWORD,
    DownloaderContract,
    NetworkContract,
)
from tests.servers.irods import IrodsServer
from tests.servers.tls import issue_certificate

LARGE = os.urandom(33 * 1024 * 1024)


@pytest.fixture
def irods():
    with IrodsServer() as server:
        yield server
        sessions.close()


@pytest.fixture
def irods_by_tls(tmp_path):
    with IrodsServer(tls=issue_certificate(tmp_path)) as server:
        yield server
        sessions.close()


def by_irods(server, directory="", **params):
    downloader = IRODSDownload(server.host, f"{server.home}/{directory}")
    known = {"user": server.user, "password": server.password, "port": str(server.port)}
    downloader.set_param({**known, **params})
    downloader.set_options(ONCE)
    return downloader


class TestIrods(NetworkContract, DownloaderContract):
    @pytest.fixture
    def root(self, irods):
        return irods.root

    @pytest.fixture
    def port(self, irods):
        return irods.port

    @pytest.fixture
    def open_at(self, irods):
        return lambda directory, port: by_irods(irods, directory, port=str(port))

    @pytest.fixture
    def locked_out(self, irods):
        return lambda directory: by_irods(irods, directory, password=WRONG_PASSWORD)


@pytest.mark.parametrize(
    "params", [{"zone": "tempZone"}, {"zone": "None"}, {"zone": ""}, {"zone": None}]
)
@pytest.mark.parametrize("slash", ["/", ""])
def test_irods_takes_its_zone_from_the_path(irods, params, slash):
    (irods.root / "a.dat").write_bytes(b"a")
    downloader = by_irods(irods, **params)
    downloader.rootdir = slash + irods.home.strip("/")

    files, _ = downloader.list()

    assert [file["name"] for file in files] == ["a.dat"]


def test_irods_takes_an_account_from_the_credentials(irods):
    downloader = by_irods(irods)
    downloader.set_param({"port": str(irods.port)})
    downloader.set_credentials(f"{irods.user}:{irods.password}")

    downloader.list()


def test_irods_is_asked_by_message(irods, tmp_path):
    (irods.root / "a.dat").write_bytes(b"a")
    operation = wire.Operation(type=wire.Operation.DOWNLOAD)
    download = operation.download
    download.bank, download.session, download.local_dir = "bank", "session", str(tmp_path)
    remote = download.remote_file
    remote.protocol = wire.DownloadFile.IRODS
    remote.server, remote.remote_dir = irods.host, irods.home
    # BioMAJ core sends these, and the text "None" for what a bank does not set.
    params = {"user": irods.user, "password": irods.password, "port": irods.port, "zone": None}
    for name, value in {**params, "protocol": None}.items():
        remote.param.add(name=name, value=str(value))
    remote.files.add(name="a.dat")

    open_downloader(decode(operation.SerializeToString())).download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == b"a"


@pytest.mark.parametrize("param", [None, {"password": "x"}, {"user": "me", "port": "many"}])
def test_irods_names_what_it_needs(param):
    downloader = IRODSDownload("localhost", "/tempZone/home")
    downloader.set_options(ONCE)
    downloader.set_param(param)

    with pytest.raises(OptionError, match="expected parameters user, password"):
        downloader.list()


def test_irods_logs_in_once_for_many_files(irods, tmp_path):
    names = [f"{number}.dat" for number in range(30)]
    for name in names:
        (irods.root / name).write_bytes(name.encode())

    for name in names:  # as messages come: a downloader each
        downloader = by_irods(irods)
        downloader.set_files_to_download([name])
        downloader.download(str(tmp_path))

    assert all((tmp_path / name).read_bytes() == name.encode() for name in names)
    assert irods.logins == 1


def test_irods_brings_a_large_object_in_parts(irods, tmp_path):
    (irods.root / "large.dat").write_bytes(LARGE)
    downloader = by_irods(irods)
    downloader.set_files_to_download(["large.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "large.dat").read_bytes() == LARGE
    assert irods.logins > 1


@pytest.mark.parametrize("body", [b"small" * 1000, LARGE])
@pytest.mark.parametrize("with_reset", [True, False])
def test_irods_tries_again_when_the_connection_is_cut(irods, tmp_path, body, with_reset):
    (irods.root / "a.dat").write_bytes(body)
    irods.cut_after_bytes, irods.cuts_left, irods.cut_with_reset = 1000, 1, with_reset
    downloader = by_irods(irods)
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(ConnectFailed):
        downloader.download(str(tmp_path))
    assert list(tmp_path.iterdir()) == []

    irods.cuts_left = 1
    downloader.set_options(TWICE_AT_ONCE)
    downloader.download(str(tmp_path))
    assert (tmp_path / "a.dat").read_bytes() == body


def test_irods_gives_up_a_server_that_stalls(irods, tmp_path):
    (irods.root / "a.dat").write_bytes(b"a" * 1000)
    irods.stall_seconds = 5
    downloader = by_irods(irods)
    downloader.set_options({"low_speed_time": "1"})
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(Stalled):
        downloader.download(str(tmp_path))


def test_irods_ends_when_its_time_is_up(irods, tmp_path):
    (irods.root / "a.dat").write_bytes(b"a" * 5_000_000)
    irods.stall_seconds = 0.3
    downloader = by_irods(irods)
    downloader.set_timeout(0.5)
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(TimedOut):
        downloader.download(str(tmp_path))


def test_irods_goes_on_after_the_server_was_restarted(irods, tmp_path):
    (irods.root / "a.dat").write_bytes(b"a")
    by_irods(irods).list()
    irods.cut_after_bytes, irods.cuts_left = 0, 1
    downloader = by_irods(irods)
    downloader.set_options(TWICE_AT_ONCE)
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == b"a"


def test_irods_holds_a_file_against_the_catalogues_checksum(irods, tmp_path):
    (irods.root / "a.dat").write_bytes(b"right")
    downloader = by_irods(irods)
    downloader.set_options({"verify": "require"})
    downloader.set_files_to_download(["a.dat"])
    downloader.download(str(tmp_path))

    told = base64.b64encode(hashlib.sha256(b"wrong").digest()).decode()
    irods.wrong_checksums[f"{irods.home}/a.dat"] = f"sha2:{told}"
    with pytest.raises(DigestMismatch, match="sha256"):
        downloader.download(str(tmp_path))

    irods.wrong_checksums[f"{irods.home}/a.dat"] = hashlib.md5(b"right").hexdigest()
    downloader.download(str(tmp_path))


def test_irods_does_without_checksums_where_the_catalogue_has_none(irods, tmp_path):
    irods.with_checksums = False
    (irods.root / "a.dat").write_bytes(b"a")
    downloader = by_irods(irods)
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == b"a"


def test_irods_lists_many_pages(irods):
    for number in range(1200):
        (irods.root / f"{number}.dat").touch()

    files, _ = by_irods(irods).list()

    assert len(files) == 1200


def test_irods_names_an_object_that_is_not_there(irods, tmp_path):
    downloader = by_irods(irods)
    downloader.set_files_to_download(["none.dat"])

    with pytest.raises(RemoteFileMissing, match=f"no data object {irods.home}/none.dat"):
        downloader.download(str(tmp_path))


def test_irods_logs_in_by_tls(irods_by_tls):
    downloader = by_irods(irods_by_tls)
    downloader.set_options({"irods_tls": "true", "ssl_server_cert": str(irods_by_tls.ca_file)})

    downloader.list()


def test_irods_refuses_a_certificate_that_nobody_signed(irods_by_tls):
    downloader = by_irods(irods_by_tls)
    downloader.set_options({"irods_tls": "true"})

    with pytest.raises(UntrustedPeer):
        downloader.list()

    downloader.set_options({"ssl_verifypeer": "false"})
    downloader.list()


def test_irods_logs_in_by_pam(irods_by_tls):
    downloader = by_irods(irods_by_tls, password=irods_by_tls.pam_password)
    downloader.set_options(
        {"irods_authentication": "pam_password", "ssl_server_cert": str(irods_by_tls.ca_file)}
    )
    downloader.list()

    downloader = by_irods(irods_by_tls, password="wrong-secret")
    downloader.set_options(
        {"irods_authentication": "pam_password", "ssl_server_cert": str(irods_by_tls.ca_file)}
    )
    with pytest.raises(AccessDenied, match="PAM"):
        downloader.list()


def test_irods_names_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        downloader = IRODSDownload("127.0.0.1", "/tempZone/home")
        downloader.set_options(ONCE)
        port = str(taken.getsockname()[1])
        downloader.set_param({"user": "me", "password": "x", "port": port})

        with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{port}"):
            downloader.list()
