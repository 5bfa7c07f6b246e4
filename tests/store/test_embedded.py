from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from biomaj_download.errors import StoreError
from biomaj_download.store import embedded, embedded_steps
from biomaj_download.store.base import Store
from biomaj_download.store.embedded import EmbeddedStore
from tests.contract.store import StoreContract, assert_each_is_seen, outcome

_KILLED = """
import os, sys
from pathlib import Path
from biomaj_download.store.base import Message, Outcome
from biomaj_download.store.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.settle(Outcome(message=Message(bank="bank", session=sys.argv[2], key="a")))
os.kill(os.getpid(), 9)
"""


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = EmbeddedStore(tmp_path / "sessions.sqlite")
        yield store
        store.close()

    @pytest.fixture
    def no_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded, "LOOK_SECONDS", 60)

    @pytest.fixture
    def short_leases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded_steps, "LEASE_SECONDS", 1)


@pytest.fixture
def two_stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """The stores of two processes."""
    path = tmp_path / "sessions.sqlite"
    stores = EmbeddedStore(path), EmbeddedStore(path)
    yield stores
    for store in stores:
        store.close()


def test_what_another_process_settles_is_seen(two_stores) -> None:
    ours, theirs = two_stores
    session = ours.create_session("bank")

    assert_each_is_seen(ours, session, lambda key: theirs.settle(outcome(session, key)))


def test_processes_that_settle_at_once_count_each_message_once(two_stores) -> None:
    session = two_stores[0].create_session("bank")
    settlings = [
        (store, outcome(session, str(number))) for number in range(100) for store in two_stores
    ]

    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda settling: settling[0].settle(settling[1]), settlings))

    assert sum(counted) == 100
    assert two_stores[1].progress("bank", session).done == 100


def test_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        stores = list(pool.map(EmbeddedStore, [tmp_path / "sessions.sqlite"] * 16))

    for store in stores:
        store.close()


def test_a_full_disk_is_an_error_and_no_more(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "sessions.sqlite")
    session = store.create_session("bank")
    store._file._database.execute("PRAGMA max_page_count=1")

    with pytest.raises(StoreError, match="full"):
        store.settle(outcome(session, "a", error="x" * 100_000))
    store._file._database.execute("PRAGMA max_page_count=1000000")

    assert store.settle(outcome(session, "a"))
    assert store.progress("bank", session).done == 1
    store.close()


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database" * 1000)

    with pytest.raises(StoreError, match=r"notes\.txt"):
        EmbeddedStore(path)


def test_what_a_killed_process_stored_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    store = EmbeddedStore(path)
    session = store.create_session("bank")

    done = subprocess.run([sys.executable, "-c", _KILLED, path, session], check=False, timeout=60)

    assert done.returncode == -9
    assert store.progress("bank", session).done == 1
    assert not store.settle(outcome(session, "a"))
    store.close()


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        EmbeddedStore(tmp_path / "nowhere" / "sessions.sqlite")


def test_what_another_process_sees_of_a_file_that_is_opened_twice_here(tmp_path: Path) -> None:
    """Closing any descriptor of a file ends all locks of a process on it (fcntl(2))."""
    path = tmp_path / "sessions.sqlite"
    count = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]);"
        "print(database.execute('SELECT count(*) FROM session').fetchone()[0]); database.close()"
    )

    def counted() -> int:
        told = subprocess.run([sys.executable, "-c", count, path], capture_output=True, check=True)
        return int(told.stdout)

    with closing(EmbeddedStore(path)) as store, closing(EmbeddedStore(path)):
        store.create_session("bank")
        assert counted() == 1
        store.create_session("bank")
        assert counted() == 2
