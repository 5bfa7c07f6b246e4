"""Who may read and write what this package stores: nothing is ever writable for all.

In: the umask, as the process has it or the configuration says.  Out: modes of files.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

#: A part is for this user and group alone: nobody else shall take it for the file.
PART_MODE = 0o640
#: What the service notes may hold accounts of servers.
STATE_MODE = 0o600
#: What the umask may take more from: published files, and the directories that they stand in.
_MOST_OF_A_FILE = 0o664
MOST_OF_A_DIRECTORY = 0o775


def set_umask(umask: int) -> None:
    """Set what is taken from the modes of all that this process will make."""
    os.umask(umask)
    published_mode.cache_clear()


@cache
def published_mode() -> int:
    """Return the mode of a published file.

    The umask is asked of Linux (proc(5), `Umask`): os.umask would change it for other threads.
    """
    status = Path("/proc/self/status").read_text(encoding="latin-1")
    told = next(line for line in status.splitlines() if line.startswith("Umask:"))
    return _MOST_OF_A_FILE & ~int(told.split()[1], base=8)


def make_private(path: Path) -> Path:
    """Make a state file that is not there yet, before a library would make it for all to read.

    One that is there is not opened: its being closed would take away all locks that SQLite has on
    it in this process (fcntl(2), POSIX record locks).
    """
    flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC
    if not path.exists():  # what a link leads to need not be there either
        flags |= 0 if path.is_symlink() else os.O_EXCL
        with suppress(FileExistsError):
            os.close(os.open(path, flags, STATE_MODE))
    return path
