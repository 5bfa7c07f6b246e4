"""What views answer with: models as JSON, and what is not there."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel
from werkzeug.exceptions import NotFound

from biomaj_download.rest.describing import JSON


def told(answer: BaseModel) -> Response:
    """Return an answer in JSON."""
    return Response(answer.model_dump_json(), content_type=JSON)


def no_session(bank: str, session: str) -> NotFound:
    """Return the error that a session is not open."""
    return NotFound(f"{bank}/{session}: expected an open session, there is none")
