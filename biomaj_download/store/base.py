"""What a session store does: remember sessions, keep writers apart, count outcomes once.

A session lives from `create_session` to `delete_session`; everything under it goes with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from biomaj_download.text import readable

#: A lease that is not renewed for so long is free again.
LEASE_SECONDS = 30


class Progress(NamedTuple):
    """How many messages of a session are settled, and how many of those failed; None: none yet."""

    done: int | None
    errors: int | None
    is_open: bool = True


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a session, as the store knows it.

    `key` is its identity. `is_unique` False: an old client set no message id, `key` is a digest of
    the content, and two first deliveries with the same content are two messages.
    `targets`: the files that it writes. Only one holder at a time has a target, on all machines.
    `holder` names the delivery, unlike any other.
    """

    bank: str
    session: str
    key: str
    is_unique: bool = True
    targets: tuple[str, ...] = ()
    holder: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A delivered message that wants to be worked on.

    `redelivered`: the broker delivered it before. `again`: an operator wants it worked on although
    it is counted. `breaks`: a holder that is known to be dead.
    """

    message: Message
    redelivered: bool = False
    again: bool = False
    breaks: str = ""


class Answer(Enum):
    """What the store says to a claim."""

    #: The holder has its targets now: work on it.
    WANTED = "wanted"
    #: Its session is closed: forget it.
    GONE = "gone"
    #: The bank's cancel flag is up.
    CANCELLED = "cancelled"
    #: It is counted: acknowledge it.
    SETTLED = "settled"
    #: Another holder has a target: ask again later.
    BUSY = "busy"


class Verdict(NamedTuple):
    """The answer to one claim; `holder`: who has the target, where it is busy."""

    answer: Answer
    holder: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one message.

    `error` None: success. `files`: a serialized FileList to store with it.
    """

    message: Message
    error: str | None = None
    files: bytes | None = None

    @property
    def error_text(self) -> str | None:
        """Return the error as text that can be stored: a server's file name in it may be none."""
        if self.error is None:
            return None
        return readable(self.error or "unknown error")


class Store(ABC):
    """Sessions, leases, progress, errors and file lists; any thread may call any method.

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
    def unwanted(self, sessions: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those of these (bank, session) that are closed, or whose bank is cancelled."""

    @abstractmethod
    def claim_many(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Say of each message whether it is to be worked on, and lease its targets to its holder.

        An old client's message whose twin is counted is counted like it, here and now.
        """

    def claim(self, claim: Claim) -> Verdict:
        """Answer one claim; see `claim_many`."""
        return self.claim_many([claim])[0]

    @abstractmethod
    def renew(self, messages: Sequence[Message]) -> list[Message]:
        """Prolong the leases of these; return those of which another holder has one by now."""

    @abstractmethod
    def release(self, messages: Sequence[Message]) -> None:
        """Give leases back without an outcome, and forget the starts: nobody died of these."""

    @abstractmethod
    def note_start(self, message: Message) -> int:
        """Note that a redelivered message is begun; return how often it was, since its release."""

    def settle(self, outcome: Outcome) -> bool:
        """Settle one outcome; see `settle_many`."""
        return self.settle_many([outcome])[0]

    @abstractmethod
    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store each outcome, its error and file list, and count it, in one atomic step each.

        Its leases end. Return False for one that is not counted: its session is gone, or it is
        counted already. After an error any number of them may be stored: settle all again.
        """

    @abstractmethod
    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""

    @abstractmethod
    def wait_for_progress(
        self, bank: str, session: str, *, after: int, timeout_seconds: float
    ) -> Progress:
        """Return when more than `after` messages are settled, the session ends, or time is up."""

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
