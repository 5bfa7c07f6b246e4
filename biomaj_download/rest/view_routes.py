"""The routes that show what the service is at."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from werkzeug.exceptions import NotFound

from biomaj_download.rest import shapes
from biomaj_download.rest.describing import Description, Kind, Query, arguments, described
from biomaj_download.rest.monitor import Monitor
from biomaj_download.store.activity import Activity, Page, State

LARGEST_PAGE = 1000
#: No list is that long; SQLite's and Redis's numbers end later.
_LARGEST_OFFSET = 10**9
_LONGEST_NAME_CHARACTERS = 1000
_LONGEST_SEARCH_CHARACTERS = 200

Offset = Annotated[int, Field(ge=0, le=_LARGEST_OFFSET, description="Skip so many.")]
Limit = Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="Give so many at most.")]
Name = Annotated[str, Field(max_length=_LONGEST_NAME_CHARACTERS)]
Search = Annotated[
    str,
    Field(
        max_length=_LONGEST_SEARCH_CHARACTERS,
        description="Only files with this in name, host, code or error, in any case.",
    ),
]


class SessionsQuery(Query):
    """Which sessions to list."""

    bank: Name | None = None
    offset: Offset = 0
    limit: Limit = 100


class FilesQuery(Query):
    """Which ended files of a session to list."""

    state: State | None = None
    q: Search = ""
    offset: Offset = 0
    limit: Limit = 100


class ErrorsQuery(Query):
    """Which failed files to list; a session is found fast where its bank is named."""

    bank: Name | None = None
    session: Name | None = None
    q: Search = ""
    offset: Offset = 0
    limit: Limit = 100


def view_routes(monitor: Monitor, activity: Activity) -> Blueprint:
    """Return the routes of what people look at."""
    routes = Blueprint("views", __name__, url_prefix="/api/download")

    @routes.get("/overview")
    @described(
        Description(
            summary="Tell all at once: sessions, what runs, hosts, consumers, queue, errors.",
            kind=Kind.READING,
            answers=shapes.Overview,
        )
    )
    def overview() -> Response:
        return Response(monitor.overview_json(), content_type="application/json")

    @routes.get("/sessions")
    @described(
        Description(
            summary="List open sessions, newest first.",
            kind=Kind.READING,
            answers=shapes.Sessions,
            query=SessionsQuery,
        )
    )
    def sessions() -> Response:
        asked = arguments(SessionsQuery)
        return told(monitor.sessions(asked.bank, offset=asked.offset, limit=asked.limit))

    @routes.get("/sessions/<bank>/<session>")
    @described(
        Description(
            summary="Tell of one session, and what runs of it.",
            kind=Kind.READING,
            answers=shapes.SessionDetail,
            is_of_one=True,
        )
    )
    def session(bank: str, session: str) -> Response:
        found = monitor.session(bank, session)
        if found is None:
            raise no_session(bank, session)
        return told(found)

    @routes.get("/sessions/<bank>/<session>/files")
    @described(
        Description(
            summary="List files of a session that ended, newest first.",
            kind=Kind.READING,
            answers=shapes.Files,
            query=FilesQuery,
            is_of_one=True,
        )
    )
    def files(bank: str, session: str) -> Response:
        asked = arguments(FilesQuery)
        if activity.session(bank, session) is None:
            raise no_session(bank, session)
        page = activity.files(
            bank, session, state=asked.state, search=asked.q, offset=asked.offset, limit=asked.limit
        )
        return told(
            shapes.Files(files=list(page.files), total=page.total, next_offset=page.next_offset)
        )

    @routes.get("/errors")
    @described(
        Description(
            summary="List files that failed in open sessions, newest first.",
            kind=Kind.READING,
            answers=shapes.Errors,
            query=ErrorsQuery,
        )
    )
    def errors() -> Response:
        page = _errors(activity, arguments(ErrorsQuery))
        return told(
            shapes.Errors(errors=list(page.files), total=page.total, next_offset=page.next_offset)
        )

    @routes.get("/queue")
    @described(
        Description(
            summary="Tell how much waits on the queue and in the dead letters.",
            kind=Kind.READING,
            answers=shapes.QueueState,
        )
    )
    def queue() -> Response:
        return told(monitor.queue())

    return routes


def no_session(bank: str, session: str) -> NotFound:
    """Return the error that a session is not open."""
    return NotFound(f"{bank}/{session}: expected an open session, there is none")


def _errors(activity: Activity, asked: ErrorsQuery) -> Page:
    if asked.session is not None and asked.bank is not None:
        return activity.files(
            asked.bank,
            asked.session,
            state="failed",
            search=asked.q,
            offset=asked.offset,
            limit=asked.limit,
        )
    page = activity.errors(bank=asked.bank, search=asked.q, offset=asked.offset, limit=asked.limit)
    if asked.session is None:
        return page
    files = tuple(file for file in page.files if file.session == asked.session)
    return page.model_copy(update={"files": files, "total": None})


def told(answer: BaseModel) -> Response:
    """Return an answer in JSON."""
    return Response(answer.model_dump_json(), content_type="application/json")
