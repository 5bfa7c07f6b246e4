from __future__ import annotations

from datetime import datetime, timezone

import pytest

from biomaj_download.biomaj_download_web import close_app, create_app
from biomaj_download.serving import embedded_in
from biomaj_download.settings import Settings, WebSettings
from biomaj_download.store.activity import Consumer, EndedFile, Pulse, RunningFile
from biomaj_download.store.base import Message, Outcome
from biomaj_download.store.opening import open_activity, open_store

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return embedded_in(tmp_path, Settings())


@pytest.fixture
def store(settings):
    store = open_store(settings)
    yield store
    store.close()


@pytest.fixture
def activity(settings):
    activity = open_activity(settings)
    yield activity
    activity.close()


@pytest.fixture
def make_app(settings, store, activity):
    """Make an application on the files of a service; `web`: its settings."""
    made = []

    def make(**web):
        chosen = settings.model_copy(update={"web": WebSettings(**web)})
        made.append(create_app(chosen, store=store, activity=activity))
        return made[-1]

    yield make
    for app in made:
        close_app(app)


@pytest.fixture
def client(make_app):
    return make_app().test_client()


@pytest.fixture
def session(store, activity) -> str:
    """A session of `bank`: one file came, one failed, one is on its way."""
    session = store.create_session("bank")
    for key, error in (("a", None), ("b", "b: lost")):
        message = Message(bank="bank", session=session, key=key)
        store.settle(Outcome(message=message, error=error))
    tell(activity, session, [ended(session, "a"), ended(session, "b", "b: lost")])
    return session


def tell(activity, session: str, files: list[EndedFile]) -> None:
    """Tell that files ended, and that one is on its way."""
    activity.expect("bank", session, 3)
    now = datetime.now(timezone.utc)
    running = RunningFile(
        bank="bank",
        session=session,
        name="c",
        host="ftp://h:21",
        protocol="ftp",
        attempt=1,
        received_bytes=10,
        size_bytes=100,
        bytes_per_second=5,
        begun_at=now,
        consumer="here:1",
    )
    consumer = Consumer(
        name="here:1", host="here", process_id=1, slots=4, running=1, started_at=now, seen_at=now
    )
    activity.tell(Pulse(consumer=consumer, running=(running,)), files, {("bank", session): 10})


def ended(session: str, name: str, error: str | None = None) -> EndedFile:
    """Return a file that ended."""
    return EndedFile(
        bank="bank",
        session=session,
        name=name,
        host="ftp://h:21",
        state="failed" if error else "done",
        size_bytes=5,
        seconds=0.1,
        ended_at=datetime.now(timezone.utc),
        code="transfer" if error else None,
        error=error,
    )
