from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from biomaj_download.cancellation import Cancellation
from biomaj_download.errors import PublishError, UnsafePath
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.publish import (
    SafePath,
    final_name,
    final_path,
    modification_time,
    opened_place,
    sync_directories,
)
from biomaj_download.transfer.partial import Part
from biomaj_download.verified import Verified

INSTANT = datetime(2024, 2, 29, 23, 30, tzinfo=timezone.utc)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    with closing(Part(tmp_path / "a")) as part:
        part.path.write_bytes(b"new")
        yield part


def verified(part: Part, path: SafePath, *, is_durable: bool = True) -> Verified:
    return Verified(
        part=part,
        path=path,
        modified_at=INSTANT,
        size_bytes=3,
        is_durable=is_durable,
        begun_at=time.monotonic(),
        cancellation=Cancellation(),
    )


@pytest.mark.parametrize("is_durable", [True, False])
def test_publish_replaces_the_old_file_by_the_new_one(part, tmp_path, is_durable):
    path = SafePath(tmp_path / "a")
    path.write_bytes(b"old")

    verified(part, path, is_durable=is_durable).publish()

    assert path.read_bytes() == b"new"
    assert path.stat().st_mtime == INSTANT.timestamp()
    assert list(tmp_path.iterdir()) == [path]


def test_publish_names_what_this_host_refuses(part, tmp_path):
    (tmp_path / "a").mkdir()

    with pytest.raises(PublishError, match="/a"):
        verified(part, SafePath(tmp_path / "a")).publish()


def test_directories_are_synced_where_the_file_system_can(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    sync_directories([tmp_path, tmp_path / "gone"])

    assert synced == [tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    ("number", "text"), [(errno.EIO, "Input/output"), (errno.EROFS, "Read-only")]
)
def test_a_disk_that_fails_is_named(tmp_path, monkeypatch, number, text):
    """One that became read-only has lost the names."""

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(PublishError, match=text):
        sync_directories([tmp_path])


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(PublishError, match="/file/sub/a: Not a directory"),
        opened_place(tmp_path, final_path(tmp_path, "file/sub/a")),
    ):
        pass


@pytest.mark.parametrize(
    "name", ["", "/", "..", "../a", "a/../../b", "a\0b", "a\nb", "\ud800", "a" * 256]
)
def test_a_name_that_leaves_the_directory_is_refused(tmp_path, name):
    with pytest.raises(UnsafePath):
        final_path(tmp_path, name)


def test_a_name_ends_below_the_directory(tmp_path):
    assert final_path(tmp_path, "//a/./b") == tmp_path / "a" / "b"
    assert final_path(tmp_path, "a/b", keep_directories=False) == tmp_path / "b"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_file_shows_the_day_of_its_listing_in_every_zone(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    transferred = Transferred(size_bytes=0, modified_at=INSTANT)

    moment = modification_time(RemoteFile(name="a", day=date(2024, 2, 29)), transferred)

    assert datetime.fromtimestamp(moment.timestamp()).date() == date(2024, 2, 29)
    assert modification_time(RemoteFile(name="a"), transferred) == INSTANT
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("local_dir", ["/", "/data", "/data/bank"])
@pytest.mark.parametrize("name", ["a", "/a//b", "./a/b.dat"])
def test_final_name_is_the_text_of_the_final_path(local_dir, name):
    assert final_name(Path(local_dir), name) == str(final_path(Path(local_dir), name))
