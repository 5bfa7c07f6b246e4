"""The queue itself: what a message costs, and whether a million of them run as the first ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import oldpackage
from benchmarks.ground import Ground
from benchmarks.row import OLD, OURS, UNDURABLE, Network, Result, Row, Scale
from benchmarks.site import CONSUMER, Site
from biomaj_download.message import downmessage_pb2 as wire

FIRST_TENTH = "first tenth"
MEMORY_FIRST, MEMORY_LAST = "memory after a tenth, MB", "memory at the end, MB"
#: A million messages ask for the same files again and again.
_FILES = 1000


def _requests(
    site: Site, session: str, source: Path, home: Path, messages: int, *, files: int
) -> Iterator[wire.Operation]:
    """Return requests for local files, which come round again after so many of them."""
    request = site.request(session, home, wire.DownloadFile.LOCAL, "localhost", f"{source}/")
    file = request.download.remote_file.files.add()
    file.metadata.size = 4
    file.metadata.year, file.metadata.month, file.metadata.day = 2024, 1, 2
    for number in range(messages):
        file.name = file.save_as = f"{number % files}.txt"
        yield request


def _source(site: Site, files: int) -> Path:
    folder = site.new_home()
    for number in range(files):
        (folder / f"{number}.txt").write_text("tiny")
    return folder


def measure_overhead(ground: Ground, scale: Scale) -> Result:
    """Copy tiny local files, without metrics; figures are ms of CPU a message."""
    site = ground.site
    messages = scale.of(10_000, 100)
    # None replaces another: a file system is slow to make files just after many were removed.
    source = _source(site, messages)
    commands = {OURS: list(CONSUMER), UNDURABLE: list(CONSUMER)}
    if not scale.is_smoke:
        commands[OLD] = oldpackage.consumer_command()
    result = Result()
    for _ in range(scale.runs):
        for tool, command in commands.items():
            site.configure(is_durable=tool != UNDURABLE, prometheus=False)
            session = site.new_session()
            requests = _requests(site, session, source, site.new_home(), messages, files=messages)
            site.publish(requests, with_ids=True)
            run = site.race(command, session, messages)
            result.add(tool, run.cpu_seconds_per_file * 1e3)
    return result


def measure_million(ground: Ground, scale: Scale) -> Result:
    """Work a long queue off once; figures are messages a second."""
    site = ground.site
    messages = scale.of(1_000_000, 200)
    site.configure()
    session = site.new_session()
    source = _source(site, _FILES)
    requests = _requests(site, session, source, site.new_home(), messages, files=_FILES)
    site.publish(requests, with_ids=True)
    tenth = messages // 10
    counts = (1, tenth, messages - tenth, messages)
    first, _, last = site.stages(CONSUMER, session, counts)
    result = Result()
    result.add(FIRST_TENTH, first.files_per_second)
    result.add(OURS, last.files_per_second)
    result.add(MEMORY_FIRST, first.last.memory_bytes / 1e6)
    result.add(MEMORY_LAST, last.last.memory_bytes / 1e6)
    return result


def _million_text(result: Result) -> str:
    rates = f"{result.median(FIRST_TENTH):.0f} -> {result.median(OURS):.0f} a second"
    memory = f"{result.median(MEMORY_FIRST):.0f} -> {result.median(MEMORY_LAST):.0f} MB"
    return f"{result.median(OURS) / result.median(FIRST_TENTH):.2f} ({rates}; {memory})"


def _is_steady(result: Result) -> bool:
    growth_mb = result.median(MEMORY_LAST) - result.median(MEMORY_FIRST)
    rate = result.median(OURS) / result.median(FIRST_TENTH)
    return rate >= 0.95 and growth_mb <= 0.1 * result.median(MEMORY_FIRST)


ROWS = (
    Row(
        name="overhead",
        work="10,000 messages, each a tiny local file to copy: CPU of a message, no metrics",
        network=Network.LOOPBACK,
        unit="ms",
        is_more_better=False,
        goal="0.4 ms",
        measure=measure_overhead,
        is_reached=lambda result: result.median(OURS) < 0.4,
    ),
    Row(
        name="million",
        work="1,000,000 queued messages, each a tiny local file to copy: last tenth against first",
        network=Network.LOOPBACK,
        unit="messages/s",
        goal="0.95 of the rate, memory flat (within a tenth)",
        measure=measure_million,
        is_reached=_is_steady,
        text=_million_text,
    ),
)
