"""Compressed files, tested while they arrive: what the test adds to the download.

Held against the longer of the two that cannot be saved: the download without a test, and
`igzip -t` of what it brought. Whether it unpacks is known before a file has its final name.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from isal import isal_zlib

from benchmarks.contest import Contest, in_turn
from benchmarks.ground import Ground
from benchmarks.row import OURS, Network, Result, Row, Scale

#: What ours is held against.
ALONE, IGZIP, GZIP = "download alone", "igzip -t", "gzip -t"
_GZIP_FORMAT = 16 + 15  # zlib's wbits for a window of 32 KiB, with gzip's header
_LINE = 80
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Archives:
    """So many gzip files of FASTA with so many bytes unpacked, over so many connections."""

    files: int
    unpacked_bytes: int
    connections: int
    with_peers: bool

    def measure(self, ground: Ground, scale: Scale) -> Result:
        """Fetch them with the test and without it in turn, and test them alone; in seconds."""
        names = [
            f"{number:04}.fasta.gz" for number in range(scale.of(self.files, min(self.files, 10)))
        ]
        unpacked_bytes = scale.of(self.unpacked_bytes, min(self.unpacked_bytes, 8 << 20))
        for number, name in enumerate(names):
            self._write(ground, name, unpacked_bytes, seed=number % 16)
        tested = self._contest(ground, {})
        untested = self._contest(ground, {"skip_check_uncompress": "true"})
        result = Result()
        for _ in range(scale.runs):
            result.add(ALONE, len(names) / untested.ours(names).files_per_second)
            result.add(OURS, len(names) / tested.ours(names).files_per_second)
            if self.with_peers:
                for program in ("igzip", "gzip"):
                    result.add(f"{program} -t", _test_alone(ground, program, names))
        if self.with_peers:
            peers = Result()
            in_turn(tested, names, peers, scale, figure=lambda rate: len(names) / rate)
            peers.figures.pop(OURS)
            result.figures.update(peers.figures)
            result.lacking.update(peers.lacking)
        ground.origin.forget("archives")
        return result

    def _contest(self, ground: Ground, options: dict[str, str]) -> Contest:
        return Contest(
            ground=ground,
            protocol="http",
            folder="archives",
            connections=self.connections,
            is_large=self.files == 1,
            options=options,
        )

    def _write(self, ground: Ground, name: str, unpacked_bytes: int, seed: int) -> None:
        with ground.origin.new_path("archives", name).open("wb") as file:
            packer = isal_zlib.compressobj(1, wbits=_GZIP_FORMAT)
            block = _fasta(seed, min(unpacked_bytes, _BLOCK_BYTES))
            # What comes again lies further back than gzip sees.
            for _ in range(unpacked_bytes // len(block)):
                file.write(packer.compress(block))
            file.write(packer.flush())
        ground.origin.share("archives", name)


def _fasta(seed: int, size_bytes: int) -> bytes:
    """Return random bases, in lines."""
    bases = random.Random(seed).randbytes(size_bytes).translate(b"ACGT" * 64)  # noqa: S311 - the same every time, no secret
    lines = [bases[start : start + _LINE - 1] for start in range(0, size_bytes, _LINE)]
    return b"\n".join(lines)[: size_bytes - 1] + b"\n"


def _test_alone(ground: Ground, program: str, names: Sequence[str]) -> float:
    folder = ground.origin.nginx.root / "archives"
    started = time.monotonic()
    subprocess.run([program, "-t", *names], cwd=folder, check=True, capture_output=True)
    return time.monotonic() - started


def _over_longer(result: Result) -> float:
    """Return how much longer ours takes than the longer of the two, 1: as long."""
    return result.median(OURS) / max(result.median(ALONE), result.median(IGZIP))


def _loopback_text(result: Result) -> str:
    parts = ", ".join(f"{name} {result.median(name):.2f} s" for name in (ALONE, IGZIP, GZIP))
    return f"{result.median(OURS):.2f} s, {_over_longer(result):.2f} times ({parts})"


def _over_untested(result: Result) -> float:
    return result.median(OURS) / result.median(ALONE)


def _wide_text(result: Result) -> str:
    seconds = f"without the test {result.median(ALONE):.2f} s"
    return f"{result.median(OURS):.2f} s, {_over_untested(result):.2f} times ({seconds})"


def _loopback_row(name: str, work: str, archives: Archives) -> Row:
    return Row(
        name=name,
        work=f"{work}, HTTP, loopback, tested",
        network=Network.LOOPBACK,
        unit="s",
        is_more_better=False,
        goal="1.15 times the longer of download alone and igzip -t",
        measure=archives.measure,
        is_reached=lambda result: _over_longer(result) <= 1.15,
        text=_loopback_text,
    )


def _wide_row(name: str, work: str, archives: Archives) -> Row:
    return Row(
        name=f"{name}-wide",
        work=f"{work}, HTTP, wide area, tested",
        network=Network.WIDE,
        unit="s",
        is_more_better=False,
        goal="1.03 times without the test",
        measure=archives.measure,
        is_reached=lambda result: _over_untested(result) <= 1.03,
        text=_wide_text,
    )


#: 100 KiB packed; 1 GiB unpacked makes about 360 MB.
_SMALL_BYTES, _LARGE_BYTES = 309 << 10, 1 << 30
_MANY, _ONE = "1,000 gzip files of 100 KiB", "one gzip file, 1 GiB of FASTA"
ROWS = (
    _loopback_row(
        "archives-small",
        _MANY,
        Archives(files=1000, unpacked_bytes=_SMALL_BYTES, connections=16, with_peers=True),
    ),
    _loopback_row(
        "archives-large",
        _ONE,
        Archives(files=1, unpacked_bytes=_LARGE_BYTES, connections=4, with_peers=True),
    ),
    _wide_row(
        "archives-small",
        _MANY,
        Archives(files=1000, unpacked_bytes=_SMALL_BYTES, connections=64, with_peers=False),
    ),
    _wide_row(
        "archives-large",
        _ONE,
        Archives(files=1, unpacked_bytes=_LARGE_BYTES, connections=16, with_peers=False),
    ),
)
