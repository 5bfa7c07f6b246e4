from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from biomaj_download.flush import MOST_AT_ONCE, Flusher
from tests.servers.disk import own_disk


@pytest.fixture
def opened() -> Iterator[Callable[[Path], int]]:
    """Make a file with some bytes, and open it."""
    with ExitStack() as stack:

        def opened(path: Path) -> int:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            stack.callback(os.close, descriptor)
            os.write(descriptor, bytes(4096))
            return descriptor

        yield opened


@pytest.fixture
def synced(monkeypatch) -> list[int]:
    """Note which files are synced one by one."""
    synced: list[int] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return synced


@pytest.mark.parametrize("number", [0, 2, 2 * MOST_AT_ONCE + 3])
def test_many_files_are_written_through_by_the_kernel(opened, synced, tmp_path, number):
    descriptors = [opened(tmp_path / str(place)) for place in range(number)]
    flusher = Flusher()

    for _ in range(2):
        assert flusher.flush(descriptors) == [None] * number
    assert synced == []


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_the_kernel_does_not_take_fails_alone(opened, tmp_path, place):
    descriptors = [opened(tmp_path / str(number)) for number in range(3)]
    reader, writer = os.pipe()
    descriptors.insert(place, reader)

    results = Flusher().flush(descriptors)

    assert [getattr(result, "errno", None) for result in results] == [
        errno.EINVAL if number == place else None for number in range(4)
    ]
    os.close(reader)
    os.close(writer)


def test_a_host_without_asynchronous_calls_syncs_one_by_one(opened, synced, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "caio.linux_aio", None)
    descriptors = [opened(tmp_path / str(number)) for number in range(3)]

    assert Flusher().flush(descriptors) == [None] * 3
    assert synced == descriptors


def test_each_file_that_the_disk_does_not_keep_is_told(opened, synced, tmp_path):
    with own_disk(tmp_path, kept_mib=4) as disk:
        descriptors = [opened(disk / str(number)) for number in range(8)]
        for descriptor in descriptors:
            os.write(descriptor, os.urandom(2**20))

        results = Flusher().flush(descriptors)

        numbers = {result.errno for result in results if result is not None}
        assert numbers
        assert numbers <= {errno.EIO, errno.ENOSPC, errno.EROFS}
        assert synced == []
