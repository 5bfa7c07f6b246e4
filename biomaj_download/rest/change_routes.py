"""The routes that change what the service is at: requests, and sessions that end."""

from __future__ import annotations

import uuid
from http import HTTPStatus

from flask import Blueprint, Response, request
from google.protobuf import json_format

from biomaj_download.broker.base import Broker
from biomaj_download.message import downmessage_pb2 as wire
from biomaj_download.message.codec import decode
from biomaj_download.rest import shapes
from biomaj_download.rest.answers import no_session, told
from biomaj_download.rest.describing import JSON, Description, Kind, described, sent_type
from biomaj_download.rest.operation_schema import operation_schema
from biomaj_download.rest.problems import WrongRequest
from biomaj_download.settings import MessageSettings
from biomaj_download.store.base import Store

PROTOBUF = "application/x-protobuf"


def session_routes(store: Store) -> Blueprint:
    """Return the route that ends a session."""
    routes = Blueprint("sessions", __name__, url_prefix="/api/download")

    @routes.delete("/sessions/<bank>/<session>")
    @described(
        Description(
            summary="End a session: what runs ends within seconds, what waits never begins.",
            kind=Kind.CHANGING,
            status=HTTPStatus.NO_CONTENT,
            is_of_one=True,
        )
    )
    def cancel(bank: str, session: str) -> Response:
        if not store.progress(bank, session).is_open:
            raise no_session(bank, session)
        store.delete_session(bank, session)
        return Response(status=HTTPStatus.NO_CONTENT)

    return routes


def operation_routes(broker: Broker, limits: MessageSettings) -> Blueprint:
    """Return the route that takes requests for the broker's queue, within the site's limits."""
    routes = Blueprint("operations", __name__, url_prefix="/api/download")

    @routes.post("/operations")
    @described(
        Description(
            summary="Ask for a LIST or a DOWNLOAD.",
            kind=Kind.CHANGING,
            answers=shapes.Accepted,
            status=HTTPStatus.ACCEPTED,
            bodies={
                PROTOBUF: {"type": "string", "format": "binary"},
                JSON: operation_schema(),
            },
        )
    )
    def ask() -> Response:
        is_json = sent_type(PROTOBUF, JSON) == JSON
        body = request.get_data()
        if is_json:
            body = _operation_in(body).SerializePartialToString()
        decode(body, limits)
        message_id = str(uuid.uuid4())
        broker.publish(body, message_id=message_id)
        answer = told(shapes.Accepted(msg="accepted", message_id=message_id))
        answer.status_code = HTTPStatus.ACCEPTED
        return answer

    return routes


def _operation_in(body: bytes) -> wire.Operation:
    """Return the Operation in JSON, as protobuf writes it.

    Raises:
        WrongRequest: it is none.
    """
    try:
        operation: wire.Operation = json_format.Parse(body, wire.Operation())
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise WrongRequest(f"body: expected an Operation in JSON, got: {error}") from error
    return operation
