"""Watch over what this process works on: renew its leases, and end what nobody wants any more.

In: messages, from their admission to their end.  Out: orders to end (`Cancellation`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import StoreError
from biomaj_download.store.base import LEASE_SECONDS, Message, Store

log = logging.getLogger("biomaj.download.watch")

#: Closed sessions and cancelled banks are looked for so often.
LOOK_SECONDS = 1.0
RENEW_SECONDS = LEASE_SECONDS / 3


class Watch:
    """Knows the messages that are held here; any thread may call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._held: dict[str, Message] = {}
        self._running: dict[str, Cancellation] = {}
        self._lost: set[str] = set()
        self._renewing = threading.Lock()
        self._renewed_at = self._tried_at = _now_seconds()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def hold(self, message: Message) -> None:
        """Renew the leases of a message from now on."""
        with self._lock:
            self._held[message.holder] = message

    def held(self) -> list[Message]:
        """Return the messages that are held."""
        with self._lock:
            return list(self._held.values())

    def begin(self, message: Message, cancellation: Cancellation) -> None:
        """Have a job ended when its message is not wanted any more, or its lease is lost."""
        cancellation.look = self.look
        with self._lock:
            self._running[message.holder] = cancellation
            is_lost = message.holder in self._lost
        if is_lost:
            cancellation.order(Why.TAKEN)

    def let_go(self, messages: Iterable[Message]) -> None:
        """Forget messages: once this returns, nothing renews their leases."""
        with self._renewing, self._lock:
            for message in messages:
                self._held.pop(message.holder, None)
                self._running.pop(message.holder, None)
                self._lost.discard(message.holder)

    def free(self, messages: Sequence[Message]) -> None:
        """Let go of messages without an outcome, and give their leases back."""
        self.let_go(messages)
        try:
            self._store.release(messages)
        except StoreError as error:  # the leases run out by themselves
            log.debug("leases not given back error=%s", error)

    def stop_all(self) -> None:
        """Have every job end: the process stops."""
        with self._lock:
            running = list(self._running.values())
        for cancellation in running:
            cancellation.order(Why.STOPPING)

    def look(self) -> None:
        """Renew the leases now, if that is overdue: the process may have been halted meanwhile.

        While the store is away nobody else can have them either.
        """
        with self._renewing:
            if _now_seconds() - self._renewed_at <= LEASE_SECONDS:
                return
        try:
            self._renew()
        except StoreError as error:
            log.debug("store away error=%s", error)

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                if _now_seconds() - self._tried_at >= RENEW_SECONDS:
                    self._renew()
                self._end_unwanted()
            except StoreError as error:  # whoever needs the store now says so
                log.debug("store away error=%s", error)
            except Exception:  # the thread must not end: leases would run out
                log.exception("watch failed")

    def _end_unwanted(self) -> None:
        with self._lock:
            running = [(self._held[holder], job) for holder, job in self._running.items()]
        sessions = {(message.bank, message.session) for message, _ in running}
        unwanted = self._store.unwanted(sorted(sessions)) if sessions else set()
        for message, cancellation in running:
            if (message.bank, message.session) in unwanted:
                cancellation.order(Why.UNWANTED)

    def _renew(self) -> None:
        """Renew all leases; what another process has by now is ended here."""
        with self._renewing:
            self._tried_at = asked_at = _now_seconds()
            with self._lock:
                held = list(self._held.values())
            lost = self._store.renew(held) if held else []
            self._end_lost(lost)
            self._renewed_at = asked_at

    def _end_lost(self, lost: Iterable[Message]) -> None:
        for message in lost:
            log.error("lease lost bank=%s targets=%s", message.bank, message.targets)
            with self._lock:
                if message.holder in self._held:
                    self._lost.add(message.holder)
                cancellation = self._running.get(message.holder)
            if cancellation is not None:
                cancellation.order(Why.TAKEN)


def _now_seconds() -> float:
    """Return a time that goes on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
