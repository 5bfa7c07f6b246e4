"""What our consumer holds: with very many transfers at once, and with a very large file."""

from __future__ import annotations

import shutil

from benchmarks.contest import Contest
from benchmarks.ground import Ground
from benchmarks.row import OURS, Network, Result, Row, Scale

SMALL = "with a file of 1 MiB"
GIB = 1 << 30


def measure_in_flight(ground: Ground, scale: Scale) -> Result:
    """Have 128 transfers at once, on a line that all of them fill; figures are MB (PSS)."""
    mebibytes = 2
    names = [f"{number:03}.dat" for number in range(scale.of(1024, 8))]
    body = bytes(mebibytes << 20)
    ground.origin.fill("flight", dict.fromkeys(names, body))
    contest = Contest(ground=ground, protocol="http", folder="flight", connections=128, slots=128)
    result = Result()
    for _ in range(scale.runs):
        result.add(OURS, contest.ours(names).memory_bytes / 1e6)
    ground.origin.forget("flight")
    return result


def measure_sparse(ground: Ground, scale: Scale) -> Result:
    """Fetch a small file and a very large one, in turn; figures are MB (PSS)."""
    site = ground.site
    size_bytes = _largest(shutil.disk_usage(site.folder).free) if not scale.is_smoke else 8 << 20
    sizes = {SMALL: 1 << 20, OURS: size_bytes}
    result = Result(notes=[f"{size_bytes / GIB:.0f} GiB"])
    for tool, size in sizes.items():
        name = f"{size}.dat"
        path = ground.origin.new_path("sparse", name)
        with path.open("wb") as file:
            file.truncate(size)
        ground.origin.share("sparse", name)
        contest = Contest(
            ground=ground, protocol="http", folder="sparse", connections=4, is_large=True
        )
        result.add(tool, contest.ours([name]).memory_bytes / 1e6)
    ground.origin.forget("sparse")
    return result


def _largest(free_bytes: int) -> int:
    """Return 20 GiB, or what half of the disk's room allows: at home a file is not sparse."""
    return min(20 * GIB, free_bytes // 2 // GIB * GIB)


def _growth(result: Result) -> float:
    return result.median(OURS) - result.median(SMALL)


ROWS = (
    Row(
        name="in-flight",
        work="memory with 128 transfers at once, HTTP, wide area (1,024 x 2 MiB)",
        network=Network.WIDE,
        unit="MB",
        is_more_better=False,
        goal="200 MB",
        measure=measure_in_flight,
        is_reached=lambda result: result.median(OURS) < 200,
    ),
    Row(
        name="sparse",
        work="memory with a file of 20 GiB, sparse at the origin, HTTP, loopback",
        network=Network.LOOPBACK,
        unit="MB",
        is_more_better=False,
        goal="nothing more than with 1 MiB (within 8 MB)",
        measure=measure_sparse,
        is_reached=lambda result: _growth(result) <= 8,
        text=lambda result: f"{result.median(OURS):.0f} MB, {_growth(result):+.1f} MB",
    ),
)
