"""FTP's and SFTP's own way through the engine: a thread and a connection for each transfer.

libcurl waits for an FTP server's last reply to a file, and for its reply to ABOR, without going on
with the other transfers of its multi handle (ftp_done in lib/ftp.c). Over a wide area each file
would so hold up all others for a round trip, and a server that falls silent there for a minute.
SFTP is encrypted by libssh2 on the thread that moves it, for all that move there one after another.

In: a handle that is set to a request, on the engine's thread.  Out: libcurl's result code and text,
told from the lane's own thread. All else is the engine's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import Any

import pycurl

from biomaj_download.cores import Mover
from biomaj_download.transfer.easy import Handle
from biomaj_download.transfer.hosts import Host
from biomaj_download.transfer.request import TransferRequest

#: A lane that nobody needs for so long ends, and with it its connection.
IDLE_SECONDS = 60
#: libcurl asks once a second whether to go on; an engine that closes waits no longer than this.
_END_SECONDS = 5

#: How a server proves who it is, and we to it. libcurl takes a connection of FTP or SFTP that is
#: there without a look at most of these (url_match_conn in lib/url.c).
_TRUST = (
    pycurl.SSH_KNOWNHOSTS,
    pycurl.SSH_KEYFUNCTION,
    pycurl.SSH_PRIVATE_KEYFILE,
    pycurl.FTP_SSL,
    pycurl.SSL_VERIFYPEER,
    pycurl.SSL_VERIFYHOST,
    pycurl.SSLVERSION,
    pycurl.CAINFO,
)

OnEnd = Callable[[pycurl.Curl, int, str], None]


class Lane:
    """One thread, one handle, and the connection that it keeps between its transfers."""

    def __init__(self, on_end: OnEnd) -> None:
        self.handle = Handle(Mover())
        #: Whose the connection is, and what it was trusted by.
        self.owner: Hashable = None
        self.idle_since = 0.0
        self._on_end = on_end
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="transfer-lane", daemon=True)
        self._thread.start()

    def move(self) -> None:
        """Begin what the handle is set to; its end is told to `on_end`."""
        self._orders.put(True)

    def close(self) -> None:
        """Hang up after what runs."""
        self._orders.put(False)

    def wait(self, seconds: float) -> None:
        """Return when the thread has ended, or after so long."""
        self._thread.join(seconds)

    def _run(self) -> None:
        curl = self.handle.curl
        while self._orders.get():
            code, text = 0, ""
            try:
                curl.perform()
            except pycurl.error as error:
                code, text = _told(error.args)
            self.handle.hand_over()
            self._on_end(curl, code, text)
        curl.close()


class Lanes:
    """The lanes to each host; used by the engine's thread alone."""

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self._idle: dict[Host, list[Lane]] = {}
        self._busy: set[Lane] = set()

    def take(self, host: Host, request: TransferRequest) -> Lane:
        """Return a lane to a host: one whose connection serves the request, or a new one.

        Raises:
            RuntimeError: there is no thread more for this user.
        """
        owner = _owner_of(request)
        idle = self._idle.get(host, [])
        known = [lane for lane in idle if lane.owner == owner]
        lane = known[-1] if known else Lane(self._on_end)
        lane.owner = owner
        self._busy.add(lane)
        others = [other for other in idle if other is not lane]
        # The host counts those that are idle, too.
        most = 0 if host.closes_idle else max(host.limit - host.connections - 1, 0)
        for other in others[most:]:
            other.close()
        self._idle[host] = others[:most]
        return lane

    def give_back(self, host: Host, lane: Lane) -> None:
        """Keep a lane for the next transfer to its host, as far as the host's limit allows."""
        self._busy.remove(lane)
        lane.idle_since = time.monotonic()
        idle = self._idle.setdefault(host, [])
        if len(idle) + host.connections < host.limit:
            idle.append(lane)
        else:
            lane.close()

    def hosts(self) -> set[Host]:
        """Return the hosts to which there are connections that nobody uses."""
        return {host for host, lanes in self._idle.items() if lanes}

    def close_idle(self) -> None:
        """End those that nobody has needed for a while."""
        since = time.monotonic() - IDLE_SECONDS
        for host, lanes in list(self._idle.items()):
            for lane in lanes:
                if lane.idle_since < since:
                    lane.close()
            self._idle[host] = [lane for lane in lanes if lane.idle_since >= since]
            if not self._idle[host]:
                del self._idle[host]

    def close(self) -> None:
        """End all; what runs is given up."""
        deadline = time.monotonic() + _END_SECONDS
        lanes = [*self._busy, *(lane for idle in self._idle.values() for lane in idle)]
        for lane in lanes:
            lane.handle.abandon()
            lane.close()
        for lane in lanes:
            lane.wait(max(deadline - time.monotonic(), 0))


def _owner_of(request: TransferRequest) -> Hashable:
    return request.credentials, *map(request.options.get, _TRUST)


def _told(words: tuple[Any, ...]) -> tuple[int, str]:
    """Return libcurl's result code and text from the arguments of pycurl's error."""
    code, text = words
    return code, text
