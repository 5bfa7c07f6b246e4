"""What every session store does.

Subclass it with two fixtures: `store`, and `no_looks`, which keeps a waiting store from looking by
itself, so that news alone can wake it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from biomaj_download.store.base import Outcome, Progress, Store


def outcome(session: str, key: str, **changes: object) -> Outcome:
    return Outcome(bank="bank", session=session, message_key=key, **changes)  # type: ignore[arg-type]


def assert_each_is_seen(
    store: Store, session: str, settle: Callable[[str], object], *, within_seconds: float = 5
) -> None:
    """Settle ten messages, each as soon as a waiting thread has seen the one before."""
    seen: SimpleQueue[int] = SimpleQueue()

    def follow() -> None:
        done = 0
        while done < 10:
            done = (
                store.wait_for_progress("bank", session, after=done, timeout_seconds=20).done or 0
            )
            seen.put(done)

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        for number in range(10):
            time.sleep(0.02)  # so that most of the waiting has begun; right without it too
            settle(f"message {number}")
            assert seen.get(timeout=within_seconds) == number + 1
        following.result()


class StoreContract:
    @pytest.fixture
    def session(self, store: Store) -> Iterator[str]:
        session = store.create_session("bank")
        yield session
        store.delete_session("bank", session)

    def test_store_knows_its_sessions_until_they_are_deleted(self, store: Store) -> None:
        session = store.create_session("bank")
        assert store.has_session("bank", session)
        assert not store.has_session("other", session)

        store.settle(outcome(session, "a", error="lost", files=b"x"))
        store.delete_session("bank", session)
        store.delete_session("bank", session)

        assert not store.has_session("bank", session)
        assert store.progress("bank", session) == Progress(None, None)
        assert store.pop_errors("bank", session) == []
        assert store.file_list("bank", session) is None
        assert not store.is_settled("bank", session, "a")

    def test_store_has_no_progress_before_the_first_outcome(
        self, store: Store, session: str
    ) -> None:
        assert store.progress("bank", session) == Progress(None, None)

    def test_store_counts_successes_and_errors(self, store: Store, session: str) -> None:
        assert store.settle(outcome(session, "a"))
        assert store.progress("bank", session) == Progress(1, None)

        assert store.settle(outcome(session, "b", error="b: missing"))
        assert store.settle(outcome(session, "c", error="c: é stalled"))

        assert store.progress("bank", session) == Progress(3, 2)
        assert store.pop_errors("bank", session) == ["b: missing", "c: é stalled"]
        assert store.pop_errors("bank", session) == []
        assert store.progress("bank", session) == Progress(3, 2)

    def test_store_counts_a_message_once_however_often_it_comes(
        self, store: Store, session: str
    ) -> None:
        assert store.settle(outcome(session, "a", error="first"))
        assert store.is_settled("bank", session, "a")
        assert not store.is_settled("bank", session, "b")

        assert not store.settle(outcome(session, "a", redelivered=True))
        assert not store.settle(outcome(session, "a"))

        assert store.progress("bank", session) == Progress(1, 1)

    def test_store_counts_two_first_deliveries_of_old_clients_twice(
        self, store: Store, session: str
    ) -> None:
        assert store.settle(outcome(session, "digest", identity_is_unique=False))
        assert store.settle(outcome(session, "digest", identity_is_unique=False))

        assert not store.settle(
            outcome(session, "digest", identity_is_unique=False, redelivered=True)
        )

        assert store.progress("bank", session).done == 2

    def test_store_counts_an_outcome_once_whose_answer_was_lost(
        self, store: Store, session: str
    ) -> None:
        first = outcome(session, "digest", identity_is_unique=False, error="lost")
        assert store.settle(first)

        assert not store.settle(first)

        assert store.progress("bank", session) == Progress(1, 1)
        assert store.pop_errors("bank", session) == ["lost"]
        assert store.settle(outcome(session, "digest", identity_is_unique=False))

    def test_store_keeps_an_error_that_is_no_valid_text(self, store: Store, session: str) -> None:
        store.settle(outcome(session, "a", error="caf\udce9.gz: missing"))
        store.settle(outcome(session, "b", error=""))

        assert store.pop_errors("bank", session) == ["caf\\udce9.gz: missing", "unknown error"]

    def test_store_forgets_an_outcome_whose_session_is_gone(self, store: Store) -> None:
        assert not store.settle(outcome("never opened", "a", error="lost", files=b"x"))

        assert store.progress("bank", "never opened") == Progress(None, None)
        assert store.pop_errors("bank", "never opened") == []
        assert store.file_list("bank", "never opened") is None

    def test_store_keeps_a_file_list(self, store: Store, session: str) -> None:
        assert store.file_list("bank", session) is None

        store.settle(outcome(session, "list", files=b"\x00\xff"))
        store.settle(outcome(session, "download"))

        assert store.file_list("bank", session) == b"\x00\xff"

    def test_store_keeps_an_empty_file_list(self, store: Store, session: str) -> None:
        store.settle(outcome(session, "list", files=b""))

        assert store.file_list("bank", session) == b""

    def test_store_counts_right_when_many_settle_at_once(self, store: Store, session: str) -> None:
        outcomes = [
            outcome(session, f"message {number % 200}", error="no" if number % 4 == 0 else None)
            for number in range(400)
        ]

        with ThreadPoolExecutor(16) as pool:
            counted = list(pool.map(store.settle, outcomes))

        assert sum(counted) == 200
        assert store.progress("bank", session) == Progress(200, 50)

    @pytest.mark.usefixtures("no_looks")
    def test_store_wakes_who_waits_for_progress(self, store: Store, session: str) -> None:
        assert_each_is_seen(store, session, lambda key: store.settle(outcome(session, key)))

    @pytest.mark.usefixtures("no_looks")
    def test_store_wakes_all_who_wait(self, store: Store, session: str) -> None:
        def wait(_: int) -> Progress:
            return store.wait_for_progress("bank", session, after=0, timeout_seconds=20)

        with ThreadPoolExecutor(16) as pool:
            waiting = pool.map(wait, range(16), timeout=10)
            store.settle(outcome(session, "a"))

            assert list(waiting) == [Progress(1, None)] * 16

    def test_store_answers_at_once_when_there_is_progress_already(
        self, store: Store, session: str
    ) -> None:
        store.settle(outcome(session, "a"))

        assert store.wait_for_progress("bank", session, after=0, timeout_seconds=60).done == 1

    def test_store_answers_when_the_time_is_up(self, store: Store, session: str) -> None:
        started = time.monotonic()

        progress = store.wait_for_progress("bank", session, after=0, timeout_seconds=0.1)

        assert progress == Progress(None, None)
        assert 0.1 <= time.monotonic() - started < 5

    def test_store_answers_a_ping(self, store: Store) -> None:
        store.ping()
