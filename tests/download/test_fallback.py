"""FTP that is closed: the same path by HTTPS, where a bank wants it."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest

from biomaj_download.download import fallback
from biomaj_download.download.curl import CurlDownload
from biomaj_download.download.direct import DirectFTPDownload
from biomaj_download.download.rsync import _error_of
from biomaj_download.errors import ConnectFailed, UnexpectedContent
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer import shared
from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.partial import Part
from tests.contract.downloader import ONCE
from tests.servers.process import free_port

CLOSED = f"127.0.0.1:{free_port()}"


@pytest.fixture
def folder(nginx, monkeypatch):
    """A directory that nginx has by HTTPS, of a server whose FTP is closed."""
    monkeypatch.setattr(fallback, "_closed_until", {})
    monkeypatch.setitem(fallback.SAME_BY_HTTPS, "127.0.0.1", f"{nginx.host}:{nginx.https_port}")
    name = f"fallback-{os.urandom(4).hex()}"
    path = nginx.root / name
    path.mkdir()
    (path / "a.dat").write_bytes(b"by https")
    path.chmod(0o755)
    (path / "a.dat").chmod(0o644)
    return name


def opened(nginx, folder, *, kind=CurlDownload, **options):
    downloader = kind("ftp", CLOSED, f"/{folder}")
    told = {"ssl_verifyhost": "false", "ssl_server_cert": str(nginx.ca_file), "verify": "off"}
    downloader.set_options({**ONCE, **told, **options})
    return downloader


def test_a_file_of_an_ftp_server_that_is_closed_comes_by_https(nginx, folder, tmp_path, caplog):
    downloader = opened(nginx, folder, scheme_fallback="https")
    files, directories = downloader.list()
    downloader.match([r"^a\.dat$"], files, directories)

    downloader.download(str(tmp_path))

    assert (tmp_path / "a.dat").read_bytes() == b"by https"
    assert f"asked by https, not ftp server={CLOSED}" in caplog.text


def test_who_comes_after_does_not_wait_for_the_ftp_server_again(nginx, folder, tmp_path, caplog):
    for _ in range(2):
        downloader = opened(nginx, folder, scheme_fallback="https")
        downloader.set_files_to_download(["a.dat"])
        downloader.download(str(tmp_path))

    assert caplog.text.count("asked by https") == 1


def test_a_file_whose_address_is_known_comes_by_https_too(nginx, folder, tmp_path):
    downloader = opened(nginx, folder, kind=DirectFTPDownload, scheme_fallback="https")
    downloader.set_files_to_download(["a.dat"])
    (file,), _ = downloader.list()

    downloader.download(str(tmp_path))

    assert file["size"] == len(b"by https")
    assert (tmp_path / "a.dat").read_bytes() == b"by https"


@pytest.mark.parametrize("options", [{}, {"scheme_fallback": "off"}])
def test_nothing_is_asked_by_https_unless_a_bank_wants_it(nginx, folder, options):
    with pytest.raises(ConnectFailed):
        opened(nginx, folder, **options).list()


def test_an_account_is_not_told_to_another_server(nginx, folder):
    downloader = opened(nginx, folder, scheme_fallback="https")
    downloader.set_credentials("me:secret")

    with pytest.raises(ConnectFailed):
        downloader.list()


def test_rsync_says_of_ncbi_that_it_has_none_any_more():
    error = _error_of("rsync://ftp.ncbi.nlm.nih.gov/a", 5, "@ERROR: Unknown module 'genomes'")

    assert "by https" in str(error)


def test_what_ftp_has_begun_waits_for_ftp(nginx, folder, tmp_path):
    url = hashlib.sha256(f"ftp://{CLOSED}/{folder}/a.dat".encode()).hexdigest()
    part = Part(tmp_path / "a.dat")
    part.create()
    part.write(b"by f")
    part.keep(Validators(url=url, size_bytes=6, modified="20240101000000"))
    part.close()
    downloader = opened(nginx, folder, scheme_fallback="https")
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(ConnectFailed):
        downloader.download(str(tmp_path))

    assert (tmp_path / ".a.dat.part").read_bytes() == b"by f"


def test_an_ftp_server_that_does_not_answer_is_closed_too(nginx, folder, tmp_path):
    before = shared.settings()
    shared.set_up(TransferSettings(connect_timeout_seconds=1))
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            downloader = opened(nginx, folder, scheme_fallback="https")
            downloader.set_server(f"127.0.0.1:{silent.getsockname()[1]}")
            downloader.set_files_to_download(["a.dat"])
            downloader.download(str(tmp_path))
    finally:
        shared.set_up(before)

    assert (tmp_path / "a.dat").read_bytes() == b"by https"


def test_a_page_in_the_place_of_a_file_is_known_by_https_too(nginx, folder, tmp_path):
    (nginx.root / folder / "a.dat").write_bytes(b"<!doctype html><html>Sorry</html>")
    downloader = opened(nginx, folder, scheme_fallback="https")
    downloader.set_files_to_download(["a.dat"])

    with pytest.raises(UnexpectedContent):
        downloader.download(str(tmp_path))
