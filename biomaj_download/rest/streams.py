"""Server-sent events: what happens, as it happens.

https://html.spec.whatwg.org/multipage/server-sent-events.html
A stream keeps a thread of the server: whoever finds no seat is answered once, and asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event

from flask import Blueprint, Response

from biomaj_download.errors import DownloadError
from biomaj_download.rest.describing import Description, Kind, Query, arguments, described
from biomaj_download.rest.monitor import Monitor, Told
from biomaj_download.rest.problems import WrongRequest, problem_json
from biomaj_download.rest.seats import Seats
from biomaj_download.rest.view_routes import Name

EVENT_STREAM = "text/event-stream"
#: A stream ends after so long: the browser connects again, and perhaps finds another process.
LONGEST_STREAM_SECONDS = 60.0
#: At most one event in so long.
EVENT_SECONDS = 1.0
#: A comment goes out so often: the server notices a reader that is gone, a proxy that we are there.
COMMENT_SECONDS = 5.0
#: A reader that found no seat comes back after so long.
RETRY_MILLISECONDS = 3000

Look = Callable[[], Told | None]


class EventsQuery(Query):
    """What to follow: one session, or all."""

    bank: Name | None = None
    session: Name | None = None


class Streams:
    """The streams of an application; `stop` may be called from any thread.

    `is_stopping`: asked at least each second, where the server is not told to stop by `stop`.
    """

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._stopped = Event()
        self.is_stopping: Callable[[], bool] = lambda: False

    def stop(self) -> None:
        """End all streams within moments."""
        self._stopped.set()

    def answer(self, event: str, look: Look) -> Response:
        """Return the stream of what a look tells; it ends when the look tells None."""
        if not self._seats.take():
            return Response(_once(event, look), content_type=EVENT_STREAM)
        answer = Response(self._told(event, look), content_type=EVENT_STREAM)
        answer.call_on_close(self._seats.give_back)
        return answer

    def _told(self, event: str, look: Look) -> Iterator[str]:
        ends_at = time.monotonic() + LONGEST_STREAM_SECONDS
        news, spoke_at = None, 0.0
        while time.monotonic() < ends_at and not self.is_stopping():
            is_open, told_news, text = _looked(event, look)
            if told_news != news or time.monotonic() - spoke_at >= COMMENT_SECONDS:
                yield text if told_news != news else ": still here\n\n"
                news, spoke_at = told_news, time.monotonic()
            if not is_open or self._stopped.wait(EVENT_SECONDS):
                return


def stream_routes(monitor: Monitor, streams: Streams) -> Blueprint:
    """Return the route of events."""
    routes = Blueprint("events", __name__, url_prefix="/api/download")

    @routes.get("/events")
    @described(
        Description(
            summary="Follow all, or one session: server-sent events, one a second at most.",
            kind=Kind.READING,
            answers=EVENT_STREAM,
            query=EventsQuery,
        )
    )
    def events() -> Response:
        asked = arguments(EventsQuery)
        if (asked.bank is None) != (asked.session is None):
            raise WrongRequest("expected `bank` and `session`, or neither")
        if asked.bank is None or asked.session is None:
            answer = streams.answer("overview", monitor.overview)
        else:
            bank, session = asked.bank, asked.session
            answer = streams.answer("session", lambda: monitor.session_told(bank, session))
        answer.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
        return answer

    return routes


def _looked(event: str, look: Look) -> tuple[bool, str, str]:
    """Return whether there is more to see, what is new of it, and the event."""
    try:
        told = look()
    except DownloadError as error:  # the store is away: it comes back, and the stream is still here
        text = problem_json(error)
        return True, text, _event("problem", text)
    if told is None:
        return False, "closed", _event("closed", "{}")
    return True, told.news, _event(event, told.text)


def _once(event: str, look: Look) -> str:
    return f"retry: {RETRY_MILLISECONDS}\n{_looked(event, look)[2]}"


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
