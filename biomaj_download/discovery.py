"""Tell Consul where the web interface and the consumer run, and take it back when they stop.

Both have an id of their own: `consul.id`, and `consul.id` with `-message` for the consumer.
Consul is asked once: one that is away is a warning, and the service runs without being found.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from biomaj_download.settings import Settings

log = logging.getLogger("biomaj.download.discovery")

WEB_SERVICE, CONSUMER_SERVICE = "biomaj-download", "biomaj-download-message"
WEB_PATH, CONSUMER_PATH = "/api/download", "/api/download-message"
CHECK_INTERVAL = "20s"
#: An agent that does not answer for so long is away.
ANSWER_SECONDS = 5
WEB_TAGS = (
    "biomaj",
    "api",
    "traefik-int.backend=biomaj-download",
    "traefik-int.frontend.rule=PathPrefix:/api/download",
    "traefik-int.enable=true",
)


def register_web(settings: Settings) -> Callable[[], object] | None:
    """Register the web interface; return what takes it back, or None where it is not registered."""
    scheme = "https" if settings.tls.cert else "http"
    check_url = f"{scheme}://{settings.hostname()}:{settings.web.port}{WEB_PATH}"
    return _register(settings, WEB_SERVICE, settings.consul.id, WEB_TAGS, check_url)


def register_consumer(settings: Settings) -> Callable[[], None] | None:
    """Register the consumer and answer its health check; return what takes both back.

    None: there is no Consul, or the port for the check is taken, by a web interface on this host.
    """
    if settings.consul.host is None:
        return None
    port = settings.web.port
    try:
        pong = ThreadingHTTPServer(("", port), _Pong)
    except OSError as error:
        log.warning("not registered service=%s port=%d: %s", CONSUMER_SERVICE, port, error)
        return None
    thread = threading.Thread(target=pong.serve_forever, name="health", daemon=True)
    thread.start()
    service_id = f"{settings.consul.id}-message" if settings.consul.id else None
    check_url = f"http://{settings.hostname()}:{port}{CONSUMER_PATH}"
    deregister = _register(settings, CONSUMER_SERVICE, service_id, ("biomaj",), check_url)

    def stop() -> None:
        if deregister is not None:
            deregister()
        pong.shutdown()
        thread.join()
        pong.server_close()

    return stop


def _register(
    settings: Settings, name: str, service_id: str | None, tags: tuple[str, ...], check_url: str
) -> Callable[[], object] | None:
    if settings.consul.host is None:
        return None
    chosen_id = service_id or f"{name}-{settings.hostname()}"
    registered = _told(
        settings,
        "register",
        name,
        service_id=chosen_id,
        address=settings.hostname(),
        port=settings.web.port,
        tags=list(tags),
        check={"http": check_url, "interval": CHECK_INTERVAL},
    )
    return partial(_told, settings, "deregister", chosen_id) if registered else None


def _told(settings: Settings, order: str, service: str, **values: Any) -> bool:
    """Give the agent an order about a service, and say whether it was taken."""
    import consul  # noqa: PLC0415 - a library of this room alone, which most sites do not need

    try:
        client = consul.Consul(host=settings.consul.host, port=settings.consul.port)
        with client.http.session as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, _ImpatientAdapter())
            taken = getattr(client.agent.service, order)(service, **values)
    except (OSError, consul.ConsulException) as error:
        taken, reason = False, str(error)
    else:
        reason = "refused"
    if taken:
        log.info("%sed service=%s", order, service)
    else:
        host = settings.consul.host
        log.warning("not %sed service=%s consul=%s: %s", order, service, host, reason)
    return bool(taken)


class _ImpatientAdapter(HTTPAdapter):
    """Gives an agent up that does not answer, for which python-consul would wait for ever."""

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        """Send a request, with a limit to the time for its answer."""
        return super().send(request, *arguments, **{**options, "timeout": ANSWER_SECONDS})


class _Pong(BaseHTTPRequestHandler):
    """Answers the consumer's health check."""

    def do_GET(self) -> None:
        """Answer `{"msg": "pong"}` on the one route."""
        found = self.path.rstrip("/") == CONSUMER_PATH
        body = json.dumps({"msg": "pong"} if found else {"error": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Health checks are no news."""
