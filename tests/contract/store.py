"""What every session store does.

Subclass it with three fixtures: `store`; `no_looks`, which keeps a waiting store from looking by
itself, so that news alone can wake it; and `short_leases`, of one second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue

import pytest

from biomaj_download.store.base import Answer, Claim, Message, Outcome, Progress, Store, Verdict


def message(session: str, key: str = "a", **changes: object) -> Message:
    return Message(bank="bank", session=session, key=key, **changes)  # type: ignore[arg-type]


def outcome(session: str, key: str = "a", **changes: object) -> Outcome:
    return Outcome(message=message(session, key), **changes)  # type: ignore[arg-type]


def twin_of(session: str, holder: str) -> Claim:
    """Return the claim of one of an old client's equal messages."""
    return Claim(
        message=message(
            session, "digest", is_unique=False, targets=(f"/{session}/x",), holder=holder
        )
    )


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
        other = ("other", session)
        assert store.unwanted([("bank", session), other]) == {other}

        store.settle(outcome(session, "a", error="lost", files=b"x"))
        store.delete_session("bank", session)
        store.delete_session("bank", session)

        assert store.unwanted([("bank", session)]) == {("bank", session)}
        assert store.progress("bank", session) == Progress(None, None, is_open=False)
        assert store.pop_errors("bank", session) == []
        assert store.file_list("bank", session) is None
        assert store.claim(Claim(message=message(session))).answer is Answer.GONE

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
        first, second = (Claim(message=message(session, key)) for key in "ab")
        assert store.settle(outcome(session, "a", error="first"))
        assert store.claim(first).answer is Answer.SETTLED
        assert store.claim(second).answer is Answer.WANTED

        assert not store.settle(outcome(session, "a", error="again"))

        assert store.progress("bank", session) == Progress(1, 1)
        assert store.pop_errors("bank", session) == ["first"]

    def test_store_lets_a_counted_message_be_worked_on_again_where_that_is_wanted(
        self, store: Store, session: str
    ) -> None:
        store.settle(outcome(session, "a", error="first"))

        assert store.claim(Claim(message=message(session), again=True)).answer is Answer.WANTED
        assert not store.settle(outcome(session, "a"))

        assert store.progress("bank", session) == Progress(1, 1)

    @pytest.mark.parametrize("error", [None, "lost"])
    def test_store_counts_the_twin_of_an_old_clients_message_like_the_first(
        self, store: Store, session: str, error: str | None
    ) -> None:
        first, twin, third = (twin_of(session, holder) for holder in ("p/1", "p/2", "p/3"))
        assert store.claim(first).answer is Answer.WANTED
        assert store.claim(twin) == Verdict(Answer.BUSY, "p/1")
        assert store.claim(twin) == Verdict(Answer.BUSY, "p/1")
        assert store.settle(Outcome(message=first.message, error=error))

        assert store.claim(twin).answer is Answer.SETTLED
        assert store.claim(twin).answer is Answer.SETTLED
        assert store.claim(replace(twin, redelivered=True)).answer is Answer.SETTLED
        assert store.progress("bank", session) == Progress(2, 2 if error else None)

        assert store.claim(third).answer is Answer.SETTLED
        assert store.progress("bank", session) == Progress(3, 3 if error else None)
        assert store.pop_errors("bank", session) == ([error] * 3 if error else [])

    def test_store_counts_an_old_clients_message_once_that_is_redelivered(
        self, store: Store, session: str
    ) -> None:
        first, again = (twin_of(session, holder) for holder in ("p/1", "q/1"))
        again = replace(again, redelivered=True)
        store.claim(first)
        store.settle(Outcome(message=first.message))

        assert store.claim(again).answer is Answer.SETTLED
        assert not store.settle(Outcome(message=again.message))

        assert store.progress("bank", session).done == 1

    def test_store_counts_an_old_clients_message_that_was_never_seen_before_its_redelivery(
        self, store: Store, session: str
    ) -> None:
        unseen = replace(twin_of(session, "p/1"), redelivered=True)

        assert store.claim(unseen).answer is Answer.WANTED
        assert store.settle(Outcome(message=unseen.message))
        assert store.claim(unseen).answer is Answer.SETTLED
        assert store.progress("bank", session).done == 1

    def test_store_gives_a_file_to_one_holder_at_a_time(self, store: Store, session: str) -> None:
        first = message(session, "a", targets=(f"/{session}/x", f"/{session}/y"), holder="p/1")
        other = message(session, "b", targets=(f"/{session}/y",), holder="q/1")

        assert store.claim(Claim(message=first)).answer is Answer.WANTED
        assert store.claim(Claim(message=first)).answer is Answer.WANTED
        assert store.claim(Claim(message=other)) == Verdict(Answer.BUSY, "p/1")
        assert store.claim(Claim(message=other, breaks="r/1")).answer is Answer.BUSY
        store.settle(Outcome(message=first))

        assert store.claim(Claim(message=other)).answer is Answer.WANTED

    def test_store_gives_a_file_to_one_of_many_who_ask_at_once(
        self, store: Store, session: str
    ) -> None:
        claims = [
            Claim(message=message(session, f"{n}", targets=(f"/{session}/x",), holder=f"p/{n}"))
            for n in range(5)
        ]

        answers = [verdict.answer for verdict in store.claim_many(claims)]

        assert answers == [Answer.WANTED, *[Answer.BUSY] * 4]

    def test_store_breaks_the_leases_of_a_dead_holder(self, store: Store, session: str) -> None:
        dead = message(session, "a", targets=(f"/{session}/x",), holder="p/1")
        other = message(session, "b", targets=(f"/{session}/x",), holder="q/1")
        store.claim(Claim(message=dead))

        assert store.claim(Claim(message=other, breaks="p/1")).answer is Answer.WANTED

        assert store.renew([dead, other]) == [dead]
        store.settle(Outcome(message=dead))
        assert store.claim(Claim(message=dead, again=True)) == Verdict(Answer.BUSY, "q/1")

    def test_store_gives_leases_back_without_an_outcome(self, store: Store, session: str) -> None:
        first = message(session, "a", targets=(f"/{session}/x",), holder="p/1")
        other = message(session, "b", targets=(f"/{session}/x",), holder="q/1")
        store.claim(Claim(message=first))
        store.note_start(first)

        store.release([other])
        assert store.claim(Claim(message=other)).answer is Answer.BUSY
        store.release([first])

        assert store.claim(Claim(message=other)).answer is Answer.WANTED
        assert store.note_start(first) == 1
        assert store.progress("bank", session).done is None

    def test_store_counts_how_often_a_message_was_begun(self, store: Store, session: str) -> None:
        assert [store.note_start(message(session, "a")) for _ in range(3)] == [1, 2, 3]
        assert store.note_start(message(session, "b")) == 1
        assert store.note_start(message("never opened")) == 0

    def test_store_ends_a_lease_that_nobody_renews(
        self, store: Store, session: str, short_leases: None
    ) -> None:
        kept = message(session, "a", targets=(f"/{session}/kept",), holder="p/1")
        left = message(session, "b", targets=(f"/{session}/left",), holder="p/2")
        others = [
            message(session, "c", targets=(f"/{session}/kept",), holder="q/1"),
            message(session, "d", targets=(f"/{session}/left",), holder="q/2"),
        ]
        store.claim_many([Claim(message=kept), Claim(message=left)])
        for _ in range(6):
            time.sleep(0.25)
            assert store.renew([kept]) == []

        answers = [store.claim(Claim(message=other)).answer for other in others]

        assert answers == [Answer.BUSY, Answer.WANTED]

    def test_store_keeps_an_error_that_is_no_valid_text(self, store: Store, session: str) -> None:
        store.settle(outcome(session, "a", error="caf\udce9.gz: missing"))
        store.settle(outcome(session, "b", error=""))

        assert store.pop_errors("bank", session) == ["caf\\udce9.gz: missing", "unknown error"]

    def test_store_forgets_an_outcome_whose_session_is_gone(self, store: Store) -> None:
        assert not store.settle(outcome("never opened", "a", error="lost", files=b"x"))

        assert store.progress("bank", "never opened") == Progress(None, None, is_open=False)
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

    def test_store_answers_at_once_when_there_is_no_session(self, store: Store) -> None:
        progress = store.wait_for_progress("bank", "never opened", after=0, timeout_seconds=60)

        assert progress == Progress(None, None, is_open=False)

    def test_store_answers_when_the_time_is_up(self, store: Store, session: str) -> None:
        started = time.monotonic()

        progress = store.wait_for_progress("bank", session, after=0, timeout_seconds=0.1)

        assert progress == Progress(None, None)
        assert 0.1 <= time.monotonic() - started < 5

    def test_store_answers_a_ping(self, store: Store) -> None:
        store.ping()
