"""Files that this process downloads, here from this host."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import redis

from biomaj_download.client.cancelling import CancelFlag
from biomaj_download.client.local import LocalDownloads
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.errors import Cancelled, MessageError
from biomaj_download.job import Kind
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import new_operation
from biomaj_download.store.base import Progress


@pytest.fixture
def source(tmp_path):
    """A directory with ten files."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(10):
        (source / f"file-{number}").write_text(f"content {number}")
    return source


@pytest.fixture
def offline_dir(tmp_path):
    return tmp_path / "offline"


@pytest.fixture
def request_for(source, offline_dir):
    """Make the request for a file."""

    def make(name):
        operation = new_operation(
            Kind.DOWNLOAD, bank="alu", session="s-1", local_dir=str(offline_dir)
        )
        operation.download.options["stop_condition"] = "stop_after_attempt(1)"
        remote_file = operation.download.remote_file
        remote_file.protocol = wire.DownloadFile.LOCAL
        remote_file.server = ""
        remote_file.remote_dir = str(source)
        remote_file.files.add().name = name
        return operation

    return make


@pytest.fixture
def downloads():
    with closing(LocalDownloads(CancelFlag(None, None), at_once=3)) as downloads:
        downloads.open("alu", None)
        yield downloads


@pytest.fixture
def gate(monkeypatch):
    """Hold every copy back until the gate is set; `.entered` counts those that wait."""

    class Gate(threading.Event):
        entered = threading.Semaphore(0)

    gate = Gate()
    fetch = LocalDownload.fetch

    def hold(*arguments):
        gate.entered.release()
        assert gate.wait(10)
        return fetch(*arguments)

    monkeypatch.setattr(LocalDownload, "fetch", hold)
    yield gate
    gate.set()


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def test_local_downloads_bring_every_file_home(downloads, request_for, source, offline_dir):
    downloads.submit([request_for(f"file-{number}") for number in range(10)])

    assert downloads.wait() is False

    assert names_in(offline_dir) == names_in(source)
    assert (offline_dir / "file-7").read_text() == "content 7"
    assert downloads.progress() == Progress(10, 0)


def test_local_downloads_start_when_they_are_waited_for(downloads, request_for, offline_dir):
    downloads.submit([request_for("file-0")])

    assert not offline_dir.exists()
    assert downloads.progress() == Progress(0, 0)


def test_local_downloads_of_nothing_are_done(downloads):
    assert downloads.wait() is False


def test_local_downloads_go_on_after_a_file_that_fails(downloads, request_for, offline_dir, caplog):
    downloads.submit([request_for(name) for name in ("file-0", "missing", "file-1")])

    assert downloads.wait() is True

    assert names_in(offline_dir) == ["file-0", "file-1"]
    assert downloads.progress() == Progress(3, 1)
    assert "download failed bank=alu" in caplog.text
    assert "missing" in caplog.text


def test_local_downloads_count_a_downloader_that_breaks_as_a_failure(
    downloads, request_for, monkeypatch, caplog
):
    def break_down(*_):
        raise RuntimeError("a plugin's fault")

    monkeypatch.setattr(LocalDownload, "_download", break_down)
    downloads.submit([request_for("file-0")])

    assert downloads.wait() is True
    assert "a plugin's fault" in caplog.text


def test_local_downloads_work_with_as_many_threads_as_they_may(
    downloads, request_for, gate, in_background
):
    downloads.submit([request_for(f"file-{number}") for number in range(10)])
    result = in_background(downloads.wait)

    for _ in range(3):
        assert gate.entered.acquire(timeout=10)
    assert not gate.entered.acquire(timeout=0.2)

    gate.set()
    assert result.result(timeout=10) is False


def test_local_downloads_are_cancelled_between_two_files(
    request_for, gate, in_background, redis_server, offline_dir
):
    with (
        redis.Redis(redis_server.host, redis_server.port) as redis_client,
        closing(LocalDownloads(CancelFlag(redis_client, None), at_once=1)) as downloads,
    ):
        downloads.open("alu", None)
        downloads.submit([request_for(f"file-{number}") for number in range(5)])
        result = in_background(downloads.wait)
        gate.entered.acquire(timeout=10)

        redis_client.set("biomaj:alu:action:cancel", 1)

        with pytest.raises(Cancelled, match="bank alu"):
            result.result(timeout=10)
        gate.set()
        assert not gate.entered.acquire(timeout=0.2)
        assert not redis_client.exists("biomaj:alu:action:cancel")


def test_local_downloads_that_are_cleaned_never_start(downloads, request_for, offline_dir):
    downloads.submit([request_for("file-0")])

    downloads.clean()

    assert downloads.wait() is False
    assert not offline_dir.exists()


def test_local_downloads_can_go_on_after_they_were_waited_for(downloads, request_for):
    downloads.submit([request_for("file-0")])
    downloads.wait()

    downloads.submit([request_for("file-1")])

    assert downloads.wait() is False
    assert downloads.progress() == Progress(2, 0)


def test_local_downloads_refuse_what_is_no_request(downloads):
    with pytest.raises(MessageError, match="remote_file"):
        downloads.submit([new_operation(Kind.DOWNLOAD, bank="alu", session="s", local_dir="/x")])
