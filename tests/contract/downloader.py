"""What every downloader does, on a real server; subclass it with the fixtures it names.

`root`: the folder that the server serves. `open_downloader(directory)`: a downloader of it.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import DownloadError, NoMatch, RemoteFileMissing

ONCE = {"stop_condition": "stop_after_attempt(1)"}
TWICE_AT_ONCE = {"stop_condition": "stop_after_attempt(2)", "wait_policy": "wait_none"}
MODIFIED = datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc)
ODD_NAMES = (
    "a b.dat",
    "a#b.dat",
    "a?b.dat",
    "a%41b.dat",
    "it's.dat",
    "$HOME.dat",
    "a;b.dat",
    "é.dat",
    "a&b+c.dat",
    "-n.dat",
    "*[a].dat",
    "a\\b.dat",
    f"{'long' * 60}.dat",
)

Opener = Callable[[str], DownloadInterface]


class DownloaderContract:
    @pytest.fixture
    def bank(self, root: Path, request: pytest.FixtureRequest) -> str:
        """A folder of its own for each test, with a sub-directory; its name."""
        name = f"bank-{abs(hash(request.node.nodeid))}"
        top = root / name
        (top / "sub" / "deep").mkdir(parents=True)
        for path, body in (
            ("one.dat", b"1" * 1000),
            ("two.dat", b"2" * 2000),
            ("three.fasta.gz", gzip.compress(b">a\nACGT\n")),
            ("sub/four.dat", b"4" * 400),
            ("sub/deep/five.dat", b"5"),
        ):
            (top / path).write_bytes(body)
            os.utime(top / path, (MODIFIED.timestamp(), MODIFIED.timestamp()))
        for path in (top, *top.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return name

    @pytest.fixture
    def downloader(self, open_downloader: Opener, bank: str) -> DownloadInterface:
        downloader = open_downloader(bank)
        downloader.set_options(ONCE)
        return downloader

    def test_lists_files_with_size_and_day_and_directories(self, downloader):
        files, directories = downloader.list()

        found = {file["name"]: file for file in files}
        assert set(found) == {"one.dat", "two.dat", "three.fasta.gz"}
        assert [directory["name"] for directory in directories] == ["sub"]
        two = found["two.dat"]
        assert two["size"] == 2000
        assert (two["year"], two["month"], two["day"]) == (2024, 2, 29)

    def test_downloads_what_matches_byte_for_byte(self, downloader, tmp_path):
        files, directories = downloader.list()
        downloader.match([r".*\.dat$", r"^/sub/.*\.dat$"], files, directories)

        done = downloader.download(str(tmp_path))

        assert (tmp_path / "one.dat").read_bytes() == b"1" * 1000
        assert (tmp_path / "two.dat").read_bytes() == b"2" * 2000
        assert (tmp_path / "sub" / "four.dat").read_bytes() == b"4" * 400
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3
        assert all(file["error"] is False and file["download_time"] >= 0 for file in done)

    def test_takes_everything_below(self, downloader):
        files, directories = downloader.list()

        downloader.match(["**/*"], files, directories)

        names = {file["name"].lstrip("/") for file in downloader.files_to_download}
        assert names == {
            "one.dat",
            "two.dat",
            "three.fasta.gz",
            "sub/four.dat",
            "sub/deep/five.dat",
        }

    def test_gives_a_file_its_modification_time(self, downloader, tmp_path):
        files, _ = downloader.list()
        downloader.match(["^one"], files)

        downloader.download(str(tmp_path))

        modified = datetime.fromtimestamp((tmp_path / "one.dat").stat().st_mtime)
        assert (modified.year, modified.month, modified.day) == (2024, 2, 29)

    def test_saves_a_file_under_another_name(self, downloader, tmp_path):
        downloader.set_files_to_download([{"name": "one.dat", "save_as": "new/name.dat"}])

        downloader.download(str(tmp_path))

        assert (tmp_path / "new" / "name.dat").read_bytes() == b"1" * 1000

    def test_takes_a_compressed_file_as_it_is(self, downloader, tmp_path):
        downloader.set_files_to_download([{"name": "three.fasta.gz"}])

        downloader.download(str(tmp_path))

        assert gzip.decompress((tmp_path / "three.fasta.gz").read_bytes()) == b">a\nACGT\n"

    def test_raises_when_nothing_matches(self, downloader):
        files, directories = downloader.list()

        with pytest.raises(NoMatch, match="nothing"):
            downloader.match(["^nothing$"], files, directories)

    def test_raises_for_a_missing_file_after_the_last_attempt(self, downloader, tmp_path):
        downloader.set_options(TWICE_AT_ONCE)
        downloader.set_files_to_download([{"name": "none.dat"}])

        with pytest.raises(RemoteFileMissing, match=r"none\.dat"):
            downloader.download(str(tmp_path))

        assert downloader.error
        assert downloader.files_to_download[0]["error"] is True
        assert downloader.retryer.statistics["attempt_number"] == 2
        assert list(tmp_path.iterdir()) == []

    def test_keeps_the_old_file_when_the_new_one_does_not_come(self, downloader, tmp_path):
        (tmp_path / "none.dat").write_bytes(b"old")
        downloader.set_files_to_download([{"name": "none.dat"}])

        with pytest.raises(RemoteFileMissing):
            downloader.download(str(tmp_path))

        assert (tmp_path / "none.dat").read_bytes() == b"old"

    def test_raises_when_a_directory_cannot_be_listed(self, open_downloader):
        downloader = open_downloader("no-such-directory")
        downloader.set_options(ONCE)

        with pytest.raises(DownloadError):
            downloader.list()

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_brings_a_file_with_an_odd_name_home(self, downloader, root, bank, tmp_path, name):
        (root / bank / name).write_bytes(name.encode())
        (root / bank / name).chmod(0o644)
        files, _ = downloader.list()
        assert name in {file["name"] for file in files}
        downloader.files_to_download = [file for file in files if file["name"] == name]

        downloader.download(str(tmp_path))

        assert (tmp_path / name).read_bytes() == name.encode()
