from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import Cancelled, PublishError
from biomaj_download.transfer import kept
from biomaj_download.transfer.kept import Validators
from biomaj_download.transfer.partial import Part, part_path, remove_part
from tests import background
from tests.servers.process import poll


@pytest.mark.parametrize("name", ["a.dat", "é" * 120, "x" * 255])
def test_part_has_a_name_that_a_file_system_takes(tmp_path, name):
    part = part_path(tmp_path / name)

    part.write_text("")
    assert part.parent == tmp_path
    assert part.name.startswith(".")
    assert part.name.endswith(".part")


def test_two_threads_that_write_one_file_take_turns(tmp_path):
    first, second = Part(tmp_path / "a"), Part(tmp_path / "a")
    entered = threading.Event()
    other = threading.Thread(target=lambda: second.create() or entered.set())

    first.create()
    other.start()
    assert not entered.wait(0.2)
    first.write(b"first")
    first.discard()

    assert entered.wait(10)
    other.join()
    assert second.size_bytes() == 0
    second.discard()


def _publish(path: Path, body: bytes, has_created, may_go_on) -> None:
    part = Part(path)
    part.create()
    has_created.set()
    part.write(body[:1])
    may_go_on.wait(10)
    part.write(body[1:])
    part.path.replace(path)
    part.close()


def test_two_processes_that_write_one_file_take_turns(tmp_path):
    context = multiprocessing.get_context("fork")
    created, go_on, other_created, at_once = (context.Event() for _ in range(4))
    at_once.set()
    path = tmp_path / "a"
    first = context.Process(target=_publish, args=(path, b"first", created, go_on))
    second = context.Process(target=_publish, args=(path, b"second", other_created, at_once))

    first.start()
    assert created.wait(10)
    second.start()
    assert not other_created.wait(0.3)
    go_on.set()
    first.join()
    second.join()

    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_is_left_behind_is_begun_again(tmp_path):
    part = Part(tmp_path / "a")
    part.path.write_bytes(b"left behind by a process that was killed")

    part.create()
    part.write(b"new")

    assert part.size_bytes() == 3
    part.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_hard_link_that_is_left_behind_never_changes_the_other_file(tmp_path):
    part = Part(tmp_path / "a")
    production = tmp_path / "production"
    production.write_bytes(b"production")
    part.path.hardlink_to(production)

    part.create()
    part.write(b"new")

    assert production.read_bytes() == b"production"
    assert part.path.read_bytes() == b"new"
    part.discard()


def test_a_record_that_finds_no_room_leaves_nothing_behind(small_disk):
    part = Part(small_disk / "a")
    part.create()
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "other").write_bytes(bytes(9 * 1024 * 1024))

    part.keep(Validators(url="a", etag='"1"'))

    assert not part.is_kept
    assert {path.name for path in small_disk.iterdir()} == {"other", part.path.name}
    part.discard()


def test_who_waits_for_another_writer_stops_when_nobody_wants_the_file(tmp_path):
    writing = Part(tmp_path / "a")
    writing.create()
    cancellation = Cancellation()
    waiting = Part(tmp_path / "a", cancellation)
    started = background.start(waiting.create)
    time.sleep(0.3)
    assert not started.done()

    cancellation.order(Why.UNWANTED)

    assert isinstance(started.exception(timeout=5), Cancelled)
    writing.discard()


def test_who_waits_for_another_writer_and_gives_up_leaves_its_file(tmp_path):
    writing = Part(tmp_path / "a")
    writing.create()
    writing.write(b"all")
    cancellation = Cancellation()
    cancellation.order(Why.UNWANTED)
    waiting = Part(tmp_path / "a", cancellation)
    with pytest.raises(Cancelled):
        waiting.create()

    waiting.discard()

    writing.publish_as(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"all"
    writing.close()


def test_another_file_under_the_name_of_a_part_is_neither_published_nor_removed(tmp_path):
    part = Part(tmp_path / "a")
    part.create()
    part.write(b"all")
    part.path.unlink()
    part.path.write_bytes(b"half")

    with pytest.raises(PublishError, match="its part"):
        part.publish_as(tmp_path / "a")
    part.discard()

    assert part.path.read_bytes() == b"half"
    assert not (tmp_path / "a").exists()


def test_a_part_is_removed_unless_another_writes_it(tmp_path):
    part = Part(tmp_path / "a")
    part.create()

    remove_part(tmp_path / "a")
    assert part.path.exists()
    part.close()
    remove_part(tmp_path / "a")

    assert not part.path.exists()
    remove_part(tmp_path / "a")


@pytest.mark.parametrize("number", [3, 3000])  # the kernel takes 1,024 at once
def test_chunks_are_placed_one_after_the_other(tmp_path, number):
    chunks = [bytes([i % 256]) * (i % 3 + 1) for i in range(number)]
    part = Part(tmp_path / "a")
    part.create()
    part.write(b"head")

    placed_bytes = part.place(chunks, 4)

    whole = b"".join(chunks)
    assert placed_bytes == len(whole)
    assert part.written_bytes == 4 + len(whole)
    assert part.read(10_000) == b"head" + whole
    part.discard()


def test_what_the_disk_did_not_take_at_once_is_placed_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "pwritev", lambda file, chunks, at: os.pwrite(file, b"".join(chunks)[:5], at)
    )
    part = Part(tmp_path / "a")
    part.create()

    assert part.place([b"abc", b"def", b"ghi"], 0) == 9

    assert part.read(100) == b"abcdefghi"
    part.discard()


VERSION = Validators(url="u", size_bytes=400, etag='"v1"')


def scattered(path, monkeypatch):
    """Return a part with a hole, as a killed process leaves it: not closed."""
    monkeypatch.setattr(kept, "_NOTE_EVERY_BYTES", 100)
    part = Part(path)
    part.create()
    part.place([b"a" * 50], 0)
    part.keep(VERSION)
    part.place([b"c" * 100], 200)
    part.place([b"d" * 10], 300)  # not noted any more
    return part


def test_after_a_kill_only_what_was_noted_behind_a_hole_counts(tmp_path, monkeypatch):
    scattered(tmp_path / "a", monkeypatch)

    left = kept.kept(part_path(tmp_path / "a"))

    assert left.validators == VERSION
    assert list(left.ranges) == [(0, 50), (200, 300)]


def test_what_grows_while_the_file_is_synced_is_noted_after_that(tmp_path, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: may_end.wait(10))
    monkeypatch.setattr(kept, "_SYNC_EVERY_BYTES", 160)
    part = scattered(tmp_path / "a", monkeypatch)  # its last bytes have begun a sync

    part.place([b"e" * 200], 310)
    during = list(kept.kept(part_path(tmp_path / "a")).ranges)
    may_end.set()
    for _ in poll(10):
        if not any("_sync" in thread.name for thread in threading.enumerate()):
            break
    part.place([b"f"], 510)

    assert during == [(0, 50), (200, 300)]
    assert list(kept.kept(part_path(tmp_path / "a")).ranges) == [(0, 50), (200, 511)]


class NoThread(threading.Thread):
    """As where the user's threads are used up."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_a_part_is_written_and_let_go_of_where_no_thread_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_SYNC_EVERY_BYTES", 1)
    part = Part(tmp_path / "a")
    part.create()
    part.keep(VERSION)

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        part.write(b"one")
        part.close()

    again = Part(tmp_path / "a")  # would wait for ever, were the lock still held
    assert again.resume() == VERSION
    again.write(b"two")
    assert again.read(10) == b"onetwo"
    again.discard()


def test_a_part_that_cannot_be_noted_is_let_go_of(tmp_path, monkeypatch):
    part = scattered(tmp_path / "a", monkeypatch)

    def fail(_path):
        raise OSError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", fail)
        part.close()

    again = Part(tmp_path / "a")
    assert again.resume() == VERSION
    again.discard()


def test_after_an_error_all_that_was_written_counts(tmp_path, monkeypatch):
    scattered(tmp_path / "a", monkeypatch).close()
    part = Part(tmp_path / "a")

    assert part.resume() == VERSION
    assert part.written_bytes == 50
    assert part.holes(400) == [(50, 200), (310, 400)]
    part.place([b"b" * 150], 50)
    assert part.written_bytes == 310
    assert part.read(400) == b"a" * 50 + b"b" * 150 + b"c" * 100 + b"d" * 10
    part.discard()


def test_after_a_power_cut_nothing_counts_that_was_not_synced(tmp_path, monkeypatch):
    scattered(tmp_path / "a", monkeypatch).close()
    monkeypatch.setattr(kept, "this_run", lambda: "another run")

    part = Part(tmp_path / "a")

    assert part.resume() is None
    assert part.size_bytes() == 0
    part.discard()


def test_another_file_under_the_name_of_a_part_gets_no_record_of_ours(tmp_path, monkeypatch):
    part = scattered(tmp_path / "a", monkeypatch)
    part.path.unlink()
    part.path.write_bytes(b"half")

    part.discard()

    assert kept.kept(part.path) is None
