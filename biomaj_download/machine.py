"""Which run of which machine this is, and which process of it.

Out: texts that can be stored where other machines read them, and asked about later.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
#: In /proc/PID/stat, after the program's name: the state, and the start in clock ticks since boot.
_STATE, _START = 0, 19


@cache
def this_run() -> str:
    """Name this run of this machine, as Linux does (random(4))."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def this_process() -> str:
    """Name this process so that no other one, before or after it, is called the same."""
    return f"{_namespace()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(process: str) -> bool:
    """Say whether a process has surely ended: one that we can look for here, and do not find."""
    namespace, _, rest = process.rpartition(":")[0].rpartition(":")
    started = process.rpartition(":")[2]
    if namespace != _namespace() or "?" in started or not rest.isdigit():
        return False
    return _started(int(rest)) not in ("?", started)


def _namespace() -> str:
    """Name where process numbers mean what they mean here: containers have their own."""
    try:
        return f"{this_run()}:{os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115 - no file
    except OSError:
        return "unknown:?"


def _started(number: int) -> str:
    """Return when a process started, in the kernel's ticks; `?`: cannot be told, else: is gone."""
    try:
        text = (_PROC / str(number) / "stat").read_text(encoding="latin-1")
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "?"
    fields = text.rpartition(")")[2].split()
    return "gone" if fields[_STATE] in "ZX" else fields[_START]
