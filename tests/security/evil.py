"""Servers that talk as no server should."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager, suppress


@contextmanager
def evil_server(talk):
    """Serve one way of talking to a client, which is given its connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with suppress(OSError):  # the client has had enough
                talk(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
