"""One large file, its digest checked: over the wide area by several connections, on loopback."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import BinaryIO

from benchmarks.contest import Contest, in_turn
from benchmarks.ground import Ground
from benchmarks.row import OLD, OURS, Network, Result, Row, Scale

NAME = "large.dat"
MIB = 1 << 20
#: A packet carries this part of itself as payload: 1,500 bytes less 20 of IP, 20 of TCP and 12 of
#: its timestamps.
PAYLOAD = 1448 / 1500
ONE_CONNECTION = "not run: one connection, as curl"


@dataclass(frozen=True, kw_only=True)
class Large:
    """A file of so many MiB by one protocol; ours checks its digest, `digest` (hashlib's name)."""

    protocol: str
    mebibytes: int
    connections: int
    digest: str
    lacking: dict[str, str] = field(default_factory=dict)

    def measure(self, ground: Ground, scale: Scale) -> Result:
        """Fetch it with each tool in turn; figures are MB of the file a second."""
        mebibytes = scale.of(self.mebibytes, 8)
        path = ground.origin.new_path("large", NAME)
        with path.open("wb") as file:
            digest = _fill(file, mebibytes, self.digest)
        ground.origin.share("large", NAME)
        contest = Contest(
            ground=ground,
            protocol=self.protocol,
            folder="large",
            connections=self.connections,
            is_large=True,
            options={"checksum": f"{self.digest}:{digest}"},
            shows_durability=ground.origin is ground.near,
        )
        result = Result(lacking=dict(self.lacking))
        size_mb = mebibytes * MIB / 1e6
        in_turn(contest, [NAME], result, scale, figure=lambda rate: rate * size_mb)
        ground.origin.forget("large")
        return result


def _fill(file: BinaryIO, mebibytes: int, digest: str) -> str:
    """Write so many MiB, of which none is like another; return their digest."""
    hashed = hashlib.new(digest)
    for _ in range(mebibytes):
        block = os.urandom(MIB)
        hashed.update(block)
        file.write(block)
    return hashed.hexdigest()


def _share_of_line(result: Result) -> float:
    """Return which part of what a line of 1 Gbit/s can carry ours brought."""
    return result.median(OURS) * 8 / (1000 * PAYLOAD)


def _wide_text(result: Result) -> str:
    return f"{result.median(OURS):,.0f} MB/s, {_share_of_line(result):.1%} of the line"


def _share_of_curl(result: Result) -> float:
    return result.median(OURS) / result.median("curl")


def _loopback_text(result: Result) -> str:
    return f"{result.median(OURS):,.0f} MB/s, {_share_of_curl(result):.2f} of curl"


def _wide_row(protocol: str, lacking: dict[str, str]) -> Row:
    return Row(
        name=f"large-{protocol}-wide",
        work=f"2 GiB, {protocol.upper()}, wide area, 16 connections, sha256",
        network=Network.WIDE,
        unit="MB/s",
        goal="95 % of the line",
        measure=Large(
            protocol=protocol,
            mebibytes=2048,
            connections=16,
            digest="sha256",
            lacking=lacking,
        ).measure,
        is_reached=lambda result: _share_of_line(result) >= 0.95,
        text=_wide_text,
    )


def _loopback_row(protocol: str, digest: str) -> Row:
    return Row(
        name=f"large-{protocol}",
        work=f"2 GiB, {protocol.upper()}, loopback, {digest}",
        network=Network.LOOPBACK,
        unit="MB/s",
        goal="0.9 of curl -o without any check",
        measure=Large(protocol=protocol, mebibytes=2048, connections=4, digest=digest).measure,
        is_reached=lambda result: _share_of_curl(result) >= 0.9,
        text=_loopback_text,
    )


ROWS = (
    _loopback_row("http", "sha256"),
    _loopback_row("ftp", "sha256"),
    _wide_row("http", {OLD: ONE_CONNECTION}),
    _wide_row("ftp", {OLD: ONE_CONNECTION}),
    _wide_row("sftp", {OLD: ONE_CONNECTION}),
    Row(
        name="large-http-far",
        work="128 MiB, HTTP, RTT 150 ms with 0.1 % loss, 16 connections, sha256",
        network=Network.FAR,
        unit="MB/s",
        measure=Large(
            protocol="http",
            mebibytes=128,
            connections=16,
            digest="sha256",
            lacking={OLD: ONE_CONNECTION, "curl": "not run: one connection, minutes"},
        ).measure,
    ),
)
