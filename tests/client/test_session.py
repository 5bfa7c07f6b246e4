"""What the web interface is asked, and how its answers are taken."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import pairwise

import pytest

from biomaj_download.client import session as session_module
from biomaj_download.client.session import ServiceSession
from biomaj_download.errors import ServiceError
from biomaj_download.store.base import Progress
from tests.servers.faulty_http import Answer


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(session_module, "time", clock)
    return clock


def says(**answer):
    return Answer(body=json.dumps(answer).encode())


@pytest.fixture
def session(faulty_http):
    with closing(ServiceSession(faulty_http.url, "alu")) as session:
        faulty_http.add("/api/download/session/alu", says(session="s-1"))
        session.open()
        yield session


def test_service_session_asks_under_the_names_of_bank_and_session(faulty_http):
    faulty_http.add("/proxy/api/download/session/a%2Fb%20c", says(session="s-1"))
    faulty_http.add("/proxy/api/download/session/a%2Fb%20c/s-1", says(msg="session cleared"))
    with closing(ServiceSession(f"{faulty_http.url}/proxy/", "a/b c")) as session:
        assert session.open() == "s-1"
        session.delete()

    assert [request.method for request in faulty_http.requests] == ["POST", "DELETE"]


def test_service_session_asks_for_a_long_poll_shorter_than_common_limits(session, faulty_http):
    faulty_http.add("/api/download/status/download/alu/s-1", says(progress=6, errors=1))

    assert session.wait_for_progress(after=5, timeout_seconds=60) == Progress(6, 1)
    assert faulty_http.requests[-1].path.endswith("?after=5&wait_seconds=20")


def test_service_session_counts_nothing_as_none(session, faulty_http):
    faulty_http.add("/api/download/status/download/alu/s-1", says(progress=-1, errors=-1))

    assert session.progress() == Progress(None, None)


def test_service_session_looks_rarely_while_nothing_happens_and_often_again_after_that(
    session, faulty_http, clock
):
    faulty_http.add(
        "/api/download/status/download/alu/s-1",
        *[says(progress=-1, errors=-1)] * 20,
        says(progress=1, errors=-1),
        says(progress=2, errors=-1),
        says(progress=2, errors=-1),
    )

    for _ in range(20):
        session.wait_for_progress(after=4, timeout_seconds=20)
    waits, clock.slept = clock.slept, []
    for _ in range(3):
        session.wait_for_progress(after=4, timeout_seconds=20)

    assert waits[0] == 0.02
    assert waits[-1] == 2
    assert all(later <= 1.5 * sooner for sooner, later in pairwise(waits))
    assert clock.slept == [0.02, 0.02, 0.03]


def test_service_session_does_not_sleep_when_it_has_what_it_waits_for(session, faulty_http, clock):
    faulty_http.add("/api/download/status/download/alu/s-1", says(progress=5, errors=-1))

    session.wait_for_progress(after=4, timeout_seconds=20)

    assert clock.slept == []


def test_service_session_does_not_sleep_after_an_answer_that_was_held(
    session, faulty_http, clock, monkeypatch
):
    faulty_http.add("/api/download/status/download/alu/s-1", says(progress=-1, errors=-1))
    ask = session._ask

    def ask_slowly(*arguments, **more):
        clock.now += 20
        return ask(*arguments, **more)

    monkeypatch.setattr(session, "_ask", ask_slowly)
    session.wait_for_progress(after=0, timeout_seconds=20)

    assert clock.slept == [0]


def test_service_session_returns_error_texts_in_their_order(session, faulty_http):
    faulty_http.add("/api/download/error/download/alu/s-1", says(error=["first", "second"]))

    assert session.pop_errors() == ["first", "second"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=503), "503"),
        (Answer(status=404), "404"),
        (Answer(body=b"<html>a proxy's page</html>"), "JSON|Expecting value"),
        (Answer(body=b"[]"), r"expected an answer with progress, errors, got '\[\]'"),
        (says(progress=3), "expected an answer with progress, errors"),
        (Answer(raw=b""), "closed"),
    ],
    ids=["busy", "not routed", "page", "list", "half", "cut"],
)
def test_service_session_tells_whose_answer_is_wrong(session, faulty_http, answer, said):
    faulty_http.add("/api/download/status/download/alu/s-1", answer)

    with pytest.raises(ServiceError, match=f"(?s)download service at {faulty_http.url}.*({said})"):
        session.progress()


def test_service_session_gives_a_password_to_the_service_and_to_no_error(faulty_http):
    faulty_http.add("/api/download/session/alu", Answer(status=500))
    url = faulty_http.url.replace("http://", "http://biomaj:hush@")

    with (
        closing(ServiceSession(url, "alu")) as session,
        pytest.raises(ServiceError) as raised,
    ):
        session.open()

    assert faulty_http.requests[0].headers["Authorization"] == "Basic YmlvbWFqOmh1c2g="
    assert "hush" not in str(raised.value)
