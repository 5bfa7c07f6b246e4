"""A disk of its own, which a test may let fail or hang: a file system in an image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

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
        mounted.callback(subprocess.run, ["umount", "-l", str(backing)], check=True)
        image = backing / "image"
        with image.open("wb") as file:
            file.truncate(64 * _MIB)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(home))
        mounted.callback(subprocess.run, ["umount", "-l", str(home)], check=True)
        yield home


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Have whatever would change a disk wait (fsfreeze(8)), as where a file server is away."""
    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} says: {done.stderr.strip()} (needs root and a loop device)")
