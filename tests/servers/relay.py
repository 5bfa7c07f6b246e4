"""What servers that stand between a client and a server have in common: threads and sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from typing_extensions import Self

CHUNK_BYTES = 64 * 1024


class Relay:
    """A threaded TCP server; a subclass says in `serve` what becomes of a connection."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        self.sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def serve(self, client: socket.socket) -> None:
        """Serve one connection; what is added to `sockets` ends with the server."""
        raise NotImplementedError

    def cut(self) -> None:
        """End all connections there are; new ones are relayed."""
        for connection in list(self.sockets):
            shut(connection)

    def close(self) -> None:
        """End all connections and threads, unless they have ended."""
        shut(self._listener)
        self.cut()
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
            thread = threading.Thread(target=self.serve, args=(client,))
            self._threads.append(thread)
            thread.start()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy what comes until its end, and end both."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    shut(target)
    shut(source)


def shut(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """End a connection, if it is one still."""
    with suppress(OSError):
        connection.shutdown(how)
