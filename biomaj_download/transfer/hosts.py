"""Each host's queue and limits: who waits for it, how many run, and what it asked us to leave out.

In: transfers, and how a server refused one.  Out: the transfer that may start now.
A host that refuses gets less for a while: fewer transfers at once, or none until the time it named.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from biomaj_download.errors import TransferError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.outcome import redact
from biomaj_download.transfer.request import TransferRequest, TransferResult

log = logging.getLogger("biomaj.download.hosts")

#: A lowered limit is the configured one again after this long without a refusal.
LOWERED_SECONDS = 5 * 60
#: No host pauses for longer, whatever its Retry-After says.
LONGEST_PAUSE_SECONDS = 60 * 60


@dataclass(eq=False)
class Transfer:
    """One request on its way: waiting in its host's queue, then on a handle, then answered.

    `lowerings`: how often the host's limit had been lowered when it started.
    """

    request: TransferRequest
    host: Host
    future: Future[TransferResult] = field(default_factory=Future)
    lowerings: int = 0

    def is_cancelled(self) -> bool:
        """Say whether nobody wants it any more."""
        cancellation = self.request.cancellation
        return cancellation is not None and cancellation.is_ordered()


class Host:
    """What runs and waits at one host; any thread may read `is_full`, the rest is the engine's.

    `name`: scheme, host and port. `is_in_trouble`: it refused something not long ago.
    `is_full`: one of its transfers must end before another starts. `closes_idle`: it turned away
    the only one; it may count connections that other users left idle, which the next one closes.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.waiting: deque[Transfer] = deque()
        self.limit = limit
        self.running = 0
        self.is_full = False
        self.is_in_trouble = False
        self.closes_idle = False
        self.paused_until = 0.0
        self._configured_limit = limit
        self._lowered_until = 0.0
        self._lowerings = 0

    def may_start(self) -> bool:
        """Say whether the first that waits may start now."""
        if self.is_in_trouble and self._forgive() < self.paused_until:
            return False
        return self.running < self._limit_for(self.waiting[0])

    def started(self, transfer: Transfer) -> None:
        """Count a transfer that starts."""
        transfer.lowerings = self._lowerings
        self.running += 1
        self.closes_idle = False
        self.is_full = self.running >= self._limit_for(transfer)

    def ended(self) -> None:
        """Count a transfer that ended."""
        self.running -= 1
        self.is_full = False

    def lower_to_others(self, reply: int) -> bool:
        """Allow as many as run besides the refused one, or one; False: there are none."""
        others = self.running - 1
        self._lower(max(others, 1), reply)
        self.closes_idle = others == 0
        return others > 0

    def lower_to_half(self, refused: Transfer, reply: int) -> None:
        """Allow half as many; once for all that were on their way together."""
        if refused.lowerings == self._lowerings:
            self._lower(max(self.limit // 2, 1), reply)

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        now = time.monotonic()
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        if self.paused_until <= now:
            log.warning("host pauses host=%s seconds=%.1f", self.name, seconds)
        self.is_in_trouble = True
        self.paused_until = max(self.paused_until, now + seconds)

    def _limit_for(self, transfer: Transfer) -> int:
        return min(self.limit, transfer.request.max_connections or self.limit)

    def _lower(self, limit: int, reply: int) -> None:
        self.is_in_trouble = True
        self._lowered_until = time.monotonic() + LOWERED_SECONDS
        if limit < self.limit:
            log.warning(
                "limit lowered host=%s reply=%d old=%d new=%d", self.name, reply, self.limit, limit
            )
            self.limit = limit
            self._lowerings += 1

    def _forgive(self) -> float:
        """Forget the trouble when its time is over; return the time."""
        now = time.monotonic()
        if now >= self._lowered_until and self.limit < self._configured_limit:
            log.info("limit restored host=%s limit=%d", self.name, self._configured_limit)
            self.limit = self._configured_limit
        self.is_in_trouble = now < max(self._lowered_until, self.paused_until)
        return now


class Hosts:
    """All hosts; `at` may be called from any thread, the rest from the engine's alone."""

    def __init__(self, settings: TransferSettings) -> None:
        self._settings = settings
        self._known: dict[str, Host] = {}
        #: Those somebody waits for; a dict for its order: the next one's turn is first.
        self._wanted: dict[Host, None] = {}

    def at(self, url: str) -> Host:
        """Return the host of a URL.

        Raises:
            TransferError: there is none in it.
        """
        name = _host_name(url)
        host = self._known.get(name)
        if host is None:
            host = self._known.setdefault(name, Host(name, self._settings.connections_to(name)))
        return host

    def add(self, transfer: Transfer) -> None:
        """Let a transfer wait for its host."""
        transfer.host.waiting.append(transfer)
        self._wanted[transfer.host] = None

    def put_back(self, transfer: Transfer) -> None:
        """Let a transfer wait again that had its turn."""
        transfer.host.waiting.appendleft(transfer)
        self._wanted[transfer.host] = None

    def next(self) -> Transfer | None:
        """Return what may start now, one file a host in turn; None: nothing may."""
        for host in self._wanted:
            if host.may_start():
                transfer = host.waiting.popleft()
                del self._wanted[host]
                if host.waiting:
                    self._wanted[host] = None
                return transfer
        return None

    def waiting(self) -> Iterator[Transfer]:
        """Yield all that wait."""
        for host in self._wanted:
            yield from host.waiting

    def cancelled(self) -> list[Transfer]:
        """Return those that wait and that nobody wants any more: they wait no longer."""
        cancelled = [transfer for transfer in self.waiting() if transfer.is_cancelled()]
        for transfer in cancelled:
            transfer.host.waiting.remove(transfer)
            if not transfer.host.waiting:
                del self._wanted[transfer.host]
        return cancelled

    def clear(self) -> None:
        """Forget all that wait."""
        for host in self._wanted:
            host.waiting.clear()
        self._wanted.clear()

    def next_pause_ends_at(self) -> float | None:
        """Return when the first wanted host goes on that pauses now; None: none does."""
        pausing = [host.paused_until for host in self._wanted if host.is_in_trouble]
        now = time.monotonic() if pausing else 0
        return min((moment for moment in pausing if moment > now), default=None)


def _host_name(url: str) -> str:
    """Return what a limit is counted by: scheme, host and port."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme or not separator or not authority:
        raise TransferError(f"expected a URL with a host, got {redact(url)!r}")
    return f"{scheme}://{authority.rpartition('@')[2]}"
