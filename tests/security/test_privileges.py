"""Who may read and write what the service leaves on this host."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from biomaj_download.broker.queue_file import QueueFile
from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.downloadservice import DownloadService
from biomaj_download.errors import DownloadError
from biomaj_download.outbox import Outbox
from biomaj_download.permissions import set_umask
from biomaj_download.settings import LocalSettings, Settings, StorageSettings, StoreSettings
from biomaj_download.store.embedded import EmbeddedStore
from tests.contract.downloader import ONCE
from tests.servers.faulty_http import Answer

BODY = b"x" * 4 * 1024 * 1024


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Have the umask back, whatever a test sets."""
    before = os.umask(0o022)
    set_umask(0o022)
    yield
    set_umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("umask", "file_mode", "directory_mode"),
    [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o000, 0o664, 0o775)],
)
def test_nothing_is_published_that_all_may_write(
    faulty_http, tmp_path, umask, file_mode, directory_mode
):
    set_umask(umask)
    faulty_http.add("/sub/a.dat", Answer(body=b"data"))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["sub/a.dat"])

    downloader.download(str(tmp_path / "home"))

    assert mode(tmp_path / "home" / "sub" / "a.dat") == file_mode
    assert mode(tmp_path / "home" / "sub") == mode(tmp_path / "home") == directory_mode


def test_a_part_and_its_record_are_not_for_others(faulty_http, tmp_path):
    faulty_http.add("/a.dat", Answer(body=BODY, etag='"1"', cut_after=3 * 1024 * 1024))
    downloader = CurlDownload("http", f"{faulty_http.host}:{faulty_http.port}", "/")
    downloader.set_options({**ONCE, "verify": "off"})
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(DownloadError):
        downloader.download(str(tmp_path))

    modes = {path.suffix: mode(path) for path in tmp_path.iterdir()}
    assert modes == {".part": 0o640, ".kept": 0o600}


def test_a_linked_file_keeps_its_mode(tmp_path):
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "a.dat").write_bytes(b"data")
    (tmp_path / "origin" / "a.dat").chmod(0o400)
    downloader = LocalDownload(str(tmp_path / "origin"), use_hardlinks=True)
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path / "home"))

    assert mode(tmp_path / "home" / "a.dat") == 0o400


def test_state_files_are_for_the_services_user_alone(tmp_path):
    set_umask(0)
    with closing(EmbeddedStore(tmp_path / "sessions.sqlite")) as store:
        store.create_session("bank")
        QueueFile(tmp_path / "queue.sqlite", survives_power_cut=True).close()
        Outbox(tmp_path / "state").put([])
        files = [path for path in tmp_path.rglob("*") if path.is_file()]

        assert len(files) >= 3
        assert {mode(path) for path in files} == {0o600}


def test_the_umask_is_as_configured(tmp_path):
    settings = Settings(
        storage=StorageSettings(umask="0027", state_dir=tmp_path),
        store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions.sqlite'}"),
    )

    DownloadService(settings=settings, rabbitmq=False).close()

    assert os.umask(0o022) == 0o027


def test_the_service_says_once_which_doors_are_open(tmp_path, caplog):
    store = StoreSettings(url=f"sqlite:{tmp_path / 'sessions.sqlite'}")
    closed = Settings(
        store=store,
        storage=StorageSettings(roots=[tmp_path], state_dir=tmp_path),
        local=LocalSettings(roots=[tmp_path]),
    )

    with closing(DownloadService(settings=closed, rabbitmq=False)) as service:
        service.supervise()
    assert "is not set" not in caplog.text

    with closing(DownloadService(settings=Settings(store=store), rabbitmq=False)) as service:
        service.supervise()
    assert caplog.text.count("storage.roots is not set") == 1
    assert caplog.text.count("local.roots is not set") == 1


def test_the_umask_is_read_without_being_changed():
    program = (
        "import os; os.umask(0o037); from biomaj_download.permissions import published_mode; "
        "print(oct(published_mode()), oct(os.umask(0)))"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    assert told.stdout.split() == ["0o640", "0o37"]
