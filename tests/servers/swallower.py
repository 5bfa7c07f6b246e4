"""A TCP relay that can swallow all there is, both ways, as a cable does that is pulled out."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.servers.relay import CHUNK_BYTES, Relay, shut

_LOOK_SECONDS = 0.1


class Swallower(Relay):
    """Relays to `port`; while `swallows`, what comes is lost, and no connection notices."""

    def __init__(self, port: int) -> None:
        self.swallows = False
        self._target = (self.host, port)
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        """Relay a connection, both ways."""
        while self.swallows:  # no answer to who connects
            time.sleep(_LOOK_SECONDS)
        with client, socket.create_connection(self._target) as server:
            self.sockets |= {client, server}
            up = threading.Thread(target=self._copy, args=(client, server))
            up.start()
            self._copy(server, client)
            up.join()
            self.sockets -= {client, server}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if not self.swallows:
                    target.sendall(chunk)
        while self.swallows:  # an end is lost as well
            time.sleep(_LOOK_SECONDS)
        shut(target)
        shut(source)
