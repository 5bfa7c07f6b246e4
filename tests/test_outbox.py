from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from biomaj_download.outbox import Outbox
from biomaj_download.store.base import Message, Outcome


def outcome(holder: str, **changes: object) -> Outcome:
    message = Message(
        bank="bank", session="one", key="a", is_unique=False, targets=("/db/x",), holder=holder
    )
    return Outcome(message=message, **changes)  # type: ignore[arg-type]


def test_outcomes_outlive_who_put_them_there(tmp_path: Path):
    outcomes = [
        outcome("p/1"),
        outcome("p/2", error="café.gz: lost"),
        outcome("p/3", files=b"\x00\xff"),
        outcome("p/4", files=b""),
    ]
    Outbox(tmp_path / "state").put(outcomes)
    Outbox(tmp_path / "state").put(outcomes[:1])

    left = Outbox(tmp_path / "state").left()
    assert sorted(left, key=lambda one: one.message.holder) == outcomes
    Outbox(tmp_path / "state").remove(outcomes[:3])
    assert Outbox(tmp_path / "state").left() == outcomes[3:]


def test_an_error_that_is_no_text_is_kept_as_one(tmp_path: Path):
    Outbox(tmp_path).put([outcome("p/1", error="caf\udce9.gz: lost")])

    (left,) = Outbox(tmp_path).left()
    assert left.error == "caf\\udce9.gz: lost"


def test_nothing_is_made_before_it_is_needed(tmp_path: Path):
    outbox = Outbox(tmp_path / "state")

    outbox.remove([outcome("p/1")])

    assert outbox.left() == []
    assert not (tmp_path / "state").exists()


def test_a_folder_that_cannot_be_made_is_told_and_costs_no_more(tmp_path: Path, caplog):
    (tmp_path / "state").write_text("no folder")
    outbox = Outbox(tmp_path / "state")

    outbox.put([outcome("p/1")])

    assert "outcomes not kept" in caplog.text


@pytest.mark.parametrize("content", [b"no database", b"\xff" * 5000])
def test_a_file_that_is_no_outbox_is_told_and_costs_no_more(tmp_path: Path, caplog, content):
    (tmp_path / "outcomes.sqlite").write_bytes(content)
    outbox = Outbox(tmp_path)

    assert outbox.left() == []
    outbox.put([outcome("p/1")])
    outbox.remove([outcome("p/1")])

    assert "not readable" in caplog.text


def test_a_row_that_means_nothing_is_told_and_costs_no_more(tmp_path: Path, caplog):
    outbox = Outbox(tmp_path)
    outbox.put([outcome("p/1")])
    with closing(sqlite3.connect(tmp_path / "outcomes.sqlite")) as database, database:
        database.execute("UPDATE outcome SET body = '{}'")

    assert outbox.left() == []
    assert "not readable" in caplog.text


def test_a_folder_that_may_not_be_entered_costs_no_more(tmp_path: Path, caplog, monkeypatch):
    def refuse(_: Path) -> bool:
        raise PermissionError("refused")

    monkeypatch.setattr(Path, "exists", refuse)
    outbox = Outbox(tmp_path)

    outbox.remove([outcome("p/1")])

    assert outbox.left() == []
    assert "refused" in caplog.text
