"""The routes of dead letters."""

from __future__ import annotations

from contextlib import closing
from http import HTTPStatus
from itertools import islice

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from biomaj_download.broker.dead import DeadLetters
from biomaj_download.inspection import summary
from biomaj_download.rest import shapes
from biomaj_download.rest.answers import told
from biomaj_download.rest.describing import (
    JSON,
    Description,
    Kind,
    Query,
    arguments,
    described,
    sent_type,
)
from biomaj_download.rest.queries import Limit
from biomaj_download.settings import MessageSettings


class DeadQuery(Query):
    """How many dead letters to list."""

    limit: Limit = 100


def dead_routes(letters: DeadLetters, limits: MessageSettings) -> Blueprint:
    """Return the routes of dead letters; `limits`: of those that are decoded."""
    routes = Blueprint("dead", __name__, url_prefix="/api/download")

    @routes.get("/dead")
    @described(
        Description(
            summary="List dead letters, oldest first.",
            kind=Kind.READING,
            answers=shapes.Dead,
            query=DeadQuery,
        )
    )
    def dead() -> Response:
        limit = arguments(DeadQuery).limit
        number = letters.count()
        with closing(letters.each()) as each:
            listed = [
                shapes.DeadLetterSummary.model_validate(summary(letter, limits))
                for letter in islice(each, limit)
            ]
        return told(shapes.Dead(dead_letters=listed, total=max(number, len(listed))))

    @routes.post("/dead/<id_>/requeue")
    @described(
        Description(
            summary="Put a dead letter back on the queue.",
            kind=Kind.CHANGING,
            answers=shapes.Requeued,
            is_of_one=True,
            bodies={JSON: {}},
        )
    )
    def requeue(id_: str) -> Response:
        sent_type(JSON)
        if id_ not in letters.requeue([id_]):
            raise _no_letter(id_)
        return told(shapes.Requeued(requeued=id_))

    @routes.delete("/dead/<id_>")
    @described(
        Description(
            summary="Forget a dead letter.",
            kind=Kind.CHANGING,
            status=HTTPStatus.NO_CONTENT,
            is_of_one=True,
        )
    )
    def drop(id_: str) -> Response:
        if id_ not in letters.drop([id_]):
            raise _no_letter(id_)
        return Response(status=HTTPStatus.NO_CONTENT)

    return routes


def _no_letter(id_: str) -> NotFound:
    return NotFound(f"{id_}: expected the id of a dead letter, there is none")
