"""Tell Consul where the web interface and the consumer run, and take it back when they stop.

Both have an id of their own: `consul.id`, and `consul.id` with `-message` for the consumer.
A Consul that is away is a warning: the service runs without being found.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from biomaj_download.settings import Settings

log = logging.getLogger("biomaj.download.discovery")

WEB_SERVICE, CONSUMER_SERVICE = "biomaj-download", "biomaj-download-message"
WEB_PATH, CONSUMER_PATH = "/api/download", "/api/download-message"
CHECK_INTERVAL = "20s"
WEB_TAGS = (
    "biomaj",
    "api",
    "traefik-int.backend=biomaj-download",
    "traefik-int.frontend.rule=PathPrefix:/api/download",
    "traefik-int.enable=true",
)
_UNREACHABLE = (OSError, requests.RequestException)


def register_web(settings: Settings) -> Callable[[], None] | None:
    """Register the web interface; return what takes it back, or None without Consul."""
    return _register(settings, WEB_SERVICE, settings.consul.id, WEB_TAGS, WEB_PATH)


def register_consumer(settings: Settings) -> Callable[[], None] | None:
    """Register the consumer and answer its health check; return what takes both back."""
    if settings.consul.host is None:
        return None
    pong = ThreadingHTTPServer(("", settings.web.port), _Pong)
    thread = threading.Thread(target=pong.serve_forever, name="health", daemon=True)
    thread.start()
    service_id = f"{settings.consul.id}-message" if settings.consul.id else None
    deregister = _register(settings, CONSUMER_SERVICE, service_id, ("biomaj",), CONSUMER_PATH)

    def stop() -> None:
        if deregister is not None:
            deregister()
        pong.shutdown()
        thread.join()
        pong.server_close()

    return stop


def _register(
    settings: Settings, name: str, service_id: str | None, tags: tuple[str, ...], path: str
) -> Callable[[], None] | None:
    if settings.consul.host is None:
        return None
    import consul  # noqa: PLC0415 - a library of this room alone, which most sites do not need

    hostname, port = settings.hostname(), settings.web.port
    agent: Any = consul.Consul(host=settings.consul.host, port=settings.consul.port).agent
    scheme = "https" if settings.tls.cert else "http"
    check = consul.Check.http(f"{scheme}://{hostname}:{port}{path}", CHECK_INTERVAL)
    chosen_id = service_id or f"{name}-{hostname}"
    try:
        agent.service.register(
            name, service_id=chosen_id, address=hostname, port=port, tags=list(tags), check=check
        )
    except (*_UNREACHABLE, consul.ConsulException) as error:
        log.warning("not registered service=%s consul=%s: %s", name, settings.consul.host, error)
        return None
    log.info("registered service=%s id=%s", name, chosen_id)
    return partial(_deregister, agent, chosen_id, (*_UNREACHABLE, consul.ConsulException))


def _deregister(agent: Any, service_id: str, unreachable: tuple[type[Exception], ...]) -> None:
    try:
        agent.service.deregister(service_id)
    except unreachable as error:
        log.warning("not deregistered id=%s: %s", service_id, error)


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
