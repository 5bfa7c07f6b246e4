"""An FTP server sends a whole file, and never says that it has (226)."""

from __future__ import annotations

from concurrent.futures import Future
from io import BytesIO

import pytest

from biomaj_download.download.curl import CurlDownload
from biomaj_download.errors import DownloadError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.engine import Engine
from biomaj_download.transfer.request import TransferRequest
from tests.contract.downloader import TWICE_AT_ONCE
from tests.servers.process import poll
from tests.servers.pyftpd import PyftpdServer

BODY = b"a" * 100_000


@pytest.fixture
def silent():
    """Is silent after the first file."""
    with PyftpdServer(withholds={"226": 1}) as server:
        (server.root / "a.dat").write_bytes(BODY)
        yield server


def test_other_transfers_of_the_host_go_on_meanwhile(silent):
    url = f"ftp://{silent.host}:{silent.port}/a.dat"
    engine = Engine(TransferSettings())
    first, others = BytesIO(), [BytesIO() for _ in range(4)]
    try:
        held = engine.submit(TransferRequest(url=url, sink=first, timeout_seconds=5))
        for _ in poll(5):
            if first.getvalue() == BODY:
                break
        futures: list[Future] = [
            engine.submit(TransferRequest(url=url, sink=sink)) for sink in others
        ]
        for future in futures:
            future.result(timeout=30)

        assert not held.done()
        assert isinstance(held.exception(timeout=60), DownloadError)
    finally:
        engine.close()

    assert [sink.getvalue() for sink in others] == [BODY] * 4


def test_the_file_is_there_after_its_time_and_another_attempt(silent, tmp_path):
    downloader = CurlDownload("ftp", f"{silent.host}:{silent.port}", "/")
    downloader.set_options({**TWICE_AT_ONCE, "verify": "off"})
    downloader.set_timeout(2)
    downloader.set_files_to_download(["a.dat"])

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["a.dat"]
    assert silent.withholds["226"] == 0
