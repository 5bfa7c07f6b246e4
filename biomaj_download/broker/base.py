"""What a message broker does: bytes in, acknowledgement out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message, handed out for work and not yet settled.

    `message_id` None: the publisher set none (an old client). `token` is the broker's own.
    """

    body: bytes
    token: object
    message_id: str | None = None
    redelivered: bool = False
    headers: Mapping[str, object] = field(default_factory=dict)


class Broker(ABC):
    """A durable queue of download requests, and its queue of dead letters (`<queue>.dead`).

    `consume` runs in its caller's thread; every other method may be called from any thread.
    """

    @abstractmethod
    def publish(self, body: bytes, *, message_id: str) -> None:
        """Put a message on the queue; return when the broker has it safe.

        Raises:
            BrokerError: it could not be stored.
        """

    @abstractmethod
    def consume(self, on_delivery: Callable[[Delivery], None], *, slots: int) -> None:
        """Hand out messages, at most `slots` unsettled ones, until `stop`.

        `on_delivery` is called on this thread and must return at once. A lost broker is
        reconnected with growing waits, for ever.
        """

    @abstractmethod
    def accept(self, delivery: Delivery) -> None:
        """Acknowledge: the outcome is stored. A delivery of a lost connection is dropped, logged."""

    @abstractmethod
    def reject(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message that can never be worked on to the dead letters, with the reason."""

    @abstractmethod
    def requeue(self, delivery: Delivery) -> None:
        """Give a message back unworked, for another consumer or a later try."""

    @abstractmethod
    def is_connected(self) -> bool:
        """Say whether messages can flow now."""

    @abstractmethod
    def stop(self) -> None:
        """End `consume`: no new deliveries; settlements of what is out still work until `close`."""

    @abstractmethod
    def close(self) -> None:
        """Flush the settlements that were asked for and let go of the connection."""
