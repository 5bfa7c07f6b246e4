from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from biomaj_download.disk import check_room, check_writable, disk_error, on_disk
from biomaj_download.errors import DiskFull, PublishError

PATH = Path("/bank/a.gz")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_is_told_from_other_errors(number):
    assert type(disk_error(OSError(number, "x"), PATH)) is DiskFull


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            PermissionError(errno.EACCES, "x", "/other"),
            "/bank/a.gz: Permission denied; let the user of this process write there",
        ),
        (OSError(errno.ENOTTY, "x"), "/bank/a.gz: Inappropriate ioctl for device"),
        (OSError("odd"), "/bank/a.gz: odd"),
        (OSError(), "/bank/a.gz: OSError"),
    ],
)
def test_an_error_names_the_path_what_happened_and_what_helps(error, text):
    found = disk_error(error, PATH)

    assert str(found) == text
    assert type(found) is PublishError


def test_a_file_server_that_lost_the_folder_is_named(tmp_path, monkeypatch):
    def lost(*_):
        raise OSError(errno.ESTALE, "x")

    monkeypatch.setattr(os, "access", lost)

    with pytest.raises(PublishError, match="look after the file server"):
        check_writable(tmp_path)


def test_an_error_of_the_disk_comes_out_as_ours_and_keeps_its_cause():
    cause = OSError(errno.EROFS, "x")

    with pytest.raises(PublishError) as raised, on_disk(PATH):
        raise cause

    assert raised.value.__cause__ is cause


def test_other_errors_are_not_the_disks():
    with pytest.raises(KeyError), on_disk(PATH):
        raise KeyError


def test_a_file_system_that_does_not_know_its_size_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([0] * 10))

    check_room(tmp_path / "a", tmp_path / ".a.part", size_bytes=1, reserve_bytes=1)
