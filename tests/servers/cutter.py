"""A TCP relay to a server, which cuts a connection in the middle as often as it is told."""

from __future__ import annotations

import socket
import struct
import threading

from typing_extensions import Self

CHUNK_BYTES = 16 * 1024
#: Close with a reset, at once (socket(7), SO_LINGER).
RESET = struct.pack("ii", 1, 0)


class Cutter:
    """Relays to `port`; a connection that brought `cut_after_bytes` is reset, `cuts_left` times."""

    host = "127.0.0.1"

    def __init__(self, port: int, *, cut_after_bytes: int = 1024 * 1024, cuts: int = 1) -> None:
        self.cut_after_bytes = cut_after_bytes
        self.cuts_left = cuts
        self._target = (self.host, port)
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            _shut(connection)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            self._open |= {client, server}
            up = threading.Thread(target=_copy, args=(client, server))
            up.start()
            is_cut = self._bring(server, client)
            _shut(server)
            if is_cut:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            _shut(client, socket.SHUT_RD if is_cut else socket.SHUT_RDWR)
            up.join()  # a reset goes out when nobody reads any more
            self._open -= {client, server}

    def _bring(self, server: socket.socket, client: socket.socket) -> bool:
        """Copy what the server says; True where the connection is to be cut."""
        brought_bytes = 0
        try:
            while chunk := server.recv(CHUNK_BYTES):
                brought_bytes += len(chunk)
                if brought_bytes > self.cut_after_bytes and self.cuts_left > 0:
                    self.cuts_left -= 1
                    return True
                client.sendall(chunk)
        except OSError:
            pass
        return False


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        _shut(target)


def _shut(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return
