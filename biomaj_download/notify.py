"""Tell systemd how the service fares, by the protocol of sd_notify(3).

In: the environment that systemd gives a unit of `Type=notify`.  Out: one datagram for each news;
nothing where the service was started by others.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger("biomaj.download.notify")

#: systemd that takes no news for so long is not waited for: the service has its own work.
SEND_SECONDS = 2


class Notifier:
    """Sends a service's news; may be called from any thread, and from a signal handler.

    `watchdog_seconds`: systemd ends a service from which it did not hear for so long; None: never.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET") or None
        self.watchdog_seconds = _watchdog_seconds(environment) if self._address else None
        self._is_ready = False
        self._next_alive = 0.0

    @property
    def is_waiting(self) -> bool:
        """Say whether systemd does not know yet that the service is ready."""
        return self._address is not None and not self._is_ready

    def lives(self, status: str) -> None:
        """Take note that the service works; may be called as often as one likes.

        systemd hears of it the first time, and then each half of the watchdog's time, as
        sd_watchdog_enabled(3) recommends.
        """
        now = time.monotonic()
        if self.is_waiting:
            self._is_ready = True
            self._send("READY=1", f"STATUS={status}")
        elif self.watchdog_seconds is None or now < self._next_alive:
            return
        else:
            self._send("WATCHDOG=1", f"STATUS={status}")
        self._next_alive = now + (self.watchdog_seconds or 0) / 2

    def status(self, text: str) -> None:
        """Have `systemctl status` show a line."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Tell that the service has begun to stop."""
        self._send("STOPPING=1", "STATUS=stopping")

    def _send(self, *news: str) -> None:
        if self._address is None:
            return
        # A leading @ stands for the zero byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_SECONDS)
                sender.connect(address)
                sender.sendall("\n".join(news).encode())
        except OSError as error:
            log.warning("systemd not told news=%s: %s", news[0], error)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return how long systemd waits for news from this process, by sd_watchdog_enabled(3)."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
