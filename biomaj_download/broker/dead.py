"""Dead letters: messages that can never be worked on, kept with the reason until an operator looks.

In: what `Broker.reject` set aside, or the broker itself (a dead-letter exchange).  Out: the same,
listed, put back on the queue, or forgotten.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from uuid import uuid4

from biomaj_download.broker.base import REQUEUED_HEADER

#: What a dead letter carries beside the headers that its message had.
REASON_HEADER, ID_HEADER, DIED_AT_HEADER = "x-reason", "x-dead-letter-id", "x-died-at"

#: How often RabbitMQ handed a message out: a quorum queue counts each reading of a dead letter, and
#: a worker would refuse the message again at once.
DELIVERY_COUNTS = ("x-acquired-count", "x-delivery-count")

#: How and where RabbitMQ let a message die.
DEATHS = ("x-death", "x-first-death-", "x-last-death-")

#: A reason travels in a header, and headers must fit into one frame (128 KiB by default).
LONGEST_REASON_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that was set aside; `headers` are those it was delivered with.

    `id` is the letter's own, 32 hexadecimal digits. `message_id` None: its publisher set none.
    `died_at` None: whoever set it aside wrote no time; `reason` is then perhaps empty, too.
    """

    id: str
    reason: str
    body: bytes
    message_id: str | None = None
    died_at: datetime | None = None
    headers: Mapping[str, object] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Return the length of the message."""
        return len(self.body)


class DeadLetters(ABC):
    """A queue's dead letters, oldest first; while one program reads them, others may see none.

    Each method raises a BrokerError where the broker cannot be reached or refuses; what was not
    settled by then stays a dead letter.
    """

    @abstractmethod
    def count(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def each(self) -> Generator[DeadLetter, None, None]:
        """Hand out one after the other, and change none; the caller closes it."""

    @abstractmethod
    def requeue(self, ids: Collection[str]) -> frozenset[str]:
        """Put letters back on the queue, as requeued ones; return the ids that were found.

        None is lost: one that was put back, but could not be taken from the dead letters, is there
        twice, under one message id.
        """

    @abstractmethod
    def drop(self, ids: Collection[str]) -> frozenset[str]:
        """Forget letters for ever; return the ids that were found."""


def identity_of(message_id: str | None, body: bytes) -> str:
    """Return the message id that a letter is put back under.

    An old client's has none, and was counted under a digest of its content: it takes that for its
    id, or it would pass for a second message with the same content.
    """
    return message_id or sha256(body).hexdigest()


def last_words(reason: str) -> dict[str, str]:
    """Return the headers that make a message a dead letter, with an identity of its own."""
    return {
        REASON_HEADER: reason[:LONGEST_REASON_CHARACTERS],
        ID_HEADER: uuid4().hex,
        DIED_AT_HEADER: datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def revived(headers: Mapping[str, object]) -> dict[str, object]:
    """Return the headers of a message that is put back on the queue."""
    gone = (*DELIVERY_COUNTS, *DEATHS)
    kept = {name: value for name, value in headers.items() if not name.startswith(gone)}
    return kept | {REQUEUED_HEADER: 1}


def instant_of(value: object) -> datetime | None:
    """Return the instant in ISO 8601 text or a broker's timestamp; None: there is none.

    RabbitMQ's timestamps are UTC, and some releases of pika do not say so.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
