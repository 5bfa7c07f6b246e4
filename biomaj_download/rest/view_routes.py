"""The routes that show what the service is at."""

from __future__ import annotations

from flask import Blueprint, Response

from biomaj_download.rest import shapes
from biomaj_download.rest.answers import no_session, told
from biomaj_download.rest.describing import JSON, Description, Kind, arguments, described
from biomaj_download.rest.monitor import Monitor
from biomaj_download.rest.queries import Name, Paged, Search
from biomaj_download.store.activity import Activity, Page, State


class SessionsQuery(Paged):
    """Which sessions to list."""

    bank: Name | None = None


class FilesQuery(Paged):
    """Which ended files of a session to list."""

    state: State | None = None
    q: Search = ""


class ErrorsQuery(Paged):
    """Which failed files to list; a session is found fast where its bank is named."""

    bank: Name | None = None
    session: Name | None = None
    q: Search = ""


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
        return Response(monitor.overview().text, content_type=JSON)

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
