"""The ping and the probes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from biomaj_download.health import FINE, Check, look
from biomaj_download.rest import shapes
from biomaj_download.rest.answers import told
from biomaj_download.rest.describing import Description, Kind, described


def health_routes(needed: Mapping[str, Check], others: Mapping[str, Check]) -> Blueprint:
    """Return the ping and the probes; `others` are told of, and the service does without."""
    routes = Blueprint("health", __name__)

    @routes.get("/api/download")
    @described(Description(summary="Answer a ping.", kind=Kind.OPEN, answers=shapes.Said))
    def pong() -> Response:
        return jsonify({"msg": "pong"})

    @routes.get("/healthz")
    @described(
        Description(summary="Say that the process lives.", kind=Kind.OPEN, answers=shapes.Status)
    )
    def healthy() -> Response:
        return jsonify({"status": FINE})

    @routes.get("/readyz")
    @described(
        Description(
            summary="Say whether the service can work; 503: what it needs is away.",
            kind=Kind.OPEN,
            answers=shapes.Readiness,
        )
    )
    def ready() -> Response:
        health = look(needed, others)
        answer = told(shapes.Readiness(status=health.status, checks=dict(health.checks)))
        if not health.is_fine:
            answer.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return answer

    return routes
