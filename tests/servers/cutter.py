"""A TCP relay to a server, which cuts a connection in the middle as often as it is told."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

from tests.servers.relay import CHUNK_BYTES, Relay, copy, shut

#: Close with a reset, at once (socket(7), SO_LINGER).
RESET = struct.pack("ii", 1, 0)


class Cutter(Relay):
    """Relays to `port`; a connection that brought `cut_after_bytes` is reset, `cuts_left` times."""

    def __init__(self, port: int, *, cut_after_bytes: int = 1024 * 1024, cuts: int = 1) -> None:
        self.cut_after_bytes = cut_after_bytes
        self.cuts_left = cuts
        #: What the server said in all connections.
        self.brought_bytes = 0
        self._target = (self.host, port)
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        """Relay a connection, both ways."""
        with client, socket.create_connection(self._target) as server:
            self.sockets |= {client, server}
            up = threading.Thread(target=copy, args=(client, server))
            up.start()
            is_cut = self._bring(server, client)
            shut(server)
            if is_cut:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            shut(client, socket.SHUT_RD if is_cut else socket.SHUT_RDWR)
            up.join()  # a reset goes out when nobody reads any more
            self.sockets -= {client, server}

    def _bring(self, server: socket.socket, client: socket.socket) -> bool:
        """Copy what the server says; True where the connection is to be cut."""
        brought_bytes = 0
        with suppress(OSError):
            while chunk := server.recv(CHUNK_BYTES):
                brought_bytes += len(chunk)
                self.brought_bytes += len(chunk)
                if brought_bytes > self.cut_after_bytes and self.cuts_left > 0:
                    self.cuts_left -= 1
                    return True
                client.sendall(chunk)
        return False
