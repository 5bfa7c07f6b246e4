"""A host's connections, shared out to the processes of a consumer, which lend them to each other.

In: how many each process has.  Out: which of them this process may use now.

A process holds its own while it uses the host, and borrows those of one that does not, for pieces
of a large file. Who wants its own back says so, and waits until the borrower has ended what runs
there. The kernel keeps the account: a process's places at a host are a byte of a file in memory,
held by a lock on it (fcntl(2), advisory record locking). So who dies has given back all.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from hashlib import sha256

from biomaj_download.settings import TransferSettings

#: From one host's bytes to the next one's; a process has two of them.
_BYTES_A_HOST = 4096


def part(limit: int, number: int, index: int) -> int:
    """Return what the one at `index` of `number` processes gets of a limit; together, all of it."""
    return limit // number + (index < limit % number)


class Common:
    """What the processes have in common, made before they are forked: limits, and where to lock.

    `settings`: of all processes together.
    """

    def __init__(self, settings: TransferSettings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._file = os.memfd_create("biomaj-download-places")

    def at(self, host: str, index: int) -> Places:
        """Return the places at a host (scheme, name and port), as the process at `index` has them.

        None of its other processes may do so: locks are a process's.
        """
        limit = self._settings.connections_to(host)
        number = self._number
        first_byte = int.from_bytes(sha256(host.encode()).digest()[:6], "big") * _BYTES_A_HOST
        shares = [part(limit, number, each) for each in range(number)]
        return Places(self._file, first_byte, shares, index)


class Places:
    """What this process may use of a host; any thread may call."""

    def __init__(self, file: int, first_byte: int, shares: Sequence[int], index: int) -> None:
        self._file = file
        self._first_byte = first_byte
        self._shares = shares
        self._index = index
        self._lock = threading.Lock()
        self._lenders: list[int] = []
        #: We have our own; or we want them, but another process has them still.
        self.is_held = self.is_asking = False
        #: How many of others we have besides.
        self.borrowed = 0

    def take(self) -> bool:
        """Take our own; False: another process has them still, and is told that we want them."""
        with self._lock:
            if not self.is_held:
                self.is_held = self._locked(self._place(self._index))
                self._ask(not self.is_held)
            return self.is_held

    def release(self) -> None:
        """Let others borrow our own, which nobody here waits for."""
        with self._lock:
            self._ask(False)
            if self.is_held:
                self._unlock(self._place(self._index))
                self.is_held = False

    def borrow(self) -> bool:
        """Take those of one other process, which does not use them; False: there is none."""
        with self._lock:
            others = set(range(len(self._shares))) - {self._index, *self._lenders}
            for other in sorted(others) if self.is_held else ():
                if not self._locked(self._place(other)):
                    continue
                if self._is_wanted(other):  # it has just got it back, and will come for it
                    self._unlock(self._place(other))
                else:
                    self._lenders.append(other)
                    self.borrowed += self._shares[other]
                    return True
            return False

    def are_wanted(self) -> bool:
        """Say whether a process wants back what we have borrowed."""
        with self._lock:
            return any(map(self._is_wanted, self._lenders))

    def give_back(self) -> None:
        """Let those who lent have their own again."""
        with self._lock:
            for other in self._lenders:
                self._unlock(self._place(other))
            self._lenders.clear()
            self.borrowed = 0

    def _ask(self, is_asking: bool) -> None:
        if is_asking:
            self._locked(self._wish(self._index))
        elif self.is_asking:
            self._unlock(self._wish(self._index))
        self.is_asking = is_asking

    def _place(self, index: int) -> int:
        return self._first_byte + 2 * index

    def _wish(self, index: int) -> int:
        return self._first_byte + 2 * index + 1

    def _locked(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # held by another process: EAGAIN or EACCES
            return False
        return True

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)

    def _is_wanted(self, index: int) -> bool:
        wish = self._wish(index)
        if not self._locked(wish):
            return True
        self._unlock(wish)
        return False
