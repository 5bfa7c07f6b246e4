"""Move bytes: one thread, one libcurl multi handle, limits in all and per host.

In: a `TransferRequest`, from any thread.  Out: a `Future` of its `TransferResult`.
The engine moves each request once and never retries. Those of FTP and SFTP move in `lanes`, at the
same limits.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone

import pycurl

from biomaj_download.cores import Mover
from biomaj_download.errors import Cancelled, DownloadError, PublishError, TransferError
from biomaj_download.settings import TransferSettings
from biomaj_download.transfer.easy import Handle
from biomaj_download.transfer.hosts import Host, Hosts, Transfer
from biomaj_download.transfer.lanes import Lane, Lanes
from biomaj_download.transfer.outcome import (
    error_of,
    is_asked_to_slow_down,
    is_turned_away,
    redact_url,
)
from biomaj_download.transfer.places import Places
from biomaj_download.transfer.request import TransferRequest, TransferResult

log = logging.getLogger("biomaj.download.engine")

#: The loop looks around at least so often, whatever libcurl's timer says.
LONGEST_WAIT_SECONDS = 1.0
#: Seconds by which libcurl's own clock may fire before the request's time is quite up.
_TIMER_SLACK_SECONDS = 0.01


@dataclass(frozen=True)
class _Moving:
    """A transfer that runs; `lane` None: on the multi handle."""

    handle: Handle
    transfer: Transfer
    lane: Lane | None


class Engine:
    """Moves bytes for many requests on one libcurl multi handle.

    Only the engine's own thread and its lanes touch pycurl; `submit`, `move` and `close` may be
    called from any thread. `stopping` may be set by its owner: all transfers then end as cancelled.
    `places_at`: what this process, one of several, has at a host.
    """

    def __init__(
        self, settings: TransferSettings, places_at: Callable[[str], Places] | None = None
    ) -> None:
        self._settings = settings
        self._inbox: deque[Transfer] = deque()
        self._hosts = Hosts(settings, places_at)
        self._running: dict[pycurl.Curl, _Moving] = {}
        self._connections = 0
        self._idle: list[Handle] = []
        self._gathering: list[Handle] = []
        self._mover = Mover()
        self._lanes = Lanes(self._lane_ended)
        self._ended: deque[tuple[pycurl.Curl, int, str]] = deque()
        self._closing = threading.Event()
        self._answering = threading.Lock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._wake_reader, select.EPOLLIN)
        self._timer_due: float | None = None
        self._next_look = 0.0
        #: Set before the engine looks into the inbox for the last time and waits: who puts a
        #: request there after that look finds it set, and wakes the engine.
        self._is_asleep = False
        self._multi = self._new_multi()
        self._thread = threading.Thread(target=self._run, name="transfer-engine", daemon=True)
        self._thread.start()

    def submit(self, request: TransferRequest) -> Future[TransferResult]:
        """Queue a request; the future ends with its result, or with a `DownloadError`.

        What its sink raises ends it, too, and comes out as it is.

        Raises:
            TransferError: there is no host in its URL.
        """
        transfer = Transfer(request, self._hosts.at(request.url))
        self._inbox.append(transfer)
        # At a full host the end of another transfer wakes the engine; a piece may have a place that
        # was borrowed just now.
        if self._is_asleep and (request.is_piece or not transfer.host.is_full):
            self._wake()
        if self._closing.is_set():  # who comes between the last answer and the end gets one, too
            self._thread.join()
            with self._answering:
                self._answer_rest()
        return transfer.future

    def move(self, request: TransferRequest) -> TransferResult:
        """Move one request and wait for it.

        Raises:
            DownloadError: the transfer failed.
            Exception: what the sink raised.
        """
        return self.submit(request).result()

    def free_places(
        self, url: str, max_connections: int | None = None, *, may_borrow: bool = False
    ) -> int:
        """Return how many pieces more a host would take now; those that wait come before.

        `may_borrow`: where there is no place, and none waits, take those of another process.
        """
        host = self._hosts.at(url)
        if host.is_in_trouble and host.paused_until > time.monotonic():
            return 0
        # In the order in which they go on: one may be counted twice, but none is missed.
        waiting = len(self._inbox) + len(host.waiting)
        besides = self._settings.max_connections - self._connections
        if max_connections:
            besides = min(besides, max_connections - host.connections)
        free = min(host.most - host.connections, besides) - waiting
        if may_borrow and free <= 0 < besides and not waiting:
            host.borrow()
            free = min(host.most - host.connections, besides)
        return max(free, 0)

    def surplus(self, url: str) -> int:
        """Return how many pieces at a host are to end, for another process wants its places."""
        host = self._hosts.at(url)
        surplus = host.surplus()
        if host.is_returning and not surplus:  # the engine looks, and gives back
            self._next_look = 0
            self._wake()
        return surplus

    def hosts(self) -> list[Host]:
        """Return the hosts that were asked for."""
        return self._hosts.known()

    @property
    def is_alive(self) -> bool:
        """Say whether transfers go on."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End all transfers as cancelled, and the thread."""
        self._closing.set()
        self._wake()
        self._thread.join()

    def _lane_ended(self, curl: pycurl.Curl, code: int, text: str) -> None:
        """Take a lane's result, on its thread."""
        self._ended.append((curl, code, text))
        if self._is_asleep:
            self._wake()

    def _wake(self) -> None:
        # A full buffer holds wake-ups enough, and a closed engine needs none.
        with suppress(OSError):
            self._wake_writer.send(b"\0")

    # All below runs on the engine's thread.

    def _new_multi(self) -> pycurl.CurlMulti:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch_socket)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        multi.setopt(pycurl.M_MAXCONNECTS, self._settings.max_connections)
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self._settings.streams_per_connection)
        return multi

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._take_inbox()
                self._start_waiting()
                self._step()
                self._collect()
                self._end_cancelled()
        finally:
            self._closing.set()
            self._answer_rest()
            self._multi.close()
            self._epoll.close()
            self._wake_reader.close()
            self._wake_writer.close()

    def _take_inbox(self) -> None:
        while self._inbox:
            self._hosts.add(self._inbox.popleft())

    def _start_waiting(self) -> None:
        """Start what the limits allow."""
        while self._connections < self._settings.max_connections:
            transfer = self._hosts.next()
            if transfer is None:
                return
            self._start(transfer)

    def _start(self, transfer: Transfer) -> None:
        # One that its host turned away is on its way already.
        if not transfer.future.running() and not transfer.future.set_running_or_notify_cancel():
            return
        host, request = transfer.host, transfer.request
        try:
            lane = self._lanes.take(host, request) if _needs_a_lane(request) else None
            handle = lane.handle if lane else self._take_handle()
        except (RuntimeError, MemoryError, pycurl.error) as error:  # no thread more for this user
            transfer.future.set_exception(TransferError(f"this host cannot begin it: {error}"))
            return
        moving = _Moving(handle, transfer, lane)
        try:
            handle.configure(
                request,
                self._settings,
                closes_idle=host.closes_idle,
                shares=host.would_share(transfer),
            )
        except (pycurl.error, TypeError, ValueError, UnicodeError) as error:
            self._put_away(moving)
            transfer.future.set_exception(TransferError(f"libcurl refused the request: {error}"))
            return
        self._running[handle.curl] = moving
        self._connections += host.started(transfer)
        if lane:
            lane.move()
        else:
            self._multi.add_handle(handle.curl)

    def _take_handle(self) -> Handle:
        """Return a handle for the multi handle: one that was used before, if there is one."""
        return self._idle.pop() if self._idle else Handle(self._mover, self._gathering)

    def _put_away(self, moving: _Moving) -> None:
        """Keep a handle for another transfer, and with it, in a lane, its connection."""
        if moving.lane:
            self._lanes.give_back(moving.transfer.host, moving.lane)
        else:
            self._idle.append(moving.handle)

    def _step(self) -> None:
        """Wait for sockets, the timer or a wake-up, and let libcurl work on what is ready."""
        self._is_asleep = True
        ready = self._epoll.poll(self._wait_seconds())
        self._is_asleep = False
        for descriptor, events in ready:
            if descriptor == self._wake_reader.fileno():
                self._drain_wake_ups()
            else:
                self._take_turn(descriptor, _curl_events(events))
        if self._timer_due is not None and time.monotonic() >= self._timer_due:
            self._timer_due = None
            self._take_turn(pycurl.SOCKET_TIMEOUT, 0)

    def _take_turn(self, descriptor: int, events: int) -> None:
        """Let libcurl work on a socket, and hand over what that brought."""
        self._multi.socket_action(descriptor, events)
        for handle in self._gathering:
            handle.hand_over()
        self._gathering.clear()

    def _wait_seconds(self) -> float:
        if self._inbox or self._ended:
            return 0
        moments = (self._timer_due, self._hosts.next_look_at())
        due = min((moment for moment in moments if moment is not None), default=None)
        if due is None:
            return LONGEST_WAIT_SECONDS
        return min(max(due - time.monotonic(), 0), LONGEST_WAIT_SECONDS)

    def _drain_wake_ups(self) -> None:
        try:
            while self._wake_reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def _watch_socket(self, action: int, descriptor: int, _multi: object, watched: object) -> None:
        """Keep epoll as libcurl wants it (CURLMOPT_SOCKETFUNCTION)."""
        if action == pycurl.POLL_REMOVE:
            # libcurl may have closed it, and the kernel forgotten it, already.
            with suppress(OSError):
                self._epoll.unregister(descriptor)
            self._multi.assign(descriptor, None)
            return
        mask = (select.EPOLLIN if action & pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if action & pycurl.POLL_OUT else 0
        )
        if watched is None:
            try:
                self._epoll.register(descriptor, mask)
            except FileExistsError:
                self._epoll.modify(descriptor, mask)
            self._multi.assign(descriptor, self)
        else:
            self._epoll.modify(descriptor, mask)

    def _set_timer(self, wait_milliseconds: int) -> None:
        """Remember when libcurl wants to be called (CURLMOPT_TIMERFUNCTION; -1: not)."""
        self._timer_due = (
            None if wait_milliseconds < 0 else time.monotonic() + wait_milliseconds / 1000
        )

    def _collect(self) -> None:
        """Answer the transfers that have ended."""
        while self._ended:
            self._end(*self._ended.popleft())
        while True:
            _queued, succeeded, failed = self._multi.info_read()
            if not succeeded and not failed:
                return
            for curl in succeeded:
                self._end(curl, 0, "")
            for curl, code, text in failed:
                self._end(curl, code, text)

    def _end(self, curl: pycurl.Curl, code: int, text: str) -> None:
        # Still among the running ones until there is an answer: none is ever forgotten.
        moving = self._running[curl]
        handle, transfer = moving.handle, moving.transfer
        if not code and handle.is_refused:
            code, text = pycurl.E_WRITE_ERROR, "not all of it was taken"
        try:
            # Where one address of a host is refused, another one may have brought the file.
            answer = (code and handle.sink_error) or _answer_of(
                handle, code, text, transfer.request
            )
            if curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0:
                transfer.host.multiplexes()
        except Exception as error:  # a server's odd words must not end the thread of all transfers
            log.exception("answer not understood")
            answer = TransferError(f"{redact_url(transfer.request.url)}: odd answer: {error}")
        transfer.host.served += code == 0
        waits_again = code != 0 and _obey(handle, transfer, code)
        if not moving.lane:
            self._multi.remove_handle(curl)
        del self._running[curl]
        self._connections += transfer.host.ended(transfer)
        self._put_away(moving)
        transfer.host.settle(piece_ended=transfer.request.is_piece)
        if waits_again:
            self._hosts.put_back(transfer)
        elif isinstance(answer, Exception):
            transfer.future.set_exception(answer)
        else:
            transfer.future.set_result(answer)

    def _end_cancelled(self) -> None:
        """End what nobody wants any more, about once a second."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LONGEST_WAIT_SECONDS
        self._lanes.close_idle()
        self._hosts.look_after(self._lanes.hosts())
        for curl, moving in list(self._running.items()):
            if not moving.transfer.is_cancelled():
                continue
            if moving.lane:
                moving.handle.abandon()
            else:
                self._end(curl, pycurl.E_ABORTED_BY_CALLBACK, "the transfer was cancelled")
        for transfer in self._hosts.cancelled():
            _fail(transfer, Cancelled("transfer: cancelled before it began"))

    def _answer_rest(self) -> None:
        """Tell all who still wait that the engine is closed."""
        self._take_inbox()
        self._lanes.close()
        for curl, moving in self._running.items():
            if not moving.lane:
                self._multi.remove_handle(curl)
        transfers = [moving.transfer for moving in self._running.values()]
        transfers += self._hosts.waiting()
        self._running.clear()
        self._hosts.clear()
        for transfer in transfers:
            if not transfer.future.done():
                _fail(transfer, Cancelled("transfer: the process is stopping"))


def _fail(transfer: Transfer, error: DownloadError) -> None:
    """Answer a transfer that was not begun, or waits again, unless who asked has taken it back."""
    if transfer.future.running() or transfer.future.set_running_or_notify_cancel():
        transfer.future.set_exception(error)


def _needs_a_lane(request: TransferRequest) -> bool:
    return request.url.startswith(("ftp", "sftp"))


def _obey(handle: Handle, transfer: Transfer, code: int) -> bool:
    """Let a host that refused have what it asks for; say whether the transfer shall wait again."""
    reply = handle.curl.getinfo(pycurl.RESPONSE_CODE)
    if is_asked_to_slow_down(code, reply):
        transfer.host.lower_to_half(transfer, reply)
        seconds = handle.retry_after_seconds()
        if seconds:
            transfer.host.pause(seconds)
    elif is_turned_away(code, reply) and not handle.curl.getinfo(pycurl.SIZE_DOWNLOAD_T):
        return transfer.host.lower_to_others(transfer, reply)
    return False


def _curl_events(events: int) -> int:
    ready = 0
    if events & (select.EPOLLIN | select.EPOLLHUP):
        ready |= pycurl.CSELECT_IN
    if events & select.EPOLLOUT:
        ready |= pycurl.CSELECT_OUT
    if events & select.EPOLLERR:
        ready |= pycurl.CSELECT_ERR
    return ready


def _is_http_1(curl: pycurl.Curl) -> bool:
    """Say whether an answer came by HTTP/1: later versions mark the end of each body."""
    version = curl.getinfo(pycurl.INFO_HTTP_VERSION)
    return version in (pycurl.CURL_HTTP_VERSION_1_0, pycurl.CURL_HTTP_VERSION_1_1)


def _answer_of(
    handle: Handle, code: int, text: str, request: TransferRequest
) -> TransferResult | DownloadError:
    curl = handle.curl
    status = curl.getinfo(pycurl.RESPONSE_CODE)
    seconds = curl.getinfo(pycurl.TOTAL_TIME)
    if code == pycurl.E_WRITE_ERROR:
        return PublishError(f"the file cannot be written: {text}")
    if code:
        limit = request.timeout_seconds
        timed_out = limit is not None and seconds >= limit - _TIMER_SLACK_SECONDS
        return error_of(code, text, url=request.url, status=status, total_timed_out=timed_out)
    filetime = curl.getinfo(pycurl.FILETIME_T)
    announced = curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T)
    if announced < 0 and handle.told_bytes is not None:
        announced = handle.told_bytes
    return TransferResult(
        status=status,
        received_bytes=curl.getinfo(pycurl.SIZE_DOWNLOAD_T),
        announced_bytes=announced if announced >= 0 else None,
        ends_by_close=announced < 0 and not handle.is_chunked and _is_http_1(curl),
        modified_at=_instant(filetime),
        effective_url=_text(curl, pycurl.EFFECTIVE_URL) or request.url,
        content_type=_text(curl, pycurl.CONTENT_TYPE),
        seconds=seconds,
    )


def _instant(seconds: int) -> datetime | None:
    """Return a moment that a server told; None: none, or one that no calendar here has."""
    try:
        moment = datetime.fromtimestamp(max(seconds, 0), timezone.utc)
        moment.astimezone()
        return moment if seconds >= 0 else None
    except (OverflowError, ValueError, OSError):
        return None


def _text(curl: pycurl.Curl, what: int) -> str | None:
    """Return a server's word, which may be of any bytes."""
    told: bytes | None = curl.getinfo_raw(what)
    return None if told is None else told.decode("utf-8", "backslashreplace")
