"""A consumer's own `/metrics`: one address, whatever the number of its processes.

In: the metrics of this process, or of all that share a folder.  Out: what Prometheus scrapes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from biomaj_download.metrics import Metrics

log = logging.getLogger("biomaj.download.exporter")


class _Now(Collector):
    """Collects anew at each scrape, as processes come and go."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self):  # type: ignore[no-untyped-def]
        """Return the families as they stand."""
        return self._metrics.collected().collect()


def serve_metrics(metrics: Metrics, listen: str) -> Callable[[], None]:
    """Serve at `listen` (host:port) until what is returned is called.

    A port that is taken costs the figures and no download: Prometheus tells that they are missing.
    """
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry=_Now(metrics))
    except OSError as error:
        log.error("metrics not served listen=%s error=%s", listen, error)
        return lambda: None
    log.info("metrics served listen=%s", listen)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
