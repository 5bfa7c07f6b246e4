"""Clocks that are set, and zones in which today is another day."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.servers.biomaj import DownloadConsumer
from tests.servers.faulty_http import Answer
from tests.servers.process import find_program


class AnotherTime:
    """A consumer's clock, which `clock.c` sets for this process alone."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        compiler = find_program("gcc", "gcc")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True
        )
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set(self, offset_seconds: int) -> None:
        """Set the clock, by so many seconds from the true time."""
        with self._file.open("r+b") as file:
            file.write(offset_seconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture
def clock(tmp_path: Path) -> AnotherTime:
    return AnotherTime(tmp_path)


@pytest.mark.fault("16 the clock is set back by an hour, and on again")
def test_the_clock_is_set(site, faulty_http, clock, tell):
    wanted = {f"{number}.dat": f"file {number}".encode() for number in range(120)}
    served = {
        name: faulty_http.add(f"/{name}", Answer(body=body, delay_seconds=0.1))
        for name, body in wanted.items()
    }
    faulty_http.add("/119.dat", Answer(status=503), Answer(body=wanted["119.dat"]))
    make = partial(DownloadConsumer, environment=clock.environment)
    consumer = site.consumer(make)
    site.submit(site.request(url) for url in served.values())

    site.wait(30)
    clock.set(-3600)
    site.wait(70)
    clock.set(3600)
    progress = site.wait(120)
    held = site.wait_for_queue(0)

    told = {line[:13] for line in consumer.log().splitlines() if line[:2] == "20"}
    files = site.files()
    tell(f"progress {progress.done} of 120, all files right: {files == wanted}")
    assert (progress[:2], held, consumer.is_running) == ((120, None), 0, True)
    assert files == wanted
    assert len(told) >= 3, "expected three different hours in the log"


@pytest.mark.fault("16 a zone ahead of the server's, a day on which clocks change")
@pytest.mark.parametrize(
    ("zone", "modified", "day"),
    [
        ("Pacific/Auckland", "Tue, 31 Dec 2024 23:30:00 GMT", date(2024, 12, 31)),
        ("Pacific/Auckland", "Tue, 31 Dec 2024 10:30:00 GMT", date(2024, 12, 31)),
        ("Europe/Berlin", "Sun, 29 Mar 2026 01:30:00 GMT", date(2026, 3, 29)),
        ("America/Los_Angeles", "Thu, 29 Feb 2024 03:00:00 GMT", date(2024, 2, 29)),
    ],
)
def test_the_day_of_a_file_is_the_listings(site, faulty_http, tell, zone, modified, day):
    url = faulty_http.add("/a.dat", Answer(body=b"bytes", modified=modified))
    operation = site.request(url)
    metadata = operation.download.remote_file.files[0].metadata
    metadata.year, metadata.month, metadata.day = day.year, day.month, day.day
    site.submit([operation])

    site.consumer(partial(DownloadConsumer, environment={"TZ": zone}))
    progress = site.wait(1)

    modified_at = (site.home / "a.dat").stat().st_mtime
    found = datetime.fromtimestamp(modified_at, ZoneInfo(zone))
    tell(f"{zone}: listed {day}, the file shows {found:%Y-%m-%d %H:%M} there")
    assert progress[:2] == (1, None)
    assert found.date() == day
