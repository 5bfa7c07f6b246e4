"""The routes that clients and consumers of biomaj-download 3 call."""

from __future__ import annotations

import base64
import math
from contextlib import suppress

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field

from biomaj_download.errors import StoreError
from biomaj_download.rest import shapes
from biomaj_download.rest.describing import Description, Kind, described
from biomaj_download.rest.problems import BadRequest
from biomaj_download.rest.seats import Seats
from biomaj_download.store.activity import Activity
from biomaj_download.store.base import Store

LONGEST_WAIT_SECONDS = 60.0
#: Nobody wants more files in a session.
MOST_EXPECTED = 10**9


class StatusQuery(BaseModel):
    """What a question about progress may say; all else is ignored, as ever."""

    after: float = Field(-1, description="Answer as soon as progress is above this.")
    wait_seconds: float = Field(0, description="But not later than after so many seconds.")
    of: float = Field(0, description="How many files the client wants in all.")


def old_session_routes(store: Store, activity: Activity, seats: Seats) -> Blueprint:
    """Return the routes of sessions; a question about progress that is held takes a seat."""
    routes = Blueprint("old", __name__, url_prefix="/api/download")

    @routes.post("/session/<bank>")
    @described(Description(summary="Open a session.", kind=Kind.OLD, answers=shapes.Opened))
    def create_session(bank: str) -> Response:
        return jsonify({"session": store.create_session(bank)})

    @routes.delete("/session/<bank>/<session>")
    @described(
        Description(
            summary="Forget a session: what runs for it ends.", kind=Kind.OLD, answers=shapes.Said
        )
    )
    def delete_session(bank: str, session: str) -> Response:
        store.delete_session(bank, session)
        return jsonify({"msg": "session cleared"})

    @routes.get("/status/list/<bank>/<session>")
    @described(
        Description(
            summary="Say whether a LIST is answered.", kind=Kind.OLD, answers=shapes.ListStatus
        )
    )
    def list_status(bank: str, session: str) -> Response:
        return jsonify({"status": store.file_list(bank, session) is not None})

    @routes.get("/list/<bank>/<session>")
    @described(
        Description(summary="Give the files of a LIST.", kind=Kind.OLD, answers=shapes.ListedFiles)
    )
    def list_files(bank: str, session: str) -> Response:
        body = store.file_list(bank, session) or b""
        return jsonify({"files": base64.b64encode(body).decode("ascii")})

    @routes.get("/status/download/<bank>/<session>")
    @described(
        Description(
            summary="Tell progress, at once or when there is some.",
            kind=Kind.OLD,
            answers=shapes.Settled,
            query=StatusQuery,
        )
    )
    def download_status(bank: str, session: str) -> Response:
        after, wait_seconds = int(_number("after", -1)), _number("wait_seconds", 0)
        if "of" in request.args:
            expected = int(min(max(_number("of", 0), 0), MOST_EXPECTED))
            with suppress(StoreError):  # for people to look at; the question itself says more
                activity.expect(bank, session, expected)
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
    @described(
        Description(
            summary="Give the error texts, and forget them.",
            kind=Kind.OLD,
            answers=shapes.ErrorTexts,
        )
    )
    def download_errors(bank: str, session: str) -> Response:
        return jsonify({"error": store.pop_errors(bank, session)})

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
