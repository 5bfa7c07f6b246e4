"""The web interface: sessions, progress, errors, file lists and metrics over REST.

`app` is made on first use, from the settings of the environment; an import has no effects.
"""

from __future__ import annotations

import base64
import logging
import logging.config
import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Annotated, Any

from flask import Blueprint, Flask, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from biomaj_download.broker.base import Broker
from biomaj_download.errors import BrokerError, DownloadError, MessageError, StoreError
from biomaj_download.message.codec import decode
from biomaj_download.metrics import Metrics
from biomaj_download.page import page_routes
from biomaj_download.settings import Settings, load_settings
from biomaj_download.store.base import Store
from biomaj_download.store.opening import open_store

log = logging.getLogger("biomaj.download.web")

LONGEST_WAIT_SECONDS = 60.0
#: So many questions about progress are held at once; the next ones are answered now, and asked
#: again soon. A server with more threads than that always has one for all else.
LONG_POLLS = 24
OPERATION_TYPE = "application/x-protobuf"
#: A metrics post or an operation is small; a larger body is refused unread.
LONGEST_BODY_BYTES = 16 * 1024 * 1024
_STATUS_OF: Mapping[type[DownloadError], int] = {
    MessageError: 400,
    StoreError: 503,
    BrokerError: 503,
}


class BadRequest(MessageError):
    """A request whose body or arguments cannot be read."""

    code = "bad-request"


class PostedMetric(BaseModel):
    """How one file ended; with an `error`, the numbers do not count. Old consumers send text."""

    bank: Annotated[str, Field(min_length=1)]
    host: str | None = None
    error: str | bool | None = None
    size: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    download_time: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _is_an_end(self) -> PostedMetric:
        if not self.error and (self.size is None or self.download_time is None):
            raise ValueError("expected `size` and `download_time`, or an `error`")
        return self


_POSTED_METRICS = TypeAdapter(list[PostedMetric])


def create_app(
    settings: Settings, *, store: Store | None = None, broker: Broker | None = None
) -> Flask:
    """Return the web application.

    `store` None: the one that the settings name. `broker`: where POST .../operations puts
    requests, in a service without an AMQP server; None: there is no such route.
    """
    app = Flask("biomaj_download", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY_BYTES
    opened = store or open_store(settings)
    metrics = Metrics(CollectorRegistry())
    app.register_blueprint(_metric_routes(metrics))
    app.register_blueprint(_session_routes(opened))
    app.register_blueprint(_health_routes(opened))
    app.register_blueprint(page_routes())
    if broker is not None:
        app.register_blueprint(_operation_routes(broker))
    app.register_error_handler(DownloadError, _failed)
    app.register_error_handler(HTTPException, _refused)
    return app


def _metric_routes(metrics: Metrics) -> Blueprint:
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def scrape() -> Response:
        return Response(metrics.exposed(), content_type=CONTENT_TYPE_LATEST)

    @routes.post("/api/download/metrics")
    def post_metrics() -> Response:
        for posted in _posted_metrics(request.get_data()):
            _count(metrics, posted)
        return jsonify({"msg": "OK"})

    return routes


def _session_routes(store: Store) -> Blueprint:
    routes = Blueprint("sessions", __name__, url_prefix="/api/download")
    seats = _Seats(LONG_POLLS)

    @routes.post("/session/<bank>")
    def create_session(bank: str) -> Response:
        return jsonify({"session": store.create_session(bank)})

    @routes.delete("/session/<bank>/<session>")
    def delete_session(bank: str, session: str) -> Response:
        store.delete_session(bank, session)
        return jsonify({"msg": "session cleared"})

    @routes.get("/status/list/<bank>/<session>")
    def list_status(bank: str, session: str) -> Response:
        return jsonify({"status": store.file_list(bank, session) is not None})

    @routes.get("/list/<bank>/<session>")
    def list_files(bank: str, session: str) -> Response:
        body = store.file_list(bank, session) or b""
        return jsonify({"files": base64.b64encode(body).decode("ascii")})

    @routes.get("/status/download/<bank>/<session>")
    def download_status(bank: str, session: str) -> Response:
        after, wait_seconds = int(_number("after", -1)), _number("wait_seconds", 0)
        with seats.taken() as is_seated:
            progress = store.wait_for_progress(
                bank,
                session,
                after=after,
                timeout_seconds=min(wait_seconds, LONGEST_WAIT_SECONDS) if is_seated else 0,
            )
        done, errors = (-1 if count is None else count for count in progress[:2])
        return jsonify({"progress": done, "errors": errors, "open": progress.is_open})

    @routes.get("/error/download/<bank>/<session>")
    def download_errors(bank: str, session: str) -> Response:
        return jsonify({"error": store.pop_errors(bank, session)})

    return routes


def _health_routes(store: Store) -> Blueprint:
    routes = Blueprint("health", __name__)

    @routes.get("/api/download")
    def pong() -> Response:
        return jsonify({"msg": "pong"})

    @routes.get("/healthz")
    def healthy() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def ready() -> Response:
        store.ping()
        return jsonify({"status": "ok"})

    return routes


def _operation_routes(broker: Broker) -> Blueprint:
    routes = Blueprint("operations", __name__, url_prefix="/api/download")

    @routes.post("/operations")
    def ask() -> tuple[Response, int]:
        # A page in an operator's browser can send other types to this host without being asked.
        if request.mimetype != OPERATION_TYPE:
            raise UnsupportedMediaType(f"expected {OPERATION_TYPE}, got {request.mimetype!r}")
        body = request.get_data()
        decode(body)
        message_id = str(uuid.uuid4())
        broker.publish(body, message_id=message_id)
        return jsonify({"msg": "accepted", "message_id": message_id}), 202

    return routes


def _number(name: str, default: float) -> float:
    """Return a number among the arguments of a request."""
    text = request.args.get(name)
    try:
        number = default if text is None else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadRequest(f"{name}: expected a number, got {text!r}")
    return number


def _posted_metrics(body: bytes) -> list[PostedMetric]:
    """Return posted metrics, all checked before the first is counted."""
    try:
        return _POSTED_METRICS.validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "body"
        raise BadRequest(
            f"metrics: expected an array of {{bank, host?, error?, size, download_time}}, "
            f"got at {place}: {wrong['msg']}"
        ) from error


def _count(metrics: Metrics, posted: PostedMetric) -> None:
    if posted.error:
        metrics.observe_error(posted.bank, str(posted.error))
    else:
        metrics.observe_download(
            posted.bank,
            posted.host,
            size_bytes=posted.size or 0,
            seconds=posted.download_time or 0,
        )


class _Seats:
    """Places for questions that wait for their answer."""

    def __init__(self, number: int) -> None:
        self._free = BoundedSemaphore(number)

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Take a place for a while, and say whether there was one."""
        is_seated = self._free.acquire(blocking=False)
        try:
            yield is_seated
        finally:
            if is_seated:
                self._free.release()


def _failed(error: DownloadError) -> tuple[Response, int]:
    status = next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 500)
    log.warning("request failed path=%s code=%s error=%s", request.path, error.code, error)
    return jsonify({"error": str(error), "code": error.code}), status


def _refused(error: HTTPException) -> tuple[Response, int]:
    return jsonify({"error": error.description, "code": error.name}), error.code or 500


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
