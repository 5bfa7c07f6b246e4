"""The digests of a file's bytes, by one reading of it for all."""

from __future__ import annotations

import hashlib
import os
import subprocess  # nosec B404 # a program is started by its words, without a shell
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from biomaj_download.errors import MissingLibrary, VerifyError
from biomaj_download.transfer.followers import Readable

_CHUNK_BYTES = 512 * 1024
_SUM_SECONDS_PER_GIB = 60
_GIB = 1024**3


@dataclass(frozen=True)
class Hashing:
    """Computes digests of a file's bytes, by the names that hashlib knows."""

    algorithms: frozenset[str]

    def __call__(self, file: Readable) -> Mapping[str, str]:
        """Read a file to its end and return its digests."""
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self.algorithms}
        chunk = memoryview(bytearray(_CHUNK_BYTES))
        while read_bytes := file.readinto(chunk):
            for hash_ in hashes.values():
                hash_.update(chunk[:read_bytes])
        return {name: hash_.hexdigest() for name, hash_ in hashes.items()}


def bsd_sum(path: Path) -> str:
    """Return BSD's checksum and the number of KiB, as coreutils' `sum -r` counts them.

    Raises:
        OSError: this host cannot read it.
        MissingLibrary: `sum` is not installed.
        VerifyError: it failed, or took too long.
    """
    limit_seconds = _SUM_SECONDS_PER_GIB * (1 + path.stat().st_size // _GIB)
    with path.open("rb") as file:
        try:
            done = subprocess.run(  # nosec B603 B607 # coreutils, wherever the PATH has them
                ["sum", "-r"],  # noqa: S607 - so
                stdin=file,
                capture_output=True,
                timeout=limit_seconds,
                check=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise MissingLibrary(
                "checksum: needs the program `sum`: apt-get install coreutils"
            ) from error
        except subprocess.SubprocessError as error:
            raise VerifyError(f"{path.name}: `sum` failed: {error}") from error
    checksum, blocks = done.stdout.split()[:2]
    return f"{int(checksum)}:{int(blocks)}"
