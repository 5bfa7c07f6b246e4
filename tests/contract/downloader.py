"""What every downloader does, on a real server; subclass what fits, with the fixtures it names.

`root`: the folder that the server serves. `open_downloader(directory)`: a downloader of it.
`FetchContract`: bring files home. `DownloaderContract`: list and match as well. `NetworkContract`
beside one of them: what networks and accounts do; it names more fixtures.
"""

from __future__ import annotations

import gzip
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import (
    AccessDenied,
    ConnectFailed,
    DownloadError,
    NoMatch,
    RemoteFileMissing,
)
from tests.background import start
from tests.servers.cutter import Cutter
from tests.servers.process import poll

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
    "#a.dat",
    ";a.dat",
    "é.dat",
    "a&b+c.dat",
    "-n.dat",
    "*[a].dat",
    "a\\b.dat",
    f"{'long' * 60}.dat",
)

WRONG_PASSWORD = "wrong-secret"
#: A transfer that is to be cut has begun by then.
CUT_SECONDS = 20
LARGE_BYTES = 3 * 1024 * 1024

Opener = Callable[[str], DownloadInterface]


class FetchContract:
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

    def wanted(self, bank: str, name: str) -> dict[str, str]:
        """Return the dict for a file of the bank."""
        return {"name": name, "save_as": name}

    def test_gives_a_file_its_modification_time(self, downloader, bank, tmp_path):
        downloader.set_files_to_download([self.wanted(bank, "one.dat")])

        downloader.download(str(tmp_path))

        modified = datetime.fromtimestamp((tmp_path / "one.dat").stat().st_mtime)
        assert (modified.year, modified.month, modified.day) == (2024, 2, 29)

    def test_saves_a_file_under_another_name(self, downloader, bank, tmp_path):
        wanted = self.wanted(bank, "one.dat") | {"save_as": "new/name.dat"}
        downloader.set_files_to_download([wanted])

        downloader.download(str(tmp_path))

        assert (tmp_path / "new" / "name.dat").read_bytes() == b"1" * 1000

    def test_takes_a_compressed_file_as_it_is(self, downloader, bank, tmp_path):
        downloader.set_files_to_download([self.wanted(bank, "three.fasta.gz")])

        downloader.download(str(tmp_path))

        assert gzip.decompress((tmp_path / "three.fasta.gz").read_bytes()) == b">a\nACGT\n"

    def test_raises_for_a_missing_file_after_the_last_attempt(self, downloader, bank, tmp_path):
        downloader.set_options(TWICE_AT_ONCE)
        downloader.set_files_to_download([self.wanted(bank, "none.dat")])

        with pytest.raises(RemoteFileMissing, match=r"none\.dat"):
            downloader.download(str(tmp_path))

        assert downloader.error
        assert downloader.files_to_download[0]["error"] is True
        assert downloader.retryer.statistics["attempt_number"] == 2
        assert list(tmp_path.iterdir()) == []

    def test_keeps_the_old_file_when_the_new_one_does_not_come(self, downloader, bank, tmp_path):
        (tmp_path / "none.dat").write_bytes(b"old")
        downloader.set_files_to_download([self.wanted(bank, "none.dat")])

        with pytest.raises(RemoteFileMissing):
            downloader.download(str(tmp_path))

        assert (tmp_path / "none.dat").read_bytes() == b"old"

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_brings_a_file_with_an_odd_name_home(self, downloader, root, bank, tmp_path, name):
        (root / bank / name).write_bytes(name.encode())
        (root / bank / name).chmod(0o644)
        downloader.set_files_to_download([self.wanted(bank, name)])

        downloader.download(str(tmp_path))

        assert (tmp_path / name).read_bytes() == name.encode()


class DownloaderContract(FetchContract):
    def test_lists_files_with_size_and_day_and_directories(self, downloader):
        files, directories = downloader.list()

        found = {file["name"]: file for file in files}
        assert set(found) == {"one.dat", "two.dat", "three.fasta.gz"}
        assert [directory["name"] for directory in directories] == ["sub"]
        two = found["two.dat"]
        assert two["size"] == 2000
        assert (two["year"], two["month"], two["day"]) == (2024, 2, 29)

    def test_lists_odd_names(self, downloader, root, bank):
        for name in ODD_NAMES:
            (root / bank / name).touch()

        files, _ = downloader.list()

        assert set(ODD_NAMES) <= {file["name"] for file in files}

    def test_enters_directories_with_odd_names(self, downloader, root, bank, tmp_path):
        for name in ODD_NAMES:
            folder = root / bank / f"d {name}"
            folder.mkdir()
            (folder / name).write_bytes(name.encode())
            folder.chmod(0o755)
            (folder / name).chmod(0o644)
        files, directories = downloader.list()

        downloader.match(["^/d .*/.*"], files, directories)
        downloader.download(str(tmp_path))

        brought = {path.name: path.read_bytes() for path in tmp_path.glob("d */*")}
        assert brought == {name: name.encode() for name in ODD_NAMES}

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

    def test_raises_when_nothing_matches(self, downloader):
        files, directories = downloader.list()

        with pytest.raises(NoMatch, match="nothing"):
            downloader.match(["^nothing$"], files, directories)

    def test_raises_when_a_directory_cannot_be_listed(self, open_downloader):
        downloader = open_downloader("no-such-directory")
        downloader.set_options(ONCE)

        with pytest.raises(DownloadError):
            downloader.list()


class NetworkContract:
    """What networks and accounts do.

    `port`: the server's. `open_at(directory, port)`: a downloader by another way to it.
    `locked_out(bank)`: a downloader with a wrong password or key; `WRONG_PASSWORD` if it has one.
    """

    @pytest.fixture
    def open_downloader(self, open_at, port):
        return lambda directory: open_at(directory, port)

    @pytest.fixture
    def large(self, root, bank):
        """A file that takes a while."""
        body = os.urandom(LARGE_BYTES)
        (root / bank / "large.dat").write_bytes(body)
        (root / bank / "large.dat").chmod(0o644)
        return body

    @pytest.fixture
    def cut_downloader(self, open_at, port, bank, large):
        """A downloader whose connection is cut once, in the middle of a file."""
        with Cutter(port) as cutter:
            yield open_at(bank, cutter.port)

    def test_raises_for_a_wrong_password_without_telling_it(self, locked_out, bank, tmp_path):
        downloader = locked_out(bank)
        downloader.set_options(TWICE_AT_ONCE)
        downloader.set_files_to_download([self.wanted(bank, "one.dat")])

        with pytest.raises(AccessDenied) as raised:
            downloader.download(str(tmp_path))

        assert WRONG_PASSWORD not in str(raised.value)
        assert downloader.retryer.statistics["attempt_number"] == 2
        assert list(tmp_path.iterdir()) == []

    def test_names_a_server_that_does_not_answer(self, open_at, bank, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            downloader = open_at(bank, port)
            downloader.set_options(ONCE)
            downloader.set_files_to_download([self.wanted(bank, "one.dat")])

            with pytest.raises(ConnectFailed, match=str(port)):
                downloader.download(str(tmp_path))

    def test_tries_again_when_the_connection_is_cut(self, cut_downloader, large, bank, tmp_path):
        cut_downloader.set_options({**TWICE_AT_ONCE, "verify": "off"})
        cut_downloader.set_files_to_download([self.wanted(bank, "large.dat")])

        cut_downloader.download(str(tmp_path))

        assert (tmp_path / "large.dat").read_bytes() == large
        assert cut_downloader.retryer.statistics["attempt_number"] == 2
        assert [path.name for path in tmp_path.iterdir()] == ["large.dat"]


class FtpNetworkContract(NetworkContract):
    """FTP brings a file by a connection of its own: a slow server is cut instead of the way to it.

    `slow_server`: a server of the same kind; `open_at` opens it by its port.
    """

    @pytest.fixture
    def cut_downloader(self, open_at, slow_server, bank, large):
        folder = slow_server.root / bank
        folder.mkdir()
        (folder / "large.dat").write_bytes(large)
        for path in (folder, folder / "large.dat"):
            path.chmod(0o755)
        log_bytes = slow_server.log_path.stat().st_size if slow_server.log_path.exists() else 0
        cut = start(lambda: cut_after_retr(slow_server, log_bytes))
        yield open_at(bank, slow_server.port)
        cut.result(CUT_SECONDS)


def cut_after_retr(server, log_bytes, after_seconds=0.3) -> None:
    for _ in poll(CUT_SECONDS):
        log = server.log_path
        if log.exists() and b'"RETR' in log.read_bytes()[log_bytes:]:
            break
    time.sleep(after_seconds)
    server.cut_sessions()


def with_password(opener, credentials):
    """Return an opener of downloaders with this account."""

    def opened(directory):
        downloader = opener(directory)
        downloader.set_credentials(credentials)
        return downloader

    return opened
