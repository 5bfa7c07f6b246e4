"""A broker whose settlements are counted, whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from biomaj_download.broker.base import Broker, Delivery


class CountedBroker(Broker):
    """Passes all on to `broker`; tells `count` of each message that is settled, and how."""

    def __init__(self, broker: Broker, count: Callable[[str], object]) -> None:
        self._broker = broker
        self._count = count

    def accept(self, delivery: Delivery) -> None:
        """Pass on, and count."""
        self._count("accepted")
        self._broker.accept(delivery)

    def reject(self, delivery: Delivery, *, reason: str) -> None:
        """Pass on, and count."""
        self._count("rejected")
        self._broker.reject(delivery, reason=reason)

    def requeue(self, delivery: Delivery) -> None:
        """Pass on, and count."""
        self._count("requeued")
        self._broker.requeue(delivery)

    def publish(self, body: bytes, *, message_id: str) -> None:
        """Pass on."""
        self._broker.publish(body, message_id=message_id)

    def publish_many(self, messages: Iterable[tuple[bytes, str]]) -> None:
        """Pass on."""
        self._broker.publish_many(messages)

    def consume(
        self,
        on_delivery: Callable[[Delivery], None],
        *,
        slots: int,
        on_turn: Callable[[], object] = lambda: None,
    ) -> None:
        """Pass on."""
        self._broker.consume(on_delivery, slots=slots, on_turn=on_turn)

    def lend_place(self, delivery: Delivery) -> None:
        """Pass on."""
        self._broker.lend_place(delivery)

    def is_connected(self) -> bool:
        """Pass on."""
        return self._broker.is_connected()

    def stop(self) -> None:
        """Pass on."""
        self._broker.stop()

    def close(self) -> None:
        """Pass on."""
        self._broker.close()
