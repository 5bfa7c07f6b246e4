from __future__ import annotations

from pathlib import Path

import pytest

from biomaj_download.command.fetching import Fetch
from biomaj_download.command.pace import Pace
from biomaj_download.command.telling import Look, failure_line, look_line
from biomaj_download.errors import TransferError
from biomaj_download.publish import SafePath


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr("biomaj_download.command.pace.monotonic", lambda: now[0])
    return now


def test_pace_is_that_of_the_last_seconds(clock):
    pace = Pace()
    for second in range(1, 41):
        clock[0] = float(second)
        pace.look(second * 100 if second <= 20 else 2000 + (second - 20) * 10)

    assert pace.bytes_per_second() == pytest.approx(10)
    assert pace.seconds_left(500) == pytest.approx(50)
    assert pace.seconds_left(None) is None


def test_pace_says_nothing_too_early(clock):
    pace = Pace()
    clock[0] = 0.01
    pace.look(10_000_000)

    assert pace.bytes_per_second() == 0
    assert pace.seconds_left(1000) is None


def test_a_line_tells_bytes_speed_and_time_left():
    look = Look(
        files=2000,
        ended=1200,
        failed=1,
        present_bytes=1_500_000,
        size_bytes=3_000_000,
        bytes_per_second=25_000,
        seconds_left=60.0,
        running=(),
    )

    assert (
        look_line(look)
        == "1,200 of 2,000 files, 1 failed, 1.5 MB of 3.0 MB, 25 kB/s, 1 min 0 s left"
    )


def test_a_failure_tells_no_password_and_commands_no_terminal():
    fetch = Fetch(
        name="a\x1b[2J.dat",
        local_dir=Path(),
        path=SafePath(Path("a")),
        open_downloader=lambda: pytest.fail("is not opened"),
        error=TransferError("ftp://user:secret@h/a: refused\nfor ever"),
    )

    line = failure_line(fetch)

    assert "secret" not in line
    assert line.isprintable()
