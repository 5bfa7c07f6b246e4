"""What a message broker does: bytes in, acknowledgement out.

The life of a consumer: `consume` hands out messages until `stop`; it then goes on serving
settlements (and the broker's heartbeats) and returns when everything handed out is settled, or as
soon as `close` is called. What is unsettled by then goes back to the queue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

#: How often a consumer shows that it lives.
TURN_SECONDS = 0.5


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


#: Marks a dead letter that an operator has put back: it is worked on although it is counted.
REQUEUED_HEADER = "x-requeued"


class Broker(ABC):
    """A durable queue of download requests, and its queue of dead letters (`<queue>.dead`).

    `consume` runs in its caller's thread, once in a broker's life; every other method may be
    called from any thread, but not from a signal handler, which may interrupt the very thread that
    holds a lock: let the handler set an event, and a waiting thread call `stop`.

    A settlement (`accept`, `reject`, `requeue`) is an order: it returns before the broker has
    carried it out, and is lost with a lost connection. The message then comes again, redelivered.
    """

    @abstractmethod
    def publish(self, body: bytes, *, message_id: str) -> None:
        """Put a message on the queue; return when the broker has it safe.

        Raises:
            BrokerError: it could not be stored, as far as we know: publishing it again under its
                id does no harm.
        """

    @abstractmethod
    def publish_many(self, messages: Iterable[tuple[bytes, str]]) -> None:
        """Put many messages, each with its id, on the queue; return when all are safe.

        Raises:
            BrokerError: as `publish`; any number of them may be stored.
        """

    @abstractmethod
    def consume(
        self,
        on_delivery: Callable[[Delivery], None],
        *,
        slots: int,
        on_turn: Callable[[], object] = lambda: None,
    ) -> None:
        """Hand out messages, at most `slots` unsettled ones; see above for when it returns.

        `on_delivery` is called on this thread and must return at once. A lost broker is
        reconnected with growing waits, for ever. `on_turn` is called as long as the thread does
        not hang, also while the broker is away: first of all, and about each TURN_SECONDS.
        """

    @abstractmethod
    def accept(self, delivery: Delivery) -> None:
        """Acknowledge a message, after its outcome is stored."""

    @abstractmethod
    def reject(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message that can never be worked on to the dead letters, with the reason.

        Dead letters that cannot be written now put the message back on the queue, some time later.
        """

    @abstractmethod
    def requeue(self, delivery: Delivery) -> None:
        """Give a message back unworked, for another consumer or a later try."""

    @abstractmethod
    def lend_place(self, delivery: Delivery) -> None:
        """Let another message come although this one, which waits for something, is unsettled."""

    @abstractmethod
    def is_connected(self) -> bool:
        """Say whether messages can flow now."""

    @abstractmethod
    def stop(self) -> None:
        """Hand out no further message, and give back those not handed out yet; does not wait."""

    @abstractmethod
    def close(self) -> None:
        """Stop, carry out the settlements asked for, wait for `consume`, let go of connections."""
