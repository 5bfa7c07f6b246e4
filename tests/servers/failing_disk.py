"""A real disk that takes what is written, and fails when it is to keep it: it is overbooked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def failing_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 64 MiB whose image lies on one of 4 MiB; skip where nobody may."""
    backing, home = folder / "backing", folder / "disk"
    with ExitStack() as mounted:
        for path in (backing, home):
            path.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(backing))
        mounted.callback(_run, "umount", "-l", str(backing))
        image = backing / "image"
        with image.open("wb") as file:
            file.truncate(64 * 2**20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(home))
        mounted.callback(_run, "umount", "-l", str(home))
        yield home


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} says: {done.stderr.strip()} (needs root and a loop device)")
