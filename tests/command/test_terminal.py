"""What a person sees on a terminal, and what Ctrl-C does."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from biomaj_download.transfer.partial import part_path
from tests.command.conftest import COMMAND
from tests.servers.faulty_http import Answer

HALF_BYTES = 4 * 1024 * 1024
BODY = bytes(range(256)) * (2 * HALF_BYTES // 256)
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture
def halting(faulty_http) -> str:
    """The address of a file that stops in its middle, and comes whole when asked for again."""
    half = Answer(body=BODY, etag='"1"', stall_after=HALF_BYTES)
    return faulty_http.add("/db/halting.dat", half, half, Answer(body=BODY, etag='"1"'))


@pytest.fixture
def stopped(on_terminal, halting, tmp_path):
    """A terminal on which Ctrl-C ended a download in the middle."""
    terminal = on_terminal("get", halting, "-d", tmp_path)
    terminal.read_until("4.2/8.4 MB")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_to_the_end()
    return terminal


def test_an_attempt_that_failed_is_told_in_a_sentence(faulty_http, tmp_path):
    body = Answer(body=b"a")
    url = faulty_http.add("/a.dat", body, Answer(status=500, body=b""), body)  # HEAD comes first

    got = subprocess.run(
        [*COMMAND, "get", url, "-d", tmp_path, "-o", "wait_policy=wait_none"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert got.returncode == 0, got.stderr
    assert re.match(r"http://.*/a\.dat: .*HTTP status 500; again in 0 s\n", got.stderr)


def test_bars_show_all_and_each_file_that_runs_and_leave_the_screen(stopped):
    assert "0 of 1 file " in stopped.text
    assert "halting.dat" in stopped.text
    assert "MB/s" in stopped.text
    assert stopped.raw.count(HIDE_CURSOR) == stopped.raw.count(SHOW_CURSOR) == 1


def test_ctrl_c_keeps_what_came_and_says_so(stopped, tmp_path):
    assert stopped.process.returncode == 128 + signal.SIGINT
    assert "stopping: what came so far is kept" in stopped.text
    assert "1 file begun: what came is kept, and the same command goes on there" in stopped.text
    assert part_path(tmp_path / "halting.dat").stat().st_size == HALF_BYTES
    assert not (tmp_path / "halting.dat").exists()


def test_the_same_command_goes_on_after_ctrl_c(stopped, faulty_http, halting, tmp_path):
    done = subprocess.run(
        [*COMMAND, "get", halting, "-d", tmp_path, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "halting.dat").read_bytes() == BODY
    assert (
        faulty_http.requests_for("/db/halting.dat")[-1].headers["Range"] == f"bytes={HALF_BYTES}-"
    )
    assert json.loads(done.stdout.splitlines()[-1])["here"] == 1


def test_a_second_ctrl_c_ends_at_once_and_gives_the_cursor_back(on_terminal, halting, tmp_path):
    terminal = on_terminal("get", halting, "-d", tmp_path)
    terminal.read_until("4.2/8.4 MB")

    terminal.process.send_signal(signal.SIGINT)
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_to_the_end()

    assert terminal.process.returncode == 128 + signal.SIGINT
    assert SHOW_CURSOR in terminal.raw


def test_without_a_terminal_there_are_plain_lines(faulty_http, tmp_path):
    url = faulty_http.add("/db/small.dat", Answer(body=b"x" * 2000))
    missing = f"{faulty_http.url}/db/missing.dat"

    once = ("-o", "stop_condition=stop_after_attempt(1)")
    done = subprocess.run(
        [*COMMAND, "get", url, missing, "-d", tmp_path, *once],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert f"fetched: {url} (2.0 kB" in done.stderr
    assert f"failed: {missing}: expected the file, got HTTP status 404" in done.stderr
    assert done.stdout.startswith("1 of 2 files here, 2.0 kB in ")


def test_json_tells_programs_each_file_and_the_end(faulty_http, tmp_path):
    url = faulty_http.add("/db/small.dat", Answer(body=b"x" * 2000))
    missing = f"{faulty_http.url}/db/missing.dat"

    once = ("-o", "stop_condition=stop_after_attempt(1)")
    done = subprocess.run(
        [*COMMAND, "get", url, missing, "-d", tmp_path, *once, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    events = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {event["name"]: event for event in events if event["event"] == "file"}
    assert ends[url]["state"] == "fetched"
    assert ends[missing]["code"] == "remote-file-missing"
    assert events[-1]["event"] == "end"
    assert (events[-1]["here"], events[-1]["failed"]) == (1, 1)
    assert done.returncode == 1


def test_quiet_tells_failures_alone(faulty_http, run, tmp_path):
    url = faulty_http.add("/db/small.dat", Answer(body=b"x"))
    missing = f"{faulty_http.url}/db/missing.dat"

    once = ("-o", "stop_condition=stop_after_attempt(1)")
    result = run("get", url, missing, "-q", "-d", tmp_path, *once)

    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "missing.dat" in result.stderr


def test_a_server_that_is_not_there_is_a_code_of_its_own(run, tmp_path):
    once = ("-o", "stop_condition=stop_after_attempt(1)")

    got = run("get", "http://127.0.0.1:9/x", "-d", tmp_path, *once)
    synced = run("sync", "http://127.0.0.1:9/", "-d", tmp_path, *once, "--json")

    assert json.loads(synced.stdout)["code"] == "connect-failed"
    assert (got.exit_code, synced.exit_code) == (3, 3)


def test_ctrl_c_ends_a_listing_that_hangs(on_terminal, faulty_http, tmp_path):
    faulty_http.add("/slow/", Answer(delay_seconds=60))
    terminal = on_terminal("sync", f"{faulty_http.url}/slow/", "-d", tmp_path / "db", "--delete")
    terminal.read_until("listing http://")

    terminal.process.send_signal(signal.SIGINT)
    text = terminal.read_to_the_end()

    assert terminal.process.returncode == 128 + signal.SIGINT
    assert "ended by SIGINT" in text
    assert not (tmp_path / "db").exists()


def test_sync_goes_on_after_ctrl_c(on_terminal, run, faulty_http, halting, tmp_path):
    page = b'<a href="halting.dat">halting.dat</a><a href="small.dat">small.dat</a>'
    faulty_http.add("/db/", Answer(body=page, headers={"Content-Type": "text/html"}))
    faulty_http.add("/db/small.dat", Answer(body=b"x" * 10))
    url = halting.removesuffix("halting.dat")
    terminal = on_terminal("sync", url, "-d", tmp_path / "db", "--delete")
    terminal.read_until("1 of 2 files")
    terminal.read_until("4.2/8.4 MB")
    terminal.process.send_signal(signal.SIGINT)
    text = terminal.read_to_the_end()

    result = run("sync", url, "-d", tmp_path / "db", "--json")

    assert "1 of 2 files here" in text
    assert "1 file begun: what came is kept" in text
    assert result.exit_code == 0, result.output
    end = json.loads(result.stdout.splitlines()[-1])
    assert (end["here"], end["unchanged"]) == (1, 1)
    assert (tmp_path / "db/halting.dat").read_bytes() == BODY
    asked = faulty_http.requests_for("/db/halting.dat")[-1]
    assert asked.headers["Range"] == f"bytes={HALF_BYTES}-"
