"""Many files of 10 KiB: where each file's own cost, or the way to the server, sets the pace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.contest import Contest, in_turn
from benchmarks.ground import Ground
from benchmarks.row import OLD, OURS, Network, Result, Row, Scale

FILE_BYTES = 10 * 1024
PEERS_BUT_CURL = ("aria2", "lftp", "rclone", "wget2")
#: Whom four consumers are held against.
ONE = "one consumer"


def _fill(ground: Ground, files: int) -> tuple[str, list[str]]:
    """Serve so many files to the end of the run; return the folder and their names.

    ext4 makes new files slowly just after many were deleted.
    """
    folder = ground.origin.new_folder()
    bodies = {f"{number:05}.dat": os.urandom(FILE_BYTES) for number in range(files)}
    ground.origin.fill(folder, bodies)
    return folder, list(bodies)


@dataclass(frozen=True, kw_only=True)
class Small:
    """So many files by one protocol over so many connections."""

    protocol: str
    files: int
    connections: int
    slots: int | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)

    def measure(self, ground: Ground, scale: Scale) -> Result:
        """Fetch them with each tool in turn."""
        folder, names = _fill(ground, scale.of(self.files, 20))
        contest = Contest(
            ground=ground,
            protocol=self.protocol,
            folder=folder,
            connections=self.connections,
            slots=self.slots,
            shows_durability=ground.origin is ground.near,
        )
        result = Result(lacking=dict(self.lacking))
        in_turn(contest, names, result, scale, parts=self.parts)
        return result


def measure_consumers(ground: Ground, scale: Scale) -> Result:
    """Fetch by one consumer and by four, in turn; each has a process and 8 connections.

    Measured from a tenth of the files on: four begin one after the other, on two cores.
    """
    folder, names = _fill(ground, scale.of(2000, 40))
    contest = Contest(
        ground=ground, protocol="http", folder=folder, connections=8, slots=16, processes=1
    )
    result = Result()
    warm_up = len(names) // 10
    for _ in range(scale.runs):
        result.add(ONE, contest.ours(names, warm_up=warm_up).files_per_second)
        result.add(OURS, contest.ours(names, consumers=4, warm_up=warm_up).files_per_second)
    return result


def _times(result: Result) -> float:
    return result.median(OURS) / result.median(ONE)


ROWS = (
    Row(
        name="small-http",
        work="5,000 x 10 KiB, HTTP, loopback, one consumer, 16 connections",
        network=Network.LOOPBACK,
        unit="files/s",
        goal="2,000 files/s and ahead of all but curl",
        measure=Small(
            protocol="http",
            files=5000,
            connections=16,
            parts={OLD: 0.1, "aria2": 0.4},
        ).measure,
        is_reached=lambda result: (
            result.median(OURS) >= 2000 and result.is_ahead_of(*PEERS_BUT_CURL)
        ),
    ),
    Row(
        name="small-ftp",
        work="5,000 x 10 KiB, FTP, loopback, one consumer, 16 connections",
        network=Network.LOOPBACK,
        unit="files/s",
        goal="ahead of curl and lftp",
        measure=Small(
            protocol="ftp",
            files=5000,
            connections=16,
            parts={OLD: 0.06, "aria2": 0.1},
        ).measure,
        is_reached=lambda result: result.is_ahead_of("curl", "lftp"),
    ),
    Row(
        name="small-sftp",
        work="1,000 x 10 KiB, SFTP, loopback, one consumer, 16 connections",
        network=Network.LOOPBACK,
        unit="files/s",
        measure=Small(
            protocol="sftp",
            files=1000,
            connections=16,
            lacking={OLD: "knows no SFTP in messages"},
        ).measure,
    ),
    Row(
        name="small-http-wide",
        work="3,000 x 10 KiB, HTTP/1.1, wide area, 64 connections",
        network=Network.WIDE,
        unit="files/s",
        goal="1,000 files/s",
        measure=Small(
            protocol="http",
            files=3000,
            connections=64,
            parts={OLD: 0.02, "aria2": 0.5, "lftp": 0.5, "rclone": 0.5, "wget2": 0.5},
        ).measure,
        is_reached=lambda result: result.median(OURS) >= 1000,
    ),
    Row(
        name="small-http2-wide",
        work="3,000 x 10 KiB, HTTPS with HTTP/2, wide area, 4 connections",
        network=Network.WIDE,
        unit="files/s",
        goal="2,000 files/s",
        measure=Small(
            protocol="https",
            files=3000,
            connections=4,
            slots=256,
            parts={OLD: 0.02, "aria2": 0.1, "lftp": 0.005, "rclone": 0.2, "wget2": 0.5},
        ).measure,
        is_reached=lambda result: result.median(OURS) >= 2000,
    ),
    Row(
        name="small-ftp-wide",
        work="600 x 10 KiB, FTP, wide area, 16 connections",
        network=Network.WIDE,
        unit="files/s",
        goal="ahead of lftp",
        measure=Small(
            protocol="ftp",
            files=600,
            connections=16,
            parts={OLD: 0.05, "aria2": 0.1},
        ).measure,
        is_reached=lambda result: result.is_ahead_of("lftp"),
    ),
    Row(
        name="small-http-far",
        work="3,000 x 10 KiB, HTTP/1.1, RTT 150 ms with 0.1 % loss, 64 connections",
        network=Network.FAR,
        unit="files/s",
        measure=Small(
            protocol="http",
            files=3000,
            connections=64,
            parts={OLD: 0.01, "aria2": 0.3, "lftp": 0.3, "rclone": 0.3, "wget2": 0.3},
        ).measure,
    ),
    Row(
        name="consumers",
        work="2,000 x 10 KiB, HTTP/1.1, wide area, 4 consumers against 1, 8 connections each",
        network=Network.WIDE,
        unit="files/s",
        goal="3.5 times",
        measure=measure_consumers,
        is_reached=lambda result: _times(result) >= 3.5,
        text=lambda result: (
            f"{_times(result):.1f} times"
            f" ({result.median(ONE):.0f} -> {result.median(OURS):.0f} files/s)"
        ),
    ),
)
