"""The ping and the probes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from biomaj_download.health import Check, Health, look
from biomaj_download.probes import Probed
from biomaj_download.rest import shapes
from biomaj_download.rest.answers import told
from biomaj_download.rest.describing import Description, Kind, described


def health_routes(probed: Probed, others: Mapping[str, Check]) -> Blueprint:
    """Return the ping and the probes; `others` are told of, and the service does without."""
    routes = Blueprint("health", __name__)

    @routes.get("/api/download")
    @described(Description(summary="Answer a ping.", kind=Kind.OPEN, answers=shapes.Said))
    def pong() -> Response:
        return jsonify({"msg": "pong"})

    @routes.get("/healthz")
    @described(
        Description(
            summary="Say whether the process lives; 503: it is to be started anew.",
            kind=Kind.OPEN,
            answers=shapes.Probe,
        )
    )
    def healthy() -> Response:
        return _answer(look(probed.life))

    @routes.get("/readyz")
    @described(
        Description(
            summary="Say whether the service can work; 503: what it needs is away.",
            kind=Kind.OPEN,
            answers=shapes.Probe,
        )
    )
    def ready() -> Response:
        return _answer(look(probed.work, others))

    return routes


def _answer(health: Health) -> Response:
    answer = told(shapes.Probe(status=health.status, checks=health.shown))
    if not health.is_fine:
        answer.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return answer
