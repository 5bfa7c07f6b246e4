from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biomaj_download import watch as watch_room
from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.errors import Cancelled, StoreError
from biomaj_download.store.base import Answer, Claim, Message
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.watch import Watch
from tests.servers.process import poll


class AbsentStore(EmbeddedStore):
    is_away = False

    def renew(self, messages):
        if self.is_away:
            raise StoreError("away")
        return super().renew(messages)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AbsentStore]:
    store = AbsentStore(tmp_path / "sessions.sqlite")
    yield store
    store.close()


@pytest.fixture
def watch(store) -> Iterator[Watch]:
    watch = Watch(store)
    yield watch
    watch.close()


@pytest.fixture
def held(store, watch) -> Message:
    """A message whose file is leased here, and is being written."""
    message = Message(
        bank="bank",
        session=store.create_session("bank"),
        key="a",
        targets=("/db/x",),
        holder="here/1",
    )
    assert store.claim(Claim(message=message)).answer is Answer.WANTED
    watch.hold(message)
    return message


def take(store, message: Message) -> None:
    """Have another consumer take the file, as after the lease has run out."""
    other = Message(
        bank="bank", session=message.session, key="b", targets=message.targets, holder="there/1"
    )
    claim = Claim(message=other, breaks=message.holder)
    assert store.claim(claim).answer is Answer.WANTED


def wait_for(cancellation: Cancellation) -> Why | None:
    for _ in poll(10):
        if cancellation.is_ordered():
            break
    return cancellation.why


def test_a_job_ends_whose_session_is_closed(store, watch, held):
    cancellation = Cancellation()
    watch.begin(held, cancellation)

    store.delete_session("bank", held.session)

    assert wait_for(cancellation) is Why.UNWANTED


def test_a_job_ends_whose_lease_is_lost_and_does_not_get_it_back(store, watch, held, monkeypatch):
    monkeypatch.setattr(watch_room, "RENEW_SECONDS", 0.1)
    cancellation = Cancellation()
    watch.begin(held, cancellation)

    take(store, held)

    assert wait_for(cancellation) is Why.TAKEN


def test_a_job_does_not_begin_whose_lease_was_lost_before(store, watch, held, monkeypatch):
    monkeypatch.setattr(watch_room, "RENEW_SECONDS", 0.1)
    take(store, held)
    time.sleep(2.5)
    cancellation = Cancellation()

    watch.begin(held, cancellation)

    assert cancellation.why is Why.TAKEN


def test_a_process_that_was_halted_asks_before_it_publishes(store, watch, held, monkeypatch):
    cancellation = Cancellation()
    watch.begin(held, cancellation)
    take(store, held)
    now = watch_room._now_seconds()
    monkeypatch.setattr(watch_room, "_now_seconds", lambda: now + 31)

    cancellation.look()
    with pytest.raises(Cancelled):
        cancellation.check_ours()


def test_a_store_that_is_away_ends_no_job(store, watch, held, monkeypatch):
    monkeypatch.setattr(watch_room, "RENEW_SECONDS", 0.1)
    store.is_away = True
    cancellation = Cancellation()
    watch.begin(held, cancellation)

    time.sleep(2.5)

    cancellation.check()


def test_a_process_whose_renewals_failed_asks_before_it_publishes(store, watch, held, monkeypatch):
    monkeypatch.setattr(watch_room, "RENEW_SECONDS", 0.1)
    cancellation = Cancellation()
    watch.begin(held, cancellation)
    store.is_away = True
    now = watch_room._now_seconds()
    monkeypatch.setattr(watch_room, "_now_seconds", lambda: now + 40)
    time.sleep(1.5)
    cancellation.look()
    cancellation.check_ours()  # nobody can have the lease while the store is away
    take(store, held)
    store.is_away = False

    cancellation.look()
    with pytest.raises(Cancelled):
        cancellation.check_ours()


def test_a_message_that_was_let_go_is_renewed_no_more(store, watch, held, monkeypatch):
    monkeypatch.setattr(watch_room, "RENEW_SECONDS", 0.1)
    watch.let_go([held])
    store.release([held])
    time.sleep(1.5)

    take(store, held)


def test_all_jobs_end_when_the_process_stops(watch, held):
    cancellation = Cancellation()
    watch.begin(held, cancellation)

    watch.stop_all()

    assert cancellation.why is Why.STOPPING
