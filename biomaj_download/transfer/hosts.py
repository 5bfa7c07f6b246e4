"""Each host's queue and limits: who waits for it, how many run, and what it asked us to leave out.

In: transfers, and how a server refused one.  Out: the transfer that may start now.
A host that refuses gets less for a while: fewer connections, which grow again one by one, or none
until the time it named.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from biomaj_download.errors import TransferError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.outcome import redact
from biomaj_download.transfer.places import Places
from biomaj_download.transfer.request import TransferRequest, TransferResult

log = logging.getLogger("biomaj.download.hosts")

#: A lowered limit goes up by one after so long without a refusal; the wait doubles each time that
#: the host refuses what it was given more.
RAISE_SECONDS = 60
LONGEST_RAISE_SECONDS = 16 * 60
#: A host that refused nothing for so long begins anew.
FORGOTTEN_SECONDS = 60 * 60
#: What nobody has used for so long, other processes may borrow.
LENDS_AFTER_SECONDS = 5
#: Who waits for its own looks so often.
LENT_LOOK_SECONDS = 0.05
#: No host pauses for longer, whatever its Retry-After says.
LONGEST_PAUSE_SECONDS = 60 * 60


@dataclass(eq=False)
class Transfer:
    """One request on its way: waiting in its host's queue, then on a handle, then answered.

    `lowerings`: how often the host's limit had been lowered when it started. `served_before`: how
    many transfers had ended well there by then. `shares`: it runs beside others on one HTTP/2
    connection.
    """

    request: TransferRequest
    host: Host
    future: Future[TransferResult] = field(default_factory=Future)
    lowerings: int = 0
    served_before: int = 0
    shares: bool = False

    def is_cancelled(self) -> bool:
        """Say whether nobody wants it any more."""
        cancellation = self.request.cancellation
        return cancellation is not None and cancellation.is_ordered()


class Host:
    """What runs and waits at one host; any thread may read `is_full`, the rest is the engine's.

    `limit`: how many connections it is given; each takes one transfer, or, once the host is known
    to speak HTTP/2, up to `streams` small ones.
    `name`: scheme, host and port. `is_in_trouble`: it refused something not long ago.
    `served`: how many transfers have ended well.
    `is_full`: one of its transfers must end before another starts. `closes_idle`: it turned away
    the only one; it may count connections that other users left idle, which the next one closes.
    `places`: what this process, one of several, has there. `is_returning`: what is borrowed goes
    back.
    """

    def __init__(
        self, name: str, limit: int, *, streams: int = 1, places: Places | None = None
    ) -> None:
        self.name = name
        self.waiting: deque[Transfer] = deque()
        self.limit = limit
        self.served = 0
        self.is_full = False
        self.is_in_trouble = False
        self.closes_idle = False
        self.paused_until = 0.0
        self._streams = streams
        self._is_multiplexed = False
        self._may_share = True
        self._alone = 0
        self._sharing = 0
        self._configured_limit = limit
        self._refused_at = 0.0
        self._raise_at = 0.0
        self._raise_seconds = RAISE_SECONDS
        self._was_raised = False
        self._lowerings = 0
        self._places = places
        self._pieces = 0
        self._used_at = 0.0
        self.is_returning = False

    @property
    def connections(self) -> int:
        """Return how many connections its transfers need."""
        return self._alone + -(-self._sharing // self._streams)

    @property
    def configured_limit(self) -> int:
        """Return how many connections it is given while it refuses nothing."""
        return self._configured_limit

    @property
    def borrowed(self) -> int:
        """Return how many connections it is given besides, which other processes do not need."""
        return 0 if self._places is None else self._places.borrowed

    @property
    def is_lent(self) -> bool:
        """Say whether its places are with another process, and somebody waits for them here."""
        return self._places is not None and self._places.is_asking

    @property
    def most(self) -> int:
        """Return how many connections it may have for pieces, with those that are borrowed."""
        return self.limit if self.is_returning else self.limit + self.borrowed

    def borrow(self) -> None:
        """Borrow what another process does not need; by any thread."""
        refuses = self.is_in_trouble or (
            self._refused_at and time.monotonic() < self._refused_at + self._raise_seconds
        )
        if self._places is not None and not refuses and not self.is_returning:
            self._used_at = time.monotonic()
            if self._places.borrow():
                self.is_full = False

    def surplus(self) -> int:
        """Return how many pieces are to end, so that others get back what is theirs."""
        if self._places is None or not self._places.borrowed:
            return 0
        self.is_returning = self.is_returning or self.is_in_trouble or self._places.are_wanted()
        # Not of the lowered limit: what runs there besides pieces may take hours.
        return max(self.connections - self._configured_limit, 0) if self.is_returning else 0

    def settle(self, *, piece_ended: bool = False) -> None:
        """Give back what is borrowed and wanted, or not needed; on the engine's thread."""
        if self._places is None:
            return
        if not self._places.borrowed:
            self.is_returning = False
        elif not self.surplus() and (
            self.is_returning or (not self._pieces and (piece_ended or self._is_unused()))
        ):
            self._places.give_back()
            self.closes_idle = True

    def leave(self) -> None:
        """Let others have all, borrowed or not: nothing runs here any more."""
        if self._places is not None:
            self._places.release()
            self._places.give_back()

    def rest(self) -> None:
        """Let other processes have its places, if nothing was done here for a while."""
        if self._places is None or self.connections or not self._is_unused():
            return
        if self.is_in_trouble:
            self._forgive()
        if not self.is_in_trouble:
            self._places.release()

    def _is_unused(self) -> bool:
        return not self.waiting and time.monotonic() >= self._used_at + LENDS_AFTER_SECONDS

    def take(self) -> Transfer | None:
        """Return the first that may start now; who is limited by its bank lets others by."""
        if self.is_in_trouble and self._forgive() < self.paused_until:
            return None
        if self._places is not None and not (self._places.is_held or self._places.take()):
            return None
        for place, transfer in enumerate(self.waiting):
            if not self._has_room_for(transfer):
                return None
            most = transfer.request.max_connections
            if not most or self._needed_for(transfer) <= most:
                del self.waiting[place]
                return transfer
        return None

    def started(self, transfer: Transfer) -> int:
        """Count a transfer that starts; return how many connections more that takes."""
        transfer.lowerings = self._lowerings
        transfer.served_before = self.served
        transfer.shares = self.would_share(transfer)
        more = self._count(transfer, 1)
        self.closes_idle = False
        self.is_full = not self._has_room_for(transfer)
        return more

    def ended(self, transfer: Transfer) -> int:
        """Count a transfer that ended; return how many connections more that takes: 0 or -1."""
        self.is_full = False
        return self._count(transfer, -1)

    def multiplexes(self) -> None:
        """Note that it answered by HTTP/2: small files may share its connections."""
        self._is_multiplexed = True

    def lower_to_others(self, refused: Transfer, reply: int) -> bool:
        """Allow as many as run besides the refused one, or one.

        False: there are none, and nothing has come from there since it began.
        """
        others = self._alone + self._sharing - 1
        self._lower(max(others, 1), reply)
        self.closes_idle = others == 0
        return others > 0 or self.served > refused.served_before

    def lower_to_half(self, refused: Transfer, reply: int) -> None:
        """Allow half as many; once for all that were on their way together.

        Where connections are shared, let first each have one of its own.
        """
        if refused.lowerings != self._lowerings:
            return
        if refused.shares and self._may_share:
            self._may_share = False
            self._lowerings += 1
            log.warning("no sharing of connections host=%s reply=%d", self.name, reply)
            self._lower(self.limit, reply)
        else:
            self._lower(max(self.limit // 2, 1), reply)

    def pause(self, seconds: float) -> None:
        """Start nothing for so long."""
        now = time.monotonic()
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        if self.paused_until <= now:
            log.warning("host pauses host=%s seconds=%.1f", self.name, seconds)
        self.is_in_trouble = True
        self.paused_until = max(self.paused_until, now + seconds)

    def _count(self, transfer: Transfer, number: int) -> int:
        before = self.connections
        self._used_at = time.monotonic()
        self._pieces += number if transfer.request.is_piece else 0
        if transfer.shares:
            self._sharing += number
        else:
            self._alone += number
        return self.connections - before

    def would_share(self, transfer: Transfer) -> bool:
        """Say whether a transfer that starts now runs beside others on one connection."""
        return self._is_multiplexed and self._may_share and transfer.request.is_small

    def _needed_for(self, transfer: Transfer) -> int:
        """Return how many connections there would be with this one."""
        is_shared = self.would_share(transfer) and self._sharing % self._streams
        return self.connections + (0 if is_shared else 1)

    def _has_room_for(self, transfer: Transfer) -> bool:
        needed = self._needed_for(transfer)
        if not transfer.request.is_piece and needed - self._pieces > self.limit:
            return False
        return needed <= self.most

    def _lower(self, limit: int, reply: int) -> None:
        now = time.monotonic()
        if now > self._refused_at + FORGOTTEN_SECONDS:
            self._raise_seconds = RAISE_SECONDS
        elif self._was_raised:  # to what the host does not bear, it seems
            self._raise_seconds = min(self._raise_seconds * 2, LONGEST_RAISE_SECONDS)
        self._was_raised = False
        self.is_in_trouble = True
        self._refused_at = now
        self._raise_at = now + self._raise_seconds
        if limit < self.limit:
            log.warning(
                "limit lowered host=%s reply=%d old=%d new=%d", self.name, reply, self.limit, limit
            )
            self.limit = limit
            self._lowerings += 1

    def _forgive(self) -> float:
        """Raise what was lowered, as its time comes; return the time."""
        now = time.monotonic()
        while now >= self._raise_at and not self._is_as_configured():
            self._raise()
        self.is_in_trouble = now < self.paused_until or not self._is_as_configured()
        return now

    def _is_as_configured(self) -> bool:
        return self._may_share and self.limit == self._configured_limit

    def _raise(self) -> None:
        self._raise_at += self._raise_seconds
        self._was_raised = True
        if self.limit < self._configured_limit:
            self.limit += 1
        else:
            self._may_share = True
        if self._is_as_configured():
            log.info("limit restored host=%s limit=%d", self.name, self.limit)


class Hosts:
    """All hosts; `at` and `known` may be called from any thread, the rest from the engine's."""

    def __init__(
        self, settings: TransferSettings, places_at: Callable[[str], Places] | None = None
    ) -> None:
        self._settings = settings
        self._places_at = places_at
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
            settings = self._settings
            host = Host(
                name,
                settings.connections_to(name),
                streams=settings.streams_per_connection,
                places=self._places_at(name) if self._places_at else None,
            )
            host = self._known.setdefault(name, host)
        return host

    def known(self) -> list[Host]:
        """Return all that were ever asked for; any thread may call."""
        return list(self._known.values())

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
            transfer = host.take()
            if transfer is not None:
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
        """Forget all that wait, and leave all places to other processes."""
        for host in self._wanted:
            host.waiting.clear()
        self._wanted.clear()
        for host in self.known():
            host.leave()

    def next_look_at(self) -> float | None:
        """Return when the first wanted host may go on that waits now; None: none does."""
        pausing = [host.paused_until for host in self._wanted if host.is_in_trouble]
        is_lent = any(host.is_lent for host in self._wanted)
        if not pausing and not is_lent:
            return None
        now = time.monotonic()
        lent = [now + LENT_LOOK_SECONDS] if is_lent else []
        return min((moment for moment in (*pausing, *lent) if moment > now), default=None)

    def look_after(self, with_idle: set[Host]) -> None:
        """Have processes lend and give back; `with_idle`: to which there are idle connections."""
        for host in self.known():
            host.settle()
            if host not in with_idle:
                host.rest()


def _host_name(url: str) -> str:
    """Return what a limit is counted by: scheme, host and port."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme or not separator or not authority:
        raise TransferError(f"expected a URL with a host, got {redact(url)!r}")
    return f"{scheme}://{authority.rpartition('@')[2]}"
