from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from biomaj_download.command.record import RECORD_NAME
from biomaj_download.command.sync import _alone_in

DAY_SECONDS = 24 * 3600


def files_of(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and path.name != RECORD_NAME
    }


def events(result, event: str = "file") -> list[dict[str, object]]:
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    return [answer for answer in answers if answer["event"] == event]


def test_sync_brings_all_files_below_with_their_dates(run, tree, url, tmp_path):
    result = run("sync", url, "-d", tmp_path / "db")

    assert result.exit_code == 0, result.output
    assert files_of(tmp_path / "db") == {"a.dat", "sub/b.dat", "sub/deep/c d.dat"}
    assert (tmp_path / "db/sub/b.dat").stat().st_mtime == 1_700_000_000
    assert "3 of 3 files here, 2.3 kB" in result.stdout
    assert "fetched: sub/deep/c d.dat (300 B" in result.stderr


def test_sync_fetches_an_unchanged_file_no_second_time(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path)
    inode = (tmp_path / "a.dat").stat().st_ino

    result = run("sync", url, "-d", tmp_path, "--json")

    assert events(result) == []
    assert events(result, "end")[0]["unchanged"] == 3
    assert (tmp_path / "a.dat").stat().st_ino == inode


@pytest.mark.parametrize("change", ["size", "day", "second"])
def test_sync_fetches_a_file_that_changed(run, tree, url, tmp_path, change):
    url = tree.as_uri() if change == "second" else url  # this page shows no more than days
    tmp_path = tmp_path / "db"
    run("sync", url, "-d", tmp_path)
    before = 1_700_000_000
    content, moment = {
        "size": (b"longer than it was", before),
        "day": (b"A" * 10, before + DAY_SECONDS),
        "second": (b"A" * 10, before + 1),
    }[change]
    (tree / "a.dat").write_bytes(content)
    os.utime(tree / "a.dat", (moment, moment))

    result = run("sync", url, "-d", tmp_path, "--json")

    assert [file["name"] for file in events(result)] == ["a.dat"]
    assert (tmp_path / "a.dat").read_bytes() == content


def test_sync_takes_what_matches_and_leaves_out_what_is_excluded(run, tree, url, tmp_path):
    words = ("--match", r"sub/.*\.dat$", "--match", r"sub/deep/.*", "--exclude", "b.dat")

    result = run("sync", url, "-d", tmp_path, *words)

    assert result.exit_code == 0, result.output
    assert files_of(tmp_path) == {"sub/deep/c d.dat"}


def test_dry_run_tells_and_does_nothing(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path)
    (tree / "sub/b.dat").write_bytes(b"new")
    (tree / "a.dat").unlink()
    before = files_of(tmp_path)

    result = run("sync", url, "-d", tmp_path, "--delete", "--dry-run")

    assert result.exit_code == 0, result.output
    assert "would fetch: sub/b.dat (3 B; size 2000 here, 3 there)" in result.stdout
    assert "would delete: a.dat" in result.stdout
    assert (
        "would fetch 1 file (3 B), copy 0 files, delete 1 file; 1 file unchanged" in result.stdout
    )
    assert files_of(tmp_path) == before
    assert (tmp_path / "sub/b.dat").stat().st_size == 2000


def test_dry_run_makes_no_directory(run, tree, url, tmp_path):
    assert run("sync", url, "-d", tmp_path / "db", "-n", "--delete").exit_code == 0

    assert not (tmp_path / "db").exists()


def test_delete_removes_what_is_listed_no_more_and_its_empty_directory(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path)
    (tree / "sub/deep/c d.dat").unlink()
    (tree / "sub/deep").rmdir()

    kept = run("sync", url, "-d", tmp_path)
    result = run("sync", url, "-d", tmp_path, "--delete")

    assert kept.exit_code == result.exit_code == 0
    assert "1 file deleted" in result.stdout
    assert files_of(tmp_path) == {"a.dat", "sub/b.dat"}
    assert not (tmp_path / "sub/deep").exists()


def test_delete_leaves_alone_what_is_not_its_own(run, tree, url, tmp_path):
    db = tmp_path / "db"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.dat").write_bytes(b"x")
    run("sync", f"{url}sub", "-d", db, "--match", "b.dat")  # of another source
    (db / "notes.txt").write_bytes(b"mine")
    (db / ".other.dat.part").write_bytes(b"of another process")
    (db / "excluded.dat").write_bytes(b"e")
    (db / "old.dat").write_bytes(b"taken by the pattern")
    (db / "linked").symlink_to(outside)

    words = ("--match", r".*\.dat$", "--match", r"linked/.*", "--exclude", "^excluded", "--delete")
    result = run("sync", url, "-d", db, *words)

    assert result.exit_code == 0, result.output
    assert "1 file deleted" in result.stdout
    assert files_of(db) == {"a.dat", "b.dat", "notes.txt", ".other.dat.part", "excluded.dat"}
    assert (outside / "x.dat").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--match", "nothing.*"), 1, "so nothing is deleted"),
        ((), 1, "404"),
    ],
)
def test_delete_does_nothing_when_the_listing_is_empty_or_failed(
    run, tree, url, tmp_path, words, code, told
):
    run("sync", url, "-d", tmp_path)
    before = files_of(tmp_path)
    once = ("-o", "stop_condition=stop_after_attempt(1)")
    place = url if words else f"{url}missing/"

    result = run("sync", place, "-d", tmp_path, *words, *once, "--delete")

    assert result.exit_code == code
    assert told in result.stderr
    assert files_of(tmp_path) == before


def test_delete_does_nothing_when_a_file_failed(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path)
    (tree / "sub/b.dat").unlink()
    (tree / "broken.gz").write_bytes(b"no gzip")
    once = ("-o", "stop_condition=stop_after_attempt(1)")

    result = run("sync", url, "-d", tmp_path, "--delete", *once)

    assert result.exit_code == 1
    assert "failed: broken.gz" in result.stderr
    assert "nothing deleted, as not all files are here" in result.stdout
    assert "sub/b.dat" in files_of(tmp_path)


def test_sync_copies_what_the_last_release_has(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path / "old")
    (tree / "a.dat").write_bytes(b"new")

    result = run("sync", url, "-d", tmp_path / "new", "--from", tmp_path / "old", "--json")

    states = {file["name"]: file["state"] for file in events(result)}
    assert states == {"a.dat": "fetched", "sub/b.dat": "copied", "sub/deep/c d.dat": "copied"}
    assert (tmp_path / "new/sub/b.dat").read_bytes() == b"b" * 2000


@pytest.mark.parametrize(("reserve_bytes", "exit_code"), [(0, 0), (4 * 1024 * 1024, 1)])
def test_a_copy_of_the_last_release_leaves_free_what_the_settings_say(
    run, tree, url, small_disk, tmp_path, monkeypatch, reserve_bytes, exit_code
):
    monkeypatch.setenv("BIOMAJ_STORAGE_RESERVE_BYTES", str(reserve_bytes))
    (tree / "big.dat").write_bytes(bytes(5 * 1024 * 1024))
    run("sync", url, "-d", tmp_path / "old")

    result = run("sync", url, "-d", small_disk, "--from", tmp_path / "old")

    assert result.exit_code == exit_code, result.output
    assert (small_disk / "big.dat").exists() == (exit_code == 0)
    assert (small_disk / "sub/b.dat").exists()


def test_sync_says_when_another_one_is_at_work_in_the_directory(run, tree, url, tmp_path):
    with _alone_in(tmp_path):  # stands for another process
        result = run("sync", url, "-d", tmp_path)

    assert result.exit_code == 2
    assert "another sync is at work there" in result.stderr


@pytest.mark.parametrize("protocol", ["ftp", "sftp", "rsync", "file"])
def test_sync_is_at_home_in_other_protocols(run, request, tmp_path, monkeypatch, protocol):
    if protocol == "ftp":
        server = request.getfixturevalue("ftp_server")
        root, url = server.root, server.url
        monkeypatch.setenv("BIOMAJ_DOWNLOAD_CREDENTIALS", f"{server.user}:{server.password}")
    elif protocol == "sftp":
        server = request.getfixturevalue("ssh_server")
        root = server.root
        url = f"sftp://127.0.0.1:{server.port}{root}"
        monkeypatch.setenv("BIOMAJ_DOWNLOAD_CREDENTIALS", f"{server.user}:{server.password}")
    elif protocol == "rsync":
        server = request.getfixturevalue("rsync_server")
        root, url = server.root, f"rsync://127.0.0.1:{server.port}/data"
    else:
        root = tmp_path / "source"
        url = f"file://{root}"
    folder = root / "syncing"
    (folder / "x").mkdir(parents=True, exist_ok=True)
    (folder / "x/y z.dat").write_bytes(b"y" * 100)
    words = ("-o", "ssh_new_host=accept", "--json")

    first = run("sync", f"{url}/syncing", "-d", tmp_path / "db", *words)
    second = run("sync", f"{url}/syncing", "-d", tmp_path / "db", *words)

    assert first.exit_code == second.exit_code == 0, first.output + second.output
    assert [file["state"] for file in events(first)] == ["fetched"]
    assert events(second) == []
    assert (tmp_path / "db/x/y z.dat").read_bytes() == b"y" * 100


def test_a_servers_file_takes_no_records_place(run, tree, url, tmp_path):
    (tree / RECORD_NAME).write_text("{}")

    result = run("sync", url, "-d", tmp_path, "--match", r".*", "--delete")

    assert result.exit_code == 0, result.output
    assert '"a.dat"' in (tmp_path / RECORD_NAME).read_text()


def test_a_record_that_is_none_of_ours_is_named(run, tree, url, tmp_path):
    (tmp_path / RECORD_NAME).write_text("[]")

    result = run("sync", url, "-d", tmp_path)

    assert result.exit_code == 2
    assert "expected the record of an earlier sync" in result.stderr


def test_delete_leaves_what_another_match_brought(run, tree, url, tmp_path):
    run("sync", url, "-d", tmp_path, "--match", r"a\.dat$")

    result = run("sync", url, "-d", tmp_path, "--match", r"^sub/b\.dat$", "--delete")

    assert result.exit_code == 0, result.output
    assert files_of(tmp_path) == {"a.dat", "sub/b.dat"}


def test_delete_leaves_a_link_to_a_directory_that_files_lie_behind(run, tree, url, tmp_path):
    db, elsewhere = tmp_path / "db", tmp_path / "elsewhere"
    run("sync", url, "-d", db)
    (db / "sub").rename(elsewhere)
    (db / "sub").symlink_to(elsewhere)

    result = run("sync", url, "-d", db, "--delete", "--json")

    assert result.exit_code == 0, result.output
    assert (db / "sub").is_symlink()
    assert (db / "sub/b.dat").exists()


def test_delete_bears_a_name_that_no_server_can_have(run, tree, url, tmp_path):
    (tmp_path / "x\ny").write_bytes(b"mine")

    result = run("sync", url, "-d", tmp_path, "--delete")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "x\ny").exists()


@pytest.mark.parametrize("command", ["sync", "get", "submit"])
def test_no_directory_is_not_the_current_one(run, url, command):
    words = ("bank", f"{url}a.dat") if command == "submit" else (f"{url}a.dat",)

    result = run(command, *words, "-d", "")

    assert result.exit_code == 2
    assert "expected a directory, got nothing" in result.stderr


def test_sync_does_not_copy_what_the_last_release_has_of_another_hour(run, tree, tmp_path):
    url = tree.as_uri()  # which tells more than the day
    run("sync", url, "-d", tmp_path / "old")
    os.utime(tree / "a.dat", (1_700_000_000 + 3600,) * 2)
    (tree / "a.dat").write_bytes(b"B" * 10)
    os.utime(tree / "a.dat", (1_700_000_000 + 3600,) * 2)

    result = run("sync", url, "-d", tmp_path / "new", "--from", tmp_path / "old")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "new/a.dat").read_bytes() == b"B" * 10
