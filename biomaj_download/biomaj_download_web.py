"""The web interface: what clients, people and Prometheus ask over REST.

`app` is made on first use, from the settings of the environment; an import has no effects.
"""

from __future__ import annotations

import logging.config
from typing import Any, cast

from flask import Flask
from prometheus_client import CollectorRegistry

from biomaj_download.broker.base import Broker
from biomaj_download.broker.depth import DepthGauge
from biomaj_download.broker.opening import open_broker, open_dead_letters, open_depth
from biomaj_download.health import Check
from biomaj_download.metrics import Metrics
from biomaj_download.page import page_routes
from biomaj_download.probes import Probed
from biomaj_download.rest.access import Access
from biomaj_download.rest.change_routes import operation_routes, session_routes
from biomaj_download.rest.dead_routes import dead_routes
from biomaj_download.rest.headers import add_headers
from biomaj_download.rest.health_routes import health_routes
from biomaj_download.rest.metric_routes import metric_routes
from biomaj_download.rest.monitor import Monitor
from biomaj_download.rest.old_routes import old_session_routes
from biomaj_download.rest.openapi import document_routes
from biomaj_download.rest.problems import register_problems
from biomaj_download.rest.seats import Seats
from biomaj_download.rest.streams import Streams, stream_routes
from biomaj_download.rest.view_routes import view_routes
from biomaj_download.settings import Settings, load_settings
from biomaj_download.store.activity import Activity
from biomaj_download.store.base import Store
from biomaj_download.store.opening import open_activity, open_store

#: So many questions about progress are held at once, and so many streams; the next ones are
#: answered now, and asked again soon. A server with 32 threads always has one for all else.
LONG_POLLS = 20
STREAMS = 8
#: A metrics post or an operation is small; a larger body is refused unread.
LONGEST_BODY_BYTES = 16 * 1024 * 1024


def create_app(
    settings: Settings,
    *,
    store: Store | None = None,
    broker: Broker | None = None,
    activity: Activity | None = None,
    probed: Probed | None = None,
    metrics: Metrics | None = None,
) -> Flask:
    """Return the web application; what is None is what the settings name.

    `probed`: what must be fine in a process that also does the work. The web alone needs the store:
    who asks for progress does not care for the broker. `metrics`: what `/metrics` shows; None: what
    consumers report.

    Raises:
        ConfigError: the settings are wrong.
    """
    app = Flask("biomaj_download", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY_BYTES
    access = Access(settings.web)
    store = store or open_store(settings)
    activity = activity or open_activity(settings)
    gauge = DepthGauge(open_depth(settings))
    monitor = Monitor(activity, gauge)
    streams = Streams(Seats(STREAMS))
    app.extensions.update(streams=streams, gauge=gauge)
    alone = Probed(life={}, work={"store": Check(store.ping)})
    for routes in (
        health_routes(probed or alone, {} if probed else {"broker": Check(gauge.check)}),
        metric_routes(metrics or Metrics(CollectorRegistry())),
        old_session_routes(store, activity, Seats(LONG_POLLS)),
        view_routes(monitor, activity),
        stream_routes(monitor, streams),
        session_routes(store),
        operation_routes(broker or open_broker(settings), settings.message),
        dead_routes(open_dead_letters(settings), settings.message),
        document_routes(wants_token=access.wants_token),
        page_routes(),
    ):
        app.register_blueprint(routes)
    access.guard(app)
    register_problems(app)
    add_headers(app)
    return app


def streams_of(app: Flask) -> Streams:
    """Return the streams of an application, for whoever stops its server."""
    return cast("Streams", app.extensions["streams"])


def close_app(app: Flask) -> None:
    """Let go of what an application opened by itself and what does not end with its process."""
    streams_of(app).stop()
    app.extensions["gauge"].close()


def __getattr__(name: str) -> Any:
    """Make `app` when a server first asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = load_settings()
    if settings.log_config:
        # The server's own loggers go on, unless the site says otherwise.
        logging.config.dictConfig({"disable_existing_loggers": False, **settings.log_config})
    app = create_app(settings)
    globals()["app"] = app
    return app
