"""Listings: a tree over the wide area, and one directory of very many files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import oldpackage
from benchmarks.contest import reason
from benchmarks.ground import Ground
from benchmarks.peers import obscured
from benchmarks.row import OLD, OURS, Network, Result, Row, Scale

#: Over so many connections, by ours and by rclone; the others have one.
_CONNECTIONS = 8
#: Lists and matches, and tells how long it took and the most memory it had; 3.2.12 has the class
#: by another name.
LIST_AND_MATCH = """
import json, sys, time
protocol, host, folder, pattern, connections = sys.argv[1:]
try:
    from biomaj_download.download.registry import get_handler
    from biomaj_download.settings import TransferSettings
    from biomaj_download.transfer import shared
    shared.set_up(TransferSettings(ftp_connections_per_host=int(connections)))
    downloader = get_handler(protocol, host, folder)
except ImportError:
    from biomaj_download.download.curl import CurlDownload, HTTPParse
    date = r"(\\d\\d-\\w+-\\d{4} [\\d:]+)"
    of_nginx = HTTPParse(
        '<a href="([^"/]+)/">.* ' + date, '<a href="([^"/]+)">.* ' + date + r" +(\\d+)",
        file_date_format="%d-%b-%Y %H:%M",
    )
    downloader = CurlDownload(protocol, host, folder, of_nginx)
started = time.monotonic()
files, directories = downloader.list()
downloader.match([pattern], files, directories)
seconds = time.monotonic() - started
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
memory = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps([len(downloader.files_to_download), seconds, memory]))
"""
MEMORY = "memory in MB"
#: A run of 3.2.12 takes minutes where it lists a tree.
_OLD_RUNS = 1


def _list(python: str, ground: Ground, protocol: str, folder: str, pattern: str) -> list[float]:
    """Return how many files matched, the seconds and the bytes of memory."""
    command = [python, "-c", LIST_AND_MATCH, protocol, ground.origin.server(protocol)]
    command += [ground.origin.directory(protocol, folder), pattern, str(_CONNECTIONS)]
    done = subprocess.run(command, capture_output=True, check=True, cwd="/")
    told: list[float] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure_tree(ground: Ground, scale: Scale) -> Result:
    """List 300 directories of 30 files by FTP: ours, 3.2.12, lftp and rclone."""
    directories = scale.of(300, 5)
    names = [f"release{one:03}/part{two:02}.gz" for one in range(directories) for two in range(30)]
    ground.origin.fill("tree", dict.fromkeys(names, b"x" * 100))
    pattern = r"^release\d+/^part\d+\.gz$"
    result = Result(lacking={"aria2": "lists nothing", "curl": "lists no tree", "wget2": "no FTP"})

    def by_class(python: str) -> Callable[[], int]:
        return lambda: round(_list(python, ground, "ftp", "tree", pattern)[0])

    host, _, port = ground.origin.server("ftp").partition(":")
    lftp = ["lftp", "--norc", "-c", f"open {ground.origin.url('ftp', 'tree')}; find ."]
    rclone = ["rclone", "lsf", "-R", "--files-only", "--config", "/dev/null", "--checkers"]
    rclone += [str(_CONNECTIONS), "--ftp-host", host, "--ftp-port", port, "--ftp-user", "anonymous"]
    rclone += ["--ftp-pass", obscured("bench"), ":ftp:/tree"]
    for number in range(scale.runs):
        result.add(OURS, _seconds(by_class(sys.executable), len(names)))
        if number < _OLD_RUNS and not scale.is_smoke:
            result.add(OLD, _seconds(by_class(oldpackage.python()), len(names)))
        result.add("lftp", _seconds(lambda: _count(lftp), len(names)))
        result.add("rclone", _seconds(lambda: _count(rclone), len(names)))
    ground.origin.forget("tree")
    return result


def _seconds(count: Callable[[], int], files: int) -> float:
    started = time.monotonic()
    counted = count()
    if counted != files:
        raise SystemExit(f"listed {counted} of {files} files")
    return time.monotonic() - started


def _count(command: list[str]) -> int:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(line.endswith(".gz") for line in done.stdout.splitlines())


@dataclass(frozen=True)
class Directory:
    """One directory of very many files, of which half are matched."""

    protocol: str
    files: int

    def measure(self, ground: Ground, scale: Scale) -> Result:
        """List it by ours, in a process of its own, and by 3.2.12 once."""
        files = scale.of(self.files, 500)
        origin = ground.origin
        folder = origin.new_path("many", "none").parent
        for root in (origin.nginx.root, origin.ftp.root):
            folder = root / "many"
            folder.mkdir(exist_ok=True)
            for number in range(files):
                path = folder / f"entry_{number:06}.fasta.gz"
                descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
                os.write(descriptor, b"x" * (number % 100))
                os.close(descriptor)
        result = Result()
        pattern = r"^.*[02468]\.fasta\.gz$"
        for number in range(scale.runs):
            pythons = {OURS: sys.executable}
            if number < _OLD_RUNS and not scale.is_smoke:
                pythons[OLD] = oldpackage.python()
            for tool, python in pythons.items():
                try:
                    told = _list(python, ground, self.protocol, "many", pattern)
                except subprocess.CalledProcessError as error:
                    if tool == OURS:
                        raise
                    result.lacking[tool] = reason(error)
                    continue
                matched, seconds, memory = told
                if matched != files // 2:
                    raise SystemExit(f"{tool} matched {matched} of {files // 2}")
                result.add(tool, seconds)
                if tool == OURS:
                    result.add(MEMORY, memory / 1e6)
        return result


def _directory_row(protocol: str, server: str) -> Row:
    return Row(
        name=f"listing-{protocol}",
        work=f"list 100,000 files in one directory and match half of them, {server}, loopback",
        network=Network.LOOPBACK,
        unit="s",
        is_more_better=False,
        goal="10 s, 300 MB",
        measure=Directory(protocol, 100_000).measure,
        is_reached=lambda result: result.median(OURS) <= 10 and result.median(MEMORY) <= 300,
        text=lambda result: f"{result.median(OURS):.1f} s, {result.median(MEMORY):.0f} MB",
    )


ROWS = (
    Row(
        name="tree-ftp-wide",
        work=f"list 300 directories of 30 files, FTP, wide area, {_CONNECTIONS} connections",
        network=Network.WIDE,
        unit="s",
        is_more_better=False,
        goal="10 times 3.2.12",
        measure=measure_tree,
        is_reached=lambda result: (
            OLD in result.figures and result.median(OLD) / result.median(OURS) >= 10
        ),
    ),
    _directory_row("http", "HTTP (nginx)"),
    _directory_row("ftp", "FTP (vsftpd)"),
)
