from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from biomaj_download.errors import StoreError
from biomaj_download.store.base import Store
from biomaj_download.store.embedded import EmbeddedStore
from tests.contract.store import StoreContract, outcome

_KILLED = """
import os, sys
from pathlib import Path
from biomaj_download.store.base import Outcome
from biomaj_download.store.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.settle(Outcome(bank="bank", session=sys.argv[2], message_key="a"))
os.kill(os.getpid(), 9)
"""


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = EmbeddedStore(tmp_path / "sessions.sqlite")
        yield store
        store.close()


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
