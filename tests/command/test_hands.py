"""A sync of many small files, which several processes bring home."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from biomaj_download.command.hands import FROM_FILES
from tests.command.conftest import COMMAND
from tests.servers.faulty_http import Answer
from tests.servers.process import children_of, poll

CONTENT = b"content"


@pytest.fixture
def sync(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a sync into `tmp_path/home`, in a process group of its own."""
    started = []

    def start(url: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "sync", url, "-d", str(tmp_path / "home"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "BIOMAJ_WORKER_PROCESSES": "2"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def bank(faulty_http) -> str:
    """The address of a directory of many files; tests change how some are answered."""
    names = [f"{number}.dat" for number in range(FROM_FILES)]
    links = [f'<a href="{name}">{name}</a> 27-Nov-2026 20:31 {len(CONTENT)}' for name in names]
    page = "\n".join(("<pre>", *links, "</pre>")).encode()
    for name in names:
        faulty_http.add(f"/bank/{name}", Answer(body=CONTENT))
    return faulty_http.add("/bank/", Answer(body=page, headers={"Content-Type": "text/html"}))


def whole_files(home: Path) -> set[str]:
    return {path.name for path in home.glob("*.dat") if path.read_bytes() == CONTENT}


def wait_until(condition: Callable[[], object]) -> None:
    for _ in poll(30):
        if condition():
            return


def test_all_come_but_the_one_that_failed_which_is_told(sync, bank, faulty_http, tmp_path):
    faulty_http.add("/bank/7.dat", Answer(status=500))

    process = sync(bank, "-o", "wait_policy=wait_none")
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert whole_files(tmp_path / "home") == {
        f"{number}.dat" for number in range(FROM_FILES) if number != 7
    }
    assert f"{FROM_FILES - 1} of {FROM_FILES} files here" in stdout
    assert f"{bank}7.dat: expected the file, got HTTP status 500; again in 0 s" in stderr
    assert "failed: 7.dat" in stderr


def test_ctrl_c_ends_the_processes_and_the_same_command_goes_on(sync, bank, faulty_http, tmp_path):
    for number in range(0, FROM_FILES, 2):
        faulty_http.add(f"/bank/{number}.dat", Answer(body=CONTENT, stall_after=3))
    process = sync(bank)
    wait_until(lambda: len(children_of(process.pid)) == 2)
    children = children_of(process.pid)
    wait_until(lambda: faulty_http.requests_for("/bank/0.dat"))

    os.killpg(process.pid, signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGINT
    assert "stopped" in stdout
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    for number in range(0, FROM_FILES, 2):
        faulty_http.add(f"/bank/{number}.dat", Answer(body=CONTENT))
    assert sync(bank).wait(60) == 0
    assert len(whole_files(tmp_path / "home")) == FROM_FILES


def test_processes_end_with_the_one_that_started_them(sync, bank, faulty_http):
    for number in range(FROM_FILES):
        faulty_http.add(f"/bank/{number}.dat", Answer(body=CONTENT, stall_after=3))
    process = sync(bank)
    wait_until(lambda: len(children_of(process.pid)) == 2)
    children = children_of(process.pid)

    process.kill()

    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_a_process_that_is_killed_is_told(sync, bank, faulty_http):
    halting, whole = Answer(body=CONTENT, stall_after=3), Answer(body=CONTENT)
    for number in range(20):
        faulty_http.add(f"/bank/{number}.dat", halting, whole)
    process = sync(bank, "-o", "low_speed_time=1")
    wait_until(lambda: len(children_of(process.pid)) == 2)

    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "a process of this command was killed: give the command again" in stderr
