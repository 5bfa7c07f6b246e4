"""What every store of activity does; subclass it with the fixtures `store` and `activity`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from biomaj_download.store.activity import (
    Activity,
    Consumer,
    EndedFile,
    HostState,
    Pulse,
    Queued,
    RunningFile,
)
from biomaj_download.store.base import Store
from tests.contract.store import outcome

NOON = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


def pulse(name: str = "host:1") -> Pulse:
    consumer = Consumer(
        name=name, host="host", process_id=1, slots=4, running=1, started_at=NOON, seen_at=NOON
    )
    running = RunningFile(
        bank="bank",
        session="s",
        name="a.gz",
        host="https://h",
        protocol="https",
        attempt=2,
        received_bytes=5,
        size_bytes=None,
        bytes_per_second=1.5,
        begun_at=NOON,
        consumer=name,
    )
    host = HostState(
        name="https://h",
        consumer=name,
        limit=2,
        configured=4,
        connections=1,
        waiting=3,
        paused_seconds=0,
    )
    queued = Queued(bank="bank", session="s", waiting=7, running=1)
    return Pulse(consumer=consumer, running=(running,), hosts=(host,), queued=(queued,))


def ended(session: str, number: int, error: str | None = None) -> EndedFile:
    return EndedFile(
        bank="bank",
        session=session,
        name=f"file{number}.gz",
        host="https://h",
        state="failed" if error else "done",
        size_bytes=number,
        seconds=0.5,
        ended_at=NOON + timedelta(seconds=number),
        code="stalled" if error else None,
        error=error,
    )


def names(files: Sequence[EndedFile]) -> list[str]:
    return [file.name for file in files]


class ActivityContract:
    @pytest.fixture
    def session(self, store: Store) -> str:
        return store.create_session("bank")

    def test_a_consumer_is_seen_until_it_ends(self, activity: Activity):
        activity.tell(pulse("host:2"), [], {})
        activity.tell(pulse("host:1"), [], {})
        activity.tell(pulse("host:1"), [], {})

        assert activity.pulses() == [pulse("host:1"), pulse("host:2")]

        activity.forget_consumer("host:1")
        assert activity.pulses() == [pulse("host:2")]

    def test_a_session_tells_counts_and_bytes(self, activity, store, session):
        store.settle(outcome(session, "a"))
        store.settle(outcome(session, "b", error="lost"))
        activity.tell(pulse(), [ended(session, 1)], {("bank", session): 40})
        activity.tell(pulse(), [], {("bank", session): 2})
        activity.expect("bank", session, 9)

        told = activity.session("bank", session)

        assert (told.done, told.failed, told.expected, told.received_bytes) == (1, 1, 9, 42)
        assert told.opened_at <= told.changed_at
        assert sum(activity.speed()) == 42
        assert len(activity.speed()) == 360

    def test_sessions_are_listed_by_bank_and_by_page(self, activity, store):
        keys = [(bank, store.create_session(bank)) for bank in ("x", "y", "x")]
        for key in keys:
            activity.tell(pulse(), [], {key: 1})

        listed, total = activity.sessions(None, offset=0, limit=2)
        others, _ = activity.sessions(None, offset=2, limit=2)
        of_bank, of_bank_total = activity.sessions("x", offset=0, limit=10)

        assert total == 3
        assert {(each.bank, each.session) for each in [*listed, *others]} == set(keys)
        assert {each.session for each in of_bank} == {keys[0][1], keys[2][1]}
        assert of_bank_total == 2

    def test_files_come_newest_first_by_page(self, activity, session):
        activity.tell(pulse(), [ended(session, number) for number in range(5)], {})

        first = activity.files("bank", session, state=None, search="", offset=0, limit=3)
        last = activity.files("bank", session, state=None, search="", offset=3, limit=3)

        assert names(first.files) == ["file4.gz", "file3.gz", "file2.gz"]
        assert (first.total, first.next_offset) == (5, 3)
        assert names(last.files) == ["file1.gz", "file0.gz"]
        assert last.next_offset is None

    def test_files_are_found_by_state_and_text(self, activity, session):
        failures = {2: "Timed OUT", 4: "gone"}
        files = [ended(session, number, failures.get(number)) for number in range(6)]
        activity.tell(pulse(), files, {})

        def found(state: str | None, search: str) -> list[str]:
            page = activity.files("bank", session, state=state, search=search, offset=0, limit=10)
            return names(page.files)

        assert found("failed", "") == ["file4.gz", "file2.gz"]
        assert found("done", "") == ["file5.gz", "file3.gz", "file1.gz", "file0.gz"]
        assert found(None, "timed out") == ["file2.gz"]
        assert found("failed", "FILE4") == ["file4.gz"]
        assert found("failed", "bank") == []

    @pytest.mark.parametrize("text", ['a "b" c', "a\\b", "a\tb", "Größe", "生物", "\u2028"])
    def test_any_text_of_an_error_is_found_in_any_case(self, activity, session, text):
        files = [ended(session, 1, f"1: {text}!"), ended(session, 2, "2: other")]
        activity.tell(pulse(), files, {})

        page = activity.files(
            "bank", session, state="failed", search=text.swapcase(), offset=0, limit=10
        )
        everywhere = activity.errors(bank=None, search=text, offset=0, limit=10)

        assert names(page.files) == names(everywhere.files) == ["file1.gz"]

    def test_errors_are_found_in_all_sessions(self, activity, store, session):
        other = store.create_session("bank")
        activity.tell(pulse(), [ended(session, 1, "lost"), ended(other, 2, "gone")], {})
        activity.tell(pulse(), [ended(session, 3)], {})

        everything = activity.errors(bank=None, search="", offset=0, limit=10)
        gone = activity.errors(bank="bank", search="gone", offset=0, limit=10)
        none = activity.errors(bank="other", search="", offset=0, limit=10)

        assert names(everything.files) == ["file2.gz", "file1.gz"]
        assert names(gone.files) == ["file2.gz"]
        assert not none.files

    def test_all_goes_with_the_session(self, activity, store, session):
        activity.tell(pulse(), [ended(session, 1, "lost")], {("bank", session): 1})
        store.delete_session("bank", session)
        activity.tell(pulse(), [ended(session, 2, "late")], {("bank", session): 1})
        activity.expect("bank", session, 5)

        assert activity.session("bank", session) is None
        assert activity.sessions(None, offset=0, limit=10) == ([], 0)
        page = activity.files("bank", session, state=None, search="", offset=0, limit=10)
        assert not page.files
        assert not activity.errors(bank=None, search="", offset=0, limit=10).files
