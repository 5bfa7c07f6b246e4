"""A download service as its client sees it; files end when the test says so.

The web interface speaks as that of biomaj-download 3, which ignores the long poll's arguments, or
holds a question about progress, as ours does. A consumer takes every request off the queue.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pika
from pydantic import SecretStr
from typing_extensions import Self

from biomaj_download.broker.base import Delivery
from biomaj_download.broker.rabbitmq import RabbitmqBroker
from biomaj_download.job import Job
from biomaj_download.message.codec import decode
from biomaj_download.settings import RabbitmqSettings
from tests.servers.rabbitmq import RabbitmqServer


@dataclass
class Session:
    """What the service knows of one session; -1: nothing yet."""

    progress: int = -1
    errors: int = -1
    texts: list[str] = field(default_factory=list)

    def settle(self, error: str | None) -> None:
        """Count a file."""
        self.progress = max(self.progress, 0) + 1
        if error is not None:
            self.errors = max(self.errors, 0) + 1
            self.texts.append(error)


class WebStandIn:
    """The service's web interface; `stop` and `start` keep its port and its sessions."""

    def __init__(self, *, holds: bool) -> None:
        self._holds = holds
        self._changed = threading.Condition()
        self._server: _Server | None = None
        self._port = 0
        self.sessions: dict[str, Session] = {}
        self.asked: Counter[str] = Counter()
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Answer requests, unless it does."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), _Handler)
            self._server.owner = self
            self._port = self._server.server_address[1]
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
            self._thread.start()

    def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            server, self._server = self._server, None
            with self._changed:
                self._changed.notify_all()
            server.server_close()

    def settle(self, session: str, error: str | None = None) -> None:
        """Count a file of a session."""
        with self._changed:
            self.sessions[session].settle(error)
            self._changed.notify_all()

    def forget(self, session: str) -> None:
        """Lose a session, as a Redis does that is restarted without its file."""
        with self._changed:
            del self.sessions[session]
            self._changed.notify_all()

    def answer(self, method: str, path: str) -> dict[str, object]:
        """Answer one request."""
        url = urlsplit(path)
        _, _, what, *rest = url.path.strip("/").split("/")
        self.asked[f"{method} {what}"] += 1
        if (method, what) == ("POST", "session"):
            session = str(uuid4())
            self.sessions[session] = Session()
            return {"session": session}
        if (method, what) == ("DELETE", "session"):
            self.sessions.pop(rest[1], None)
            return {"msg": "session cleared"}
        if what == "status":
            return self._progress(rest[2], parse_qs(url.query))
        session = self.sessions.get(rest[2], Session())
        texts, session.texts = session.texts, []
        return {"error": texts}

    def _progress(self, session: str, query: dict[str, list[str]]) -> dict[str, object]:
        def is_due() -> bool:
            state = self.sessions.get(session)
            return state is None or state.progress > after or self._server is None

        with self._changed:
            if self._holds and "after" in query:
                after = int(query["after"][0])
                self._changed.wait_for(is_due, int(query["wait_seconds"][0]))
            state = self.sessions.get(session, Session())
            return {"progress": state.progress, "errors": state.errors}


class _Server(ThreadingHTTPServer):
    owner: WebStandIn
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        body = json.dumps(self.server.owner.answer(self.command, self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def settings_of(rabbitmq: RabbitmqServer) -> RabbitmqSettings:
    """Return how a service is set up that has the queue, now empty, of a RabbitMQ."""
    settings = RabbitmqSettings(
        host=rabbitmq.host,
        port=rabbitmq.port,
        user=rabbitmq.user,
        password=SecretStr(rabbitmq.password),
        virtual_host=rabbitmq.virtual_host,
    )
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_delete(settings.queue)
    return settings


class DownloadServiceStandIn:
    """Web interface and consumer; `taken` holds the requests, `finish` ends one."""

    def __init__(self, settings: RabbitmqSettings, *, holds: bool) -> None:
        self.web = WebStandIn(holds=holds)
        self.url = self.web.url
        self.taken: SimpleQueue[Job] = SimpleQueue()
        self.finishes_at_once = False
        self.unfinished = 0
        self.most_unfinished = 0
        self._lock = threading.Lock()
        self._broker = RabbitmqBroker(settings)
        self._thread = threading.Thread(
            target=self._broker.consume, args=(self._take,), kwargs={"slots": 1000}
        )
        self._thread.start()

    def take(self, number: int) -> list[Job]:
        """Return the next requests, as they come."""
        return [self.taken.get(timeout=10) for _ in range(number)]

    def finish(self, job: Job, error: str | None = None) -> None:
        """End a request's file."""
        with self._lock:
            self.unfinished -= 1
        self.web.settle(job.session, error)

    def close(self) -> None:
        """Stop web interface and consumer."""
        self.web.stop()
        self._broker.close()
        self._thread.join()

    def _take(self, delivery: Delivery) -> None:
        job = decode(delivery.body)
        with self._lock:
            self.unfinished += 1
            self.most_unfinished = max(self.most_unfinished, self.unfinished)
        self._broker.accept(delivery)
        if self.finishes_at_once:
            self.finish(job)
        self.taken.put(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
