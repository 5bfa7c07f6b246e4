"""A consumer's own `/metrics` and probes: one address, whatever the number of its processes.

In: the metrics of this process, or of all that share a folder, and how it stands with them.  Out:
what Prometheus scrapes, and what an orchestrator asks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import make_wsgi_app, start_http_server
from prometheus_client.registry import Collector

from biomaj_download.health import Health
from biomaj_download.metrics import Metrics

if TYPE_CHECKING:  # types of the standard library that are there for a type checker alone
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("biomaj.download.exporter")


class _Now(Collector):
    """Collects anew at each scrape, as processes come and go."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self):  # type: ignore[no-untyped-def]
        """Return the families as they stand."""
        return self._metrics.collected().collect()


def serve_metrics(
    metrics: Metrics, listen: str, probes: Mapping[str, Callable[[], Health]]
) -> Callable[[], None]:
    """Serve at `listen` (host:port) until what is returned is called; `probes`: by their paths.

    A port that is taken costs the figures and the probes, and no download: Prometheus tells that
    the figures are missing, and an orchestrator starts anew what does not answer its probes.
    """
    host, _, port = listen.rpartition(":")
    registry = _Now(metrics)
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry=registry)
    except (OSError, OverflowError) as error:  # of a port beyond 65535
        log.error("metrics not served listen=%s error=%s", listen, error)
        return lambda: None
    server.set_app(_with_probes(make_wsgi_app(registry), probes))
    log.info("metrics served listen=%s", listen)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _with_probes(
    rest: WSGIApplication, probes: Mapping[str, Callable[[], Health]]
) -> WSGIApplication:
    """Return an application that answers probes, and leaves all else to another one."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        probe = probes.get(environ["PATH_INFO"])
        if probe is None:
            return rest(environ, start_response)
        health = probe()
        status = HTTPStatus.OK if health.is_fine else HTTPStatus.SERVICE_UNAVAILABLE
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(f"{status.value} {status.phrase}", headers)
        return [json.dumps({"status": health.status, "checks": health.shown}).encode()]

    return answer
