"""A directory of very many files, listed and matched over FTP and HTTP, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.site import Site, table
from tests.servers.vsftpd import VsftpdServer

#: Lists, matches half of the files, and tells how long it took and the most memory it had.
LIST_AND_MATCH = """
import json, resource, sys, time
from biomaj_download.download.registry import get_handler
protocol, host, folder = sys.argv[1:]
downloader = get_handler(protocol, host, folder)
started = time.monotonic()
files, directories = downloader.list()
downloader.match([r".*[02468]\\.fasta\\.gz$"], files, directories)
seconds = time.monotonic() - started
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([len(files), len(downloader.files_to_download), seconds, memory]))
"""


def measure(site: Site, *, entries: int, runs: int) -> str:
    """Return the table: a row a protocol."""
    with VsftpdServer() as ftp:
        rows = [
            _list("HTTP (nginx)", "http", site.nginx.port, site.nginx.root, entries, runs),
            _list("FTP (vsftpd)", "ftp", ftp.port, ftp.root, entries, runs),
        ]
    return table(f"{entries} files in one directory, half of them matched, medians of {runs}", rows)


def _list(
    title: str, protocol: str, port: int, root: Path, entries: int, runs: int
) -> tuple[str, str, str]:
    folder = root / "many"
    folder.mkdir()
    for number in range(entries):
        descriptor = os.open(folder / f"entry_{number:06}.fasta.gz", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x" * (number % 100))
        os.close(descriptor)
    runs_told = [_run(protocol, port, entries) for _ in range(runs)]
    seconds = median(told[0] for told in runs_told)
    memory = max(told[1] for told in runs_told)
    return (title, f"{seconds:.2f} s, peak memory {memory / 1e6:.0f} MB", "10 s, 300 MB")


def _run(protocol: str, port: int, entries: int) -> tuple[float, int]:
    command = [sys.executable, "-c", LIST_AND_MATCH, protocol, f"127.0.0.1:{port}", "/many"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed, matched, seconds, memory = json.loads(done.stdout)
    if (listed, matched) != (entries, entries // 2):
        raise SystemExit(f"{protocol}: listed {listed}, matched {matched} of {entries}")
    return seconds, memory
