"""One large file over HTTP on loopback: our downloader and `curl -o`, in turn."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

from benchmarks.site import Site, alternately, table
from biomaj_download.download.curl import CurlDownload


def measure(site: Site, *, size_bytes: int, runs: int) -> str:
    """Return the table; the file is written to disk, and removed after each run."""
    name = "big.dat"
    _fill(site.nginx.root / "small.dat", mebibytes=8)
    _fill(site.nginx.root / name, mebibytes=size_bytes >> 20)
    _ours(site, "small.dat", is_durable=True)
    memory_before = _peak_memory_bytes()
    url = f"{site.nginx.url}/{name}"
    target = site.folder / name
    _curl(url, target)
    rows = []
    for title, is_durable in (("without fsync", False), ("with fsync", True)):
        ours, curl = alternately(
            runs,
            lambda: _ours(site, name, is_durable),  # noqa: B023 - called within the loop
            lambda: _curl(url, target),
        )
        goal = "0.9" if not is_durable else ""
        figure = f"{curl / ours:.2f} ({ours:.2f} s, curl {curl:.2f} s)"
        rows.append((f"speed of curl -o, {title}", figure, goal))
    growth = (_peak_memory_bytes() - memory_before) / 1e6
    rows.append(("peak memory, above that for a file of 8 MiB", f"{growth:.1f} MB", "flat"))
    return table(f"{size_bytes >> 20} MiB over HTTP, medians of {runs}", rows)


def _fill(path: Path, *, mebibytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(b"x" * (1 << 20))


def _peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _ours(site: Site, name: str, is_durable: bool) -> float:
    downloader = CurlDownload("http", f"127.0.0.1:{site.nginx.port}", "/")
    downloader.is_durable = is_durable
    downloader.set_files_to_download([{"name": name}])
    started = time.monotonic()
    downloader.download(str(site.folder))
    seconds = time.monotonic() - started
    (site.folder / name).unlink()
    return seconds


def _curl(url: str, target: Path) -> float:
    started = time.monotonic()
    subprocess.run(["curl", "-s", "-o", target, url], check=True)
    seconds = time.monotonic() - started
    target.unlink()
    return seconds
