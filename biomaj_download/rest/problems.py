"""Errors in, problem details (RFC 9457) out; `error` and `code` are what older clients read."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, request
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException

from biomaj_download.errors import BrokerError, DownloadError, MessageError, StoreError
from biomaj_download.message.codec import UnreadableMessage

log = logging.getLogger("biomaj.download.web")

PROBLEM_TYPE = "application/problem+json"
#: Whoever finds the store or the broker away may ask again after so long.
RETRY_AFTER_SECONDS = 5


class Problem(BaseModel):
    """What went wrong, as RFC 9457 says it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="A stable name of the error, for programs.")
    error: str = Field(description="The detail again, for older clients.")


class BadRequest(MessageError):
    """A request whose body or arguments cannot be read."""

    code = "bad-request"


class WrongRequest(MessageError):
    """A request whose body or arguments can be read, and are not what is expected."""

    code = "bad-request"


#: The first that fits.
_STATUS_OF: Mapping[type[DownloadError], HTTPStatus] = {
    WrongRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnreadableMessage: HTTPStatus.UNPROCESSABLE_ENTITY,
    MessageError: HTTPStatus.BAD_REQUEST,
    StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def register_problems(app: Flask) -> None:
    """Have every error of an application answered with problem details."""
    app.logger = log  # Flask writes there what nobody has expected
    app.register_error_handler(DownloadError, _failed)
    app.register_error_handler(ValidationError, _not_valid)
    app.register_error_handler(HTTPException, _refused)


def problem(status: HTTPStatus, detail: str, code: str) -> Response:
    """Return the answer that tells of a problem."""
    body = Problem(title=status.phrase, status=status, detail=detail, code=code, error=detail)
    answer = Response(body.model_dump_json(), status=status, content_type=PROBLEM_TYPE)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def wrong_value(error: ValidationError) -> str:
    """Name the first wrong value, and what was expected; what came is not repeated."""
    wrong = error.errors(include_url=False)[0]
    place = ".".join(map(str, wrong["loc"])) or "body"
    return f"{place}: {wrong['msg']}"


def _failed(error: DownloadError) -> Response:
    status = next(
        (code for kind, code in _STATUS_OF.items() if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    log.warning("request failed path=%s code=%s error=%s", request.path, error.code, error)
    return problem(status, str(error), error.code)


def _not_valid(error: ValidationError) -> Response:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, wrong_value(error), "bad-request")


def _refused(error: HTTPException) -> Response:
    answer = Response.force_type(error.get_response())  # with the headers that belong to it
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    told = problem(status, error.description or status.phrase, error.name)
    for name in ("Allow", "WWW-Authenticate", "Retry-After", "Location"):
        if name in answer.headers:
            told.headers[name] = answer.headers[name]
    return told


def problem_json(error: DownloadError) -> str:
    """Return an error as it is told within a stream."""
    return json.dumps({"detail": str(error), "code": error.code})
