"""A collector of OpenTelemetry spans by OTLP over HTTP, in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Collected:
    """What came to `endpoint`: paths, headers (in small letters) and bodies."""

    endpoint: str
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def collector() -> Iterator[Collected]:
    """Take spans as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collected.headers.append({name.lower(): value for name, value in self.headers.items()})
            collected.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            collected.paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collected = Collected(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield collected
        finally:
            server.shutdown()
