"""A busy hour of a site, told to the store of an embedded service: what the pictures show."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

from biomaj_download.serving import embedded_in
from biomaj_download.settings import Settings
from biomaj_download.store.activity import (
    BUCKET_SECONDS,
    BUCKETS,
    Consumer,
    EndedFile,
    HostState,
    Pulse,
    Queued,
    RunningFile,
    bucket_now,
)
from biomaj_download.store.opening import open_activity, open_store

#: Of each bank: files wanted, settled, failed among these, bytes, files at hand.
BANKS = {
    "blast_nt": (96, 71, 0, 168_400_000_000, 2),
    "ensembl_release_113": (1_200, 431, 0, 12_900_000_000, 40),
    "pdb": (640, 640, 0, 2_100_000_000, 0),
    "uniprot": (9_517, 8_313, 2, 34_200_000_000, 60),
}
UNIPROT, ENSEMBL, NCBI = (
    "https://ftp.uniprot.org:443",
    "ftp://ftp.ensembl.org:21",
    "https://ftp.ncbi.nlm.nih.gov:443",
)
#: bank, name, server, attempt, received, size, bytes a second
RUNNING = (
    ("uniprot", "complete/uniprot_trembl.dat.gz", UNIPROT, 1, 41e8, 123e8, 28e6),
    ("uniprot", "complete/uniprot_sprot.dat.gz", UNIPROT, 2, 31e7, 64e7, 20.2e6),
    ("ensembl_release_113", "fasta/homo_sapiens/dna/GRCh38.fa.gz", ENSEMBL, 1, 6e8, 11e8, 22e6),
    ("blast_nt", "nt.071.tar.gz", NCBI, 1, 22e8, 31e8, 31e6),
    ("blast_nt", "nt.072.tar.gz", NCBI, 1, 88e7, None, 17e6),
)
#: bank, name, server, code, text
FAILED = (
    ("uniprot", "docs/relnotes.txt", UNIPROT, "remote-file-missing", "got HTTP status 404"),
    (
        "uniprot",
        "idmapping/<img src=x onerror=alert(1)>.gz",
        UNIPROT,
        "digest-mismatch",
        "announced 8b1a9953c4611296a827abf8c47804d7, received 5d41402abc4b2a76b9719d911017c592",
    ),
)


def tell_scene(data: Path) -> dict[str, str]:
    """Tell all; returns the sessions of the banks. What consumers tell lasts for 10 seconds."""
    settings = embedded_in(data, Settings())
    with closing(open_store(settings)) as store:
        sessions = {bank: store.create_session(bank) for bank in sorted(BANKS)}
    with closing(open_activity(settings)) as activity:
        moved = {(bank, sessions[bank]): BANKS[bank][3] for bank in BANKS}
        first, second = _pulses(sessions)
        activity.tell(first, _ended(sessions), moved)
        activity.tell(second, [], {})
        for bank, session in sessions.items():
            activity.expect(bank, session, BANKS[bank][0])
    _pass_an_hour(data / "sessions.sqlite")
    return sessions


def _pulses(sessions: dict[str, str]) -> Iterator[Pulse]:
    now = datetime.now(timezone.utc)
    for host, banks, hours in (("node1", ("uniprot",), 23), ("node2", ("blast_nt",), 2)):
        name = f"{host}:2211"
        running = tuple(
            RunningFile(
                bank=bank,
                session=sessions[bank],
                name=file,
                host=server,
                protocol=server.split(":")[0],
                attempt=attempt,
                received_bytes=int(received),
                size_bytes=None if size is None else int(size),
                bytes_per_second=speed,
                begun_at=now - timedelta(minutes=2),
                consumer=name,
            )
            for bank, file, server, attempt, received, size, speed in RUNNING
            if (bank == "uniprot") == (host == "node1")
        )
        consumer = Consumer(
            name=name,
            host=host,
            process_id=2211,
            slots=16,
            running=len(running),
            started_at=now - timedelta(hours=hours, minutes=12),
            seen_at=now,
        )
        queued = tuple(
            Queued(bank=bank, session=sessions[bank], waiting=BANKS[bank][4], running=2)
            for bank in banks
        )
        hosts = _hosts(name) if host == "node1" else ()
        yield Pulse(consumer=consumer, running=running, hosts=hosts, queued=queued)


def _hosts(consumer: str) -> tuple[HostState, ...]:
    #: name, limit, connections, waiting, pause
    states = ((UNIPROT, 4, 4, 6, 0), (ENSEMBL, 1, 1, 3, 0), (NCBI, 4, 2, 2, 42))
    return tuple(
        HostState(
            name=name,
            consumer=consumer,
            limit=limit,
            configured=2 if name == ENSEMBL else 4,
            connections=connections,
            waiting=waiting,
            paused_seconds=paused,
        )
        for name, limit, connections, waiting, paused in states
    )


def _ended(sessions: dict[str, str]) -> list[EndedFile]:
    return [
        EndedFile(
            bank=bank,
            session=sessions[bank],
            name=name,
            host=server,
            state="failed",
            size_bytes=0,
            seconds=3.2,
            ended_at=datetime.now(timezone.utc),
            code=code,
            error=f"{name}: {text}",
        )
        for bank, name, server, code, text in FAILED
    ]


def _pass_an_hour(path: Path) -> None:
    """Write what an hour of work would have left: to live through it takes too long."""
    with closing(sqlite3.connect(path)) as database, database:
        for bank, (_, done, failed, _, _) in BANKS.items():
            database.execute(
                "UPDATE session SET progress = ?, error = ? WHERE bank = ?", (done, failed, bank)
            )
        database.execute("UPDATE activity SET opened_at = ?", (time.time() - 3000,))
        last = bucket_now()
        share = time.time() % BUCKET_SECONDS / BUCKET_SECONDS  # of the bucket of now
        database.execute(
            "INSERT OR REPLACE INTO speed VALUES (?, ?)", (last, int(share * _bytes_of(0)))
        )
        database.executemany(
            "INSERT OR REPLACE INTO speed VALUES (?, ?)",
            [(last - ago, _bytes_of(ago)) for ago in range(1, BUCKETS - 60)],
        )


def _bytes_of(ago: int) -> int:
    wave = 96 + 30 * math.sin(ago / 47) + 14 * math.sin(ago / 11) + 6 * math.sin(ago * 1.9)
    return int(10e6 * wave)
