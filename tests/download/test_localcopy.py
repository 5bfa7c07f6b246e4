from __future__ import annotations

import os
from pathlib import Path

import pytest

from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.errors import RemoteFileMissing
from tests.contract.downloader import ONCE, DownloaderContract


class TestLocal(DownloaderContract):
    @pytest.fixture
    def root(self, tmp_path_factory) -> Path:
        return tmp_path_factory.mktemp("origin")

    @pytest.fixture
    def open_downloader(self, root):
        return lambda directory: LocalDownload(str(root / directory))

    def test_links_where_it_is_told_to(self, root, bank, tmp_path):
        downloader = LocalDownload(str(root / bank), use_hardlinks=True)
        downloader.set_files_to_download([{"name": "one.dat"}])

        downloader.download(str(tmp_path))

        assert (tmp_path / "one.dat").samefile(root / bank / "one.dat")

    def test_takes_regular_files_only(self, root, bank, tmp_path):
        downloader = LocalDownload(str(root / bank))
        downloader.set_options(ONCE)
        downloader.set_files_to_download([{"name": "sub"}])

        with pytest.raises(RemoteFileMissing, match="sub"):
            downloader.download(str(tmp_path))

    @pytest.mark.parametrize("target", ["odd", "one.dat/x"])
    def test_a_link_that_leads_nowhere_is_left_out(self, downloader, root, bank, target):
        (root / bank / "odd").symlink_to(target)

        files, _ = downloader.list()

        assert {file["name"] for file in files} == {"one.dat", "two.dat", "three.fasta.gz"}


def test_a_hard_link_leaves_the_time_of_the_file_alone(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.dat").write_bytes(b"a")
    os.utime(source / "a.dat", ns=(123456789, 1_700_000_000_123_456_789))
    downloader = LocalDownload(str(source), use_hardlinks=True)
    downloader.set_files_to_download([{"name": "a.dat", "year": 2020, "month": 1, "day": 2}])

    downloader.download(str(tmp_path / "home"))

    assert (tmp_path / "home" / "a.dat").samefile(source / "a.dat")
    assert (source / "a.dat").stat().st_mtime_ns == 1_700_000_000_123_456_789
