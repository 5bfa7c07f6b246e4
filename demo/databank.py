"""A sample databank of about 300 files, made on the fly: real formats, made-up sequences."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

_AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
_LINE_LETTERS = 60
_FASTA_FILES, _FLAT_FILES = 200, 97


def make(root: Path) -> int:
    """Write the databank below `root`; return how many files it has."""
    chance = random.Random(20260101)  # noqa: S311 - the same sequences every time, no secret
    files = 0
    for name, body in _files(chance):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        files += 1
    return files


def _files(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for number in range(_FASTA_FILES):
        fasta = "".join(_entries(chance, number, entries=100)).encode()
        yield f"fasta/{number // 50}/part{number:04d}.fasta.gz", gzip.compress(fasta, mtime=0)
    for number in range(_FLAT_FILES):
        yield f"flat/{number // 50}/entry{number:04d}.dat", _flat(chance, number)
    archive = _taxonomy()
    yield "taxonomy/taxdump.tar.gz", archive
    digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    yield "taxonomy/taxdump.tar.gz.md5", f"{digest}  taxdump.tar.gz\n".encode()
    yield "README.txt", b"A sample databank. Its sequences are made up.\n"


def _entries(chance: random.Random, number: int, *, entries: int) -> Iterator[str]:
    for entry in range(entries):
        letters = "".join(chance.choices(_AMINO_ACIDS, k=240))
        lines = [letters[at : at + _LINE_LETTERS] for at in range(0, 240, _LINE_LETTERS)]
        yield f">sp|X{number:04d}{entry:03d}|SAMPLE Made-up protein {entry}\n"
        yield "\n".join(lines) + "\n"


def _flat(chance: random.Random, number: int) -> bytes:
    letters = "".join(chance.choices(_AMINO_ACIDS, k=600))
    lines = [f"     {letters[at : at + _LINE_LETTERS]}" for at in range(0, 600, _LINE_LETTERS)]
    head = [f"ID   SAMPLE{number:04d}   Reviewed;   600 AA.", f"AC   X{number:04d};"]
    return "\n".join([*head, "SQ   SEQUENCE   600 AA;", *lines, "//", ""]).encode()


def _taxonomy() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("names.dmp", "nodes.dmp"):
            body = "".join(f"{number}\t|\t{name} {number}\t|\n" for number in range(5000)).encode()
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return packed.getvalue()
