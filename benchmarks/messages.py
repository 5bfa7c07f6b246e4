"""Small files over HTTP on loopback, published as BioMAJ core does: ours and 3.2.12 in turn."""

from __future__ import annotations

import os
from statistics import median

from benchmarks.oldpackage import consumer_command
from benchmarks.site import OURS, Run, Site, table
from biomaj_download.message import downmessage_pb2 as wire

FILE_BYTES = 10 * 1024


def measure(site: Site, *, files: int, runs: int, with_old: bool = True) -> str:
    """Return the table of `runs` runs each, in turn."""
    origin = site.nginx.root / "messages"
    origin.mkdir()
    bodies = {f"{number}.dat": os.urandom(FILE_BYTES) for number in range(files)}
    for name, body in bodies.items():
        (origin / name).write_bytes(body)
    old_command = consumer_command() if with_old else None
    ours: list[Run] = []
    old: list[Run] = []
    for _ in range(runs):
        ours.append(_race(site, list(OURS), bodies))
        if old_command:
            old.append(_race(site, old_command, bodies))
    rate = median(run.files_per_second for run in ours)
    memory = max(run.memory_bytes for run in ours) / 1e6
    rows = [
        ("ours, files a second", f"{rate:.0f}", "1,200"),
        ("ours, memory of its processes (PSS)", f"{memory:.0f} MB", "under 150 MB"),
    ]
    if old:
        old_rate = median(run.files_per_second for run in old)
        rows += [
            ("3.2.12, files a second", f"{old_rate:.0f}", ""),
            ("ratio", f"{rate / old_rate:.1f}", "5"),
        ]
    return table(f"{files} files of 10 KiB over HTTP, medians of {runs}", rows)


def _race(site: Site, command: list[str], bodies: dict[str, bytes]) -> Run:
    session = site.new_session()
    # Kept until the end: ext4 makes new files slowly just after many were deleted.
    home = site.folder / session
    requests = []
    for name in bodies:
        request = site.request(
            session, home, wire.DownloadFile.HTTP, f"127.0.0.1:{site.nginx.port}", "/messages/"
        )
        file = request.download.remote_file.files.add(name=name, root="/messages/", save_as=name)
        file.metadata.size = FILE_BYTES
        file.metadata.year, file.metadata.month, file.metadata.day = 2024, 1, 2
        requests.append(request)
    home.mkdir()
    site.publish(requests)
    run = site.race(command, session, len(requests))
    wrong = [name for name, body in bodies.items() if (home / name).read_bytes() != body]
    if wrong or run.errors:
        raise SystemExit(f"wrong files: {len(wrong)}, errors: {run.errors}")
    return run
