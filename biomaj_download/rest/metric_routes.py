"""What consumers report, and what Prometheus scrapes."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from biomaj_download.metrics import Metrics
from biomaj_download.rest import shapes
from biomaj_download.rest.describing import JSON, Description, Kind, described
from biomaj_download.rest.problems import BadRequest, wrong_value


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
#: What of the above fits, in JSON Schema: numbers may come as text.
_NUMBER = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?$"},
        {"type": "boolean"},
    ]
}
_BODY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["bank"],
        "properties": {"bank": {"type": "string", "minLength": 1}, "host": {"type": "string"}},
        "anyOf": [
            {
                "required": ["error"],
                "properties": {
                    "error": {"type": "string", "minLength": 1},
                    "size": _NUMBER,
                    "download_time": _NUMBER,
                },
            },
            {
                "required": ["size", "download_time"],
                "properties": {
                    "error": {"enum": [False, "", None]},
                    "size": _NUMBER,
                    "download_time": _NUMBER,
                },
            },
        ],
    },
}


def metric_routes(metrics: Metrics) -> Blueprint:
    """Return the routes of metrics."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    @described(
        Description(summary="Scrape, for Prometheus.", kind=Kind.OLD, answers=CONTENT_TYPE_LATEST)
    )
    def scrape() -> Response:
        return Response(metrics.exposed(), content_type=CONTENT_TYPE_LATEST)

    @routes.post("/api/download/metrics")
    @described(
        Description(
            summary="Report how files ended; consumers do.",
            kind=Kind.OLD,
            answers=shapes.Said,
            bodies={JSON: _BODY},
        )
    )
    def post_metrics() -> Response:
        for posted in _posted_metrics(request.get_data()):
            _count(metrics, posted)
        return jsonify({"msg": "OK"})

    return routes


def _posted_metrics(body: bytes) -> list[PostedMetric]:
    """Return posted metrics, all checked before the first is counted."""
    try:
        return _POSTED_METRICS.validate_json(body)
    except ValidationError as error:
        raise BadRequest(
            f"metrics: expected an array of {{bank, host?, error?, size, download_time}}, "
            f"got at {wrong_value(error)}"
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
