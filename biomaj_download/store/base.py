"""What a session store does: remember sessions, count outcomes once, keep errors and file lists.

A session lives from `create_session` to `delete_session`; everything under it goes with it.
"""

from __future__ import annotations

import itertools
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: A token is unlike that of any other process, and costs no entropy.
_PROCESS = uuid.uuid4().hex
_numbers = itertools.count()


class Progress(NamedTuple):
    """How many messages of a session are settled, and how many of those failed; None: none yet."""

    done: int | None
    errors: int | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one message.

    `message_key` is the message's identity. `error` None: success. `files`: a serialized FileList
    to store with it. `redelivered`: the broker delivered this message before.
    `identity_is_unique` False: an old client set no message id, `message_key` is a digest of the
    content, and two first deliveries with the same content are two messages.
    `token` tells these apart from one outcome that is stored again after a lost answer.
    """

    bank: str
    session: str
    message_key: str
    redelivered: bool = False
    identity_is_unique: bool = True
    error: str | None = None
    files: bytes | None = None
    token: str = field(default_factory=lambda: f"{_PROCESS}-{os.getpid()}-{next(_numbers)}")

    @property
    def counts_once(self) -> bool:
        """Say whether a stored outcome of this message means that it is counted already."""
        return self.identity_is_unique or self.redelivered

    @property
    def error_text(self) -> str | None:
        """Return the error as text that can be stored: a server's file name in it may be none."""
        if self.error is None:
            return None
        return (self.error or "unknown error").encode("utf-8", "backslashreplace").decode("utf-8")


class Store(ABC):
    """Sessions, progress, errors and file lists; every method may be called from any thread.

    Raises:
        StoreError: from any method, when the store cannot be reached.
    """

    @abstractmethod
    def create_session(self, bank: str) -> str:
        """Open a session and return its id."""

    @abstractmethod
    def delete_session(self, bank: str, session: str) -> None:
        """Forget a session and all that is under it; an unknown one is no error."""

    @abstractmethod
    def has_session(self, bank: str, session: str) -> bool:
        """Say whether the session is still open."""

    @abstractmethod
    def is_settled(self, bank: str, session: str, message_key: str) -> bool:
        """Say whether an outcome of this message is stored already."""

    def settle(self, outcome: Outcome) -> bool:
        """Settle one outcome; see `settle_many`."""
        return self.settle_many([outcome])[0]

    @abstractmethod
    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store each outcome, its error and file list, and count it, in one atomic step each.

        Return False for one, which changes nothing, when its session is gone, or when its message
        is counted already: it counts once and an outcome of it is stored, or this very outcome is
        stored. After an error any number of them may be stored: settle all again.
        """

    @abstractmethod
    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""

    @abstractmethod
    def wait_for_progress(
        self, bank: str, session: str, *, after: int, timeout_seconds: float
    ) -> Progress:
        """Return as soon as more than `after` messages are settled, or when the time is up."""

    @abstractmethod
    def pop_errors(self, bank: str, session: str) -> list[str]:
        """Return the errors of a session, oldest first, and forget them."""

    @abstractmethod
    def file_list(self, bank: str, session: str) -> bytes | None:
        """Return the serialized FileList of a LIST request; None: not there (yet)."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
