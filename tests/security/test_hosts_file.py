"""A message names the file of known hosts, and has a key added to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from biomaj_download.broker.embedded import EmbeddedBroker
from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.rsync import RSYNCDownload
from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import AccessDenied, DownloadError, OptionError
from biomaj_download.job import Job, Kind, RemoteFile
from biomaj_download.settings import Settings, StorageSettings, StoreSettings
from tests.contract.downloader import ONCE

KINDS = ["sftp", "rsync"]


@pytest.fixture
def opened(ssh_server, tmp_path):
    """Open a downloader of a service that has a new host added to a file."""

    def opened(kind: str, hosts_file: Path, **options: str) -> DownloadInterface:
        place = f"{ssh_server.host}:{ssh_server.port}"
        downloader: DownloadInterface
        if kind == "sftp":
            downloader = CurlDownload("sftp", place, f"{ssh_server.root}/")
            downloader.set_credentials(f"{ssh_server.user}:{ssh_server.password or ''}")
        else:
            downloader = RSYNCDownload(place, str(ssh_server.root))
            downloader.set_credentials(ssh_server.user)
        downloader.ssh_hosts_root = tmp_path / "state"
        downloader.set_options(
            {
                **ONCE,
                "ssh_key_file": str(ssh_server.key_file),
                "ssh_hosts_file": str(hosts_file),
                "ssh_new_host": "add",
                **options,
            }
        )
        return downloader

    (tmp_path / "state").mkdir()
    return opened


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["authorized_keys", "state/../authorized_keys", "state/link"])
def test_a_key_is_added_to_no_other_file(opened, tmp_path, kind, way):
    (tmp_path / "state" / "link").symlink_to(tmp_path / "authorized_keys")

    with pytest.raises(AccessDenied, match="ssh_new_host=add"):
        opened(kind, tmp_path / way).list()

    assert not (tmp_path / "authorized_keys").exists()


@pytest.mark.parametrize("name", ["known hosts", "%r", "${HOME}", "a#b", "'a'", '"a"', "a\\b"])
def test_ssh_reads_the_path_of_the_file_as_one(opened, tmp_path, name):
    with pytest.raises(OptionError, match="ssh_hosts_file: expected a path"):
        opened("rsync", tmp_path / "state" / name).list()


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_added_below_the_services_own_directory(opened, tmp_path, kind):
    hosts_file = tmp_path / "state" / "known_hosts"
    try:
        opened(kind, hosts_file).list()
    except DownloadError:  # this server knows SFTP alone
        assert kind == "rsync"

    assert hosts_file.read_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["accept", "reject"])
def test_a_file_that_nothing_is_added_to_may_lie_anywhere(opened, ssh_server, kind, policy):
    hosts_file = ssh_server.known_hosts_file
    before = hosts_file.read_bytes()
    try:
        opened(kind, hosts_file, ssh_new_host=policy).list()
    except AccessDenied:
        raise
    except DownloadError:  # this server knows SFTP alone
        assert kind == "rsync"

    assert hosts_file.read_bytes() == before


def test_a_message_to_a_service_may_not_choose_the_file(ssh_server, tmp_path):
    hosts_file = tmp_path / "authorized_keys"
    settings = Settings(
        storage=StorageSettings(state_dir=tmp_path / "state", reserve_bytes=0),
        store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions'}"),
    )
    job = Job(
        kind=Kind.DOWNLOAD,
        bank="bank",
        session="s",
        local_dir=tmp_path / "home",
        protocol="sftp",
        server=f"{ssh_server.host}:{ssh_server.port}",
        remote_dir="/",
        files=(RemoteFile(name="a"),),
        options={**ONCE, "ssh_new_host": "add", "ssh_hosts_file": str(hosts_file)},
    )

    service = DownloadService(settings=settings, broker=EmbeddedBroker(tmp_path / "queue"))
    result = service._worker.work(job)
    service.close()

    assert isinstance(result.error, AccessDenied)
    assert not hosts_file.exists()
