"""What the two ways to download have in common: in this process, or by the service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.store.base import Progress


class Downloads(ABC):
    """The files of one session at a time, from `open` to `clean`; for one thread.

    `at_once`: that many files may be handed over and unfinished; None: any number.
    """

    def __init__(self, *, at_once: int | None) -> None:
        self.at_once = at_once

    @abstractmethod
    def open(self, bank: str, url: str | None) -> str:
        """Begin a bank's session and return its id; `url`: the service's web interface."""

    @abstractmethod
    def submit(self, operations: Sequence[wire.Operation]) -> None:
        """Take requests; those that may not start yet start while `wait` runs."""

    @abstractmethod
    def progress(self) -> Progress:
        """Return what is settled so far."""

    @abstractmethod
    def wait(self) -> bool:
        """Return when all files that were submitted are settled: True if one of them failed.

        Raises:
            Cancelled: the bank's cancel flag was up.
        """

    @abstractmethod
    def clean(self) -> None:
        """Forget the session: files that have not started yet never will."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads."""
