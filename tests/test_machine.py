from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from biomaj_download.machine import is_gone, this_process, this_run

_SAY_AND_WAIT = """
import sys
from biomaj_download.machine import this_process
print(this_process(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other():
    """Another process, and its name."""
    with subprocess.Popen(
        [sys.executable, "-c", _SAY_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process, process.stdout.readline().decode().strip()
        process.kill()


def test_a_process_that_lives_is_not_gone(other):
    _, name = other

    assert not is_gone(name)
    assert not is_gone(this_process())
    assert name != this_process()


def test_a_process_that_was_killed_is_gone_before_it_is_waited_for(other):
    process, name = other
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert is_gone(name)
    process.wait()
    assert is_gone(name)


def test_a_process_with_the_number_of_a_dead_one_is_another():
    run_and_namespace_and_number = this_process().rpartition(":")[0]

    assert is_gone(f"{run_and_namespace_and_number}:1")


@pytest.mark.parametrize(
    "name",
    [
        this_process().replace(this_run(), "another-run"),
        this_process().replace("pid:[", "pid:[1"),
        "unknown:?:1:1",
        "",
        "nonsense",
    ],
    ids=["another run", "another namespace", "unknown", "empty", "nonsense"],
)
def test_a_process_that_cannot_be_looked_for_is_not_taken_for_gone(name):
    assert not is_gone(name)


def test_a_process_that_cannot_be_looked_at_is_not_taken_for_gone(other, monkeypatch):
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError("refused")

    _, name = other
    monkeypatch.setattr(Path, "read_text", refuse)

    assert not is_gone(name)
