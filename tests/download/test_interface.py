from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import tenacity

from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.errors import Cancelled, DownloadError, OptionError, UnsafePath


class Moody(DownloadInterface):
    """Moves bytes in its own way, and fails as often as it is told."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.paths: list[str] = []

    def _download(self, file_path: str, rfile: dict) -> bool:
        self.paths.append(file_path)
        if len(self.paths) <= self.failures:
            return True
        Path(file_path).write_text("moved")
        return False


@pytest.fixture
def moody():
    downloader = Moody(failures=1)
    downloader.set_options({"stop_condition": "stop_after_attempt(2)", "wait_policy": "wait_none"})
    downloader.set_files_to_download([{"name": "/sub/a.dat"}])
    return downloader


def test_downloader_has_what_biomaj_reads():
    downloader = DownloadInterface()

    assert downloader.files_num_threads == DownloadInterface.files_num_threads == 4
    assert (downloader.files_to_download, downloader.files_to_copy) == ([], [])
    assert (downloader.error, downloader.kill_received) == (False, False)
    assert (downloader.timeout, downloader.method, downloader.options) == (3600, "GET", {})
    assert (downloader.credentials, downloader.param, downloader.proxy) == (None, None, None)
    assert downloader.logger.name == "biomaj"
    assert isinstance(downloader.retryer, tenacity.Retrying)
    assert (downloader.config, downloader.bank, downloader.offline_dir) == (None, None, None)
    assert (downloader.proxy_auth, downloader.save_as) == (None, None)
    assert (downloader.server, downloader.skip_check_uncompress) == ("", False)
    with downloader.mkdir_lock:
        downloader.chroot("/")
    downloader.close()


def test_a_subclass_that_reports_a_failure_is_tried_again(moody, tmp_path):
    moody.download(str(tmp_path))

    assert moody.paths == [str(tmp_path / "sub" / "a.dat")] * 2
    assert moody.retryer.statistics["attempt_number"] == 2
    assert moody.files_to_download[0]["error"] is False


def test_a_subclass_that_fails_to_the_end_raises(moody, tmp_path):
    moody.failures = 5

    with pytest.raises(DownloadError, match=r"a\.dat"):
        moody.download(str(tmp_path))

    assert moody.error
    assert moody.files_to_download[0]["error"] is True


def test_directories_are_left_out_when_told(moody, tmp_path):
    moody.download(str(tmp_path), keep_dirs=False)

    assert (tmp_path / "a.dat").exists()


def test_a_killed_downloader_stops(moody, tmp_path):
    moody.kill_received = True

    with pytest.raises(Cancelled):
        moody.download(str(tmp_path))


@pytest.mark.parametrize("name", ["../out.dat", "/../out.dat", "sub/../../out.dat", ".."])
def test_a_name_never_leaves_the_directory(moody, tmp_path, name):
    moody.set_files_to_download([{"name": "a.dat", "save_as": name}])

    with pytest.raises(UnsafePath):
        moody.download(str(tmp_path / "home"))


def test_options_may_be_tenacity_objects(moody):
    moody.set_options({"stop_condition": tenacity.stop_after_attempt(7)})

    assert moody.retryer.stop.max_attempt_number == 7


def test_a_wrong_option_is_named_and_changes_nothing(moody):
    before = moody.retryer

    with pytest.raises(OptionError, match="wait_policy"):
        moody.set_options({"wait_policy": "sleep(3)"})
    with pytest.raises(TypeError):
        moody.set_options({"stop_condition": 3})

    assert moody.retryer is before


def test_a_set_timeout_is_told_and_obeyed():
    downloader = DownloadInterface()

    downloader.set_timeout(5)
    assert downloader.timeout == 5
    downloader.set_timeout(None)
    assert downloader.timeout == 3600


def test_files_of_the_last_release_are_copied_and_the_rest_is_downloaded(tmp_path):
    last = tmp_path / "last"
    last.mkdir()
    (last / "same.dat").write_text("same")
    face = {"year": 2024, "month": 1, "day": 2, "size": 4}
    downloader = LocalDownload("/nowhere")
    downloader.set_files_to_download(
        [
            {"name": "same.dat", **face},
            {"name": "changed.dat", **face},
            {"name": "lost.dat", **face},
        ]
    )
    known = [
        {"name": "same.dat", **{key: str(value) for key, value in face.items()}},
        {"name": "changed.dat", **face, "size": 5},
        {"name": "lost.dat", **face},
    ]

    downloader.download_or_copy(known, str(last))

    assert [file["name"] for file in downloader.files_to_copy] == ["same.dat"]
    assert downloader.files_to_copy[0]["root"] == str(last)
    names = [file["name"] for file in downloader.files_to_download]
    assert names == ["changed.dat", "lost.dat"]


@pytest.mark.parametrize("listed_as", ["/sub/a.dat", "renamed.dat"])
def test_a_renamed_file_of_the_last_release_is_copied_under_its_new_name(tmp_path, listed_as):
    last = tmp_path / "last"
    last.mkdir()
    (last / "renamed.dat").write_text("same")
    face = {"year": 2024, "month": 1, "day": 2, "size": 4}
    downloader = LocalDownload("/nowhere")
    downloader.set_files_to_download([{"name": "/sub/a.dat", "save_as": "renamed.dat", **face}])

    downloader.download_or_copy([{"name": listed_as, "save_as": "renamed.dat", **face}], str(last))

    assert downloader.files_to_download == []
    copier = LocalDownload(str(last))
    copier.set_files_to_download(downloader.files_to_copy)
    copier.download(str(tmp_path / "new"))
    assert (tmp_path / "new" / "renamed.dat").read_text() == "same"


def test_set_permissions_sets_the_day(tmp_path):
    path = tmp_path / "a"
    path.write_text("")

    DownloadInterface().set_permissions(str(path), {"year": 2020, "month": "2", "day": 29})

    day = datetime.date.fromtimestamp(path.stat().st_mtime)
    assert (day.year, day.month, day.day) == (2020, 2, 29)


def test_a_file_without_a_name_is_refused():
    with pytest.raises(OptionError, match="name"):
        DownloadInterface().set_files_to_download([{"size": 3}])
