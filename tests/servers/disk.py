"""A disk of its own, which a test may let fail or hang: a file system in an image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.process import MissingServer, find_program

_MIB = 2**20


@contextmanager
def own_disk(folder: Path, *, kept_mib: int = 80) -> Iterator[Path]:
    """Mount a file system of 64 MiB; skip where nobody may.

    `kept_mib`: what its image may grow to. A smaller one takes what is written, and fails when it
    is to keep it.
    """
    backing, home = folder / "backing", folder / "disk"
    with ExitStack() as mounted:
        for path in (backing, home):
            path.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={kept_mib}m", "tmpfs", str(backing))
        mounted.callback(_surely, "umount", "-l", str(backing))
        image = backing / "image"
        with image.open("wb") as file:
            file.truncate(64 * _MIB)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(home))
        mounted.callback(_surely, "umount", "-l", str(home))
        yield home


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Have whatever would change a disk wait (fsfreeze(8)), as where a file server is away."""
    _surely("fsfreeze", "--freeze", str(disk))
    try:
        yield
    finally:
        _surely("fsfreeze", "--unfreeze", str(disk))


def _run(*command: str) -> None:
    try:
        _surely(*command)
    except MissingServer as missing:
        pytest.skip(str(missing))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[0]} says: {error.stderr.strip()} (needs root and a loop device)")


def _surely(program: str, *arguments: str) -> None:
    """Run a program, which may not be on a user's PATH."""
    package = "e2fsprogs" if program.startswith("mkfs") else "util-linux"
    command = [find_program(program, package), *arguments]
    subprocess.run(command, capture_output=True, text=True, check=True)
