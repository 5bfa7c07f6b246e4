"""An HTTP server that misbehaves as a test tells it to, path by path."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Self

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one request is answered; as it stands: 200, with the whole body and its length.

    `etag`, `modified` (an HTTP date): the file's validators, for If-Range too.
    `serves_ranges` False: a Range is ignored, as many servers do. `obeys_if_range` False: it gets
    a part of whatever version there is.
    `content_length`: what is announced, be it wrong. `chunked`, `until_close`: none is announced.
    `delay_seconds`: before the status line. `pause_seconds`: after each `pause_every_bytes`.
    `cut_after`: close the connection after so many bytes of the body. `stall_after`: send no more
    after so many, until the client or the server goes. `refuses_head`: 405 to HEAD.
    `raw`: these bytes in place of the whole response, then close.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None
    modified: str | None = None
    serves_ranges: bool = True
    obeys_if_range: bool = True
    content_length: int | None = None
    chunked: bool = False
    until_close: bool = False
    delay_seconds: float = 0
    pause_seconds: float = 0
    pause_every_bytes: int = CHUNK_BYTES
    cut_after: int | None = None
    stall_after: int | None = None
    refuses_head: bool = False
    raw: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came; `connection` tells which requests shared one connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: tuple[str, int]
    received_at: float


class FaultyHttpServer:
    """Threaded HTTP/1.1 server; a path without an answer is a 404."""

    host = "127.0.0.1"

    def __init__(self, *, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._answers: dict[str, list[Answer]] = {}
        self._hits: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _ThreadingServer((self.host, port), _Handler)
        self._server.owner = self
        self.port = int(self._server.server_address[1])
        self.url = f"http://{self.host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def add(self, path: str, *answers: Answer) -> str:
        """Answer the requests for a path, one after the other; the last answer stays.

        Return the URL.
        """
        with self._lock:
            self._answers[path] = list(answers)
            self._hits.pop(path, None)
        return self.url + path

    def requests_for(self, path: str) -> list[Request]:
        """Return the requests for a path (without its query), oldest first."""
        with self._lock:
            return [request for request in self.requests if _bare(request.path) == path]

    def take(self, request: Request) -> Answer:
        """Record a request and choose its answer."""
        path = _bare(request.path)
        with self._lock:
            self.requests.append(request)
            answers = self._answers.get(path, [Answer(status=404, body=b"not here")])
            self._hits[path] += 1
            return answers[min(self._hits[path], len(answers)) - 1]

    def wait(self, seconds: float | None = None) -> None:
        """Return when the time is up or the server closes."""
        self._closing.wait(seconds)

    @property
    def is_closing(self) -> bool:
        """Say whether stalled answers must end."""
        return self._closing.is_set()

    def close(self) -> None:
        """Stop, end every connection and wait for its thread."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ThreadingServer(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 512
    owner: FaultyHttpServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be quiet about clients that go away: they are meant to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _ThreadingServer

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=self.path,
            headers=dict(self.headers.items()),
            body=self.rfile.read(length),
            connection=self.client_address,
            received_at=time.monotonic(),
        )
        self._answer(request, self.server.owner.take(request))
        self.wfile.flush()

    def _answer(self, request: Request, answer: Answer) -> None:
        if answer.delay_seconds:
            self.server.owner.wait(answer.delay_seconds)
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            self.close_connection = True
            return
        if request.method == "HEAD" and answer.refuses_head:
            self._send_head(405, {"Content-Length": "0"})
            return
        status, extra, body = _ranged(request, answer)
        self._send_head(status, {**_framing(answer, body), **extra, **answer.headers})
        if request.method != "HEAD":
            self._send_body(answer, body)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, answer: Answer, body: bytes) -> None:
        sent_bytes = 0
        for piece in _pieces(answer, body):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
            sent_bytes += len(piece)
            if answer.pause_seconds and not self.server.owner.is_closing:
                self.server.owner.wait(answer.pause_seconds)
        if answer.stall_after is not None:
            self._wait_until_the_client_goes()
        complete = sent_bytes == len(body) and answer.content_length is None
        if complete and answer.chunked:
            self.wfile.write(b"0\r\n\r\n")
        if not complete or answer.until_close or answer.stall_after is not None:
            self.close_connection = True

    def _wait_until_the_client_goes(self) -> None:
        self.wfile.flush()
        with suppress(OSError):
            self.connection.recv(1)

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are recorded."""


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _ranged(request: Request, answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body after Range and If-Range (RFC 9110, section 14)."""
    headers = {"ETag": answer.etag, "Last-Modified": answer.modified}
    known = {name: value for name, value in headers.items() if value is not None}
    if answer.serves_ranges:
        known["Accept-Ranges"] = "bytes"
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    validator = request.headers.get("If-Range")
    is_current = validator in (None, answer.etag, answer.modified) or not answer.obeys_if_range
    if not asked or not answer.serves_ranges or not is_current or answer.status != 200:
        return answer.status, known, answer.body
    total = len(answer.body)
    first, last = int(asked[1]), min(int(asked[2] or total - 1), total - 1)
    if first > last:
        return 416, {**known, "Content-Range": f"bytes */{total}"}, b""
    known["Content-Range"] = f"bytes {first}-{last}/{total}"
    return 206, known, answer.body[first : last + 1]


def _framing(answer: Answer, body: bytes) -> dict[str, str]:
    if answer.chunked:
        return {"Transfer-Encoding": "chunked"}
    if answer.until_close:
        return {"Connection": "close"}
    announced = len(body) if answer.content_length is None else answer.content_length
    return {"Content-Length": str(announced)}


def _pieces(answer: Answer, body: bytes) -> Iterator[bytes]:
    """Cut what is sent of a body into chunks."""
    ends = [end for end in (answer.cut_after, answer.stall_after) if end is not None]
    sent = body[: min(ends)] if ends else body
    for start in range(0, len(sent), answer.pause_every_bytes):
        yield sent[start : start + answer.pause_every_bytes]
