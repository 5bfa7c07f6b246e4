from __future__ import annotations

import subprocess
import sys

import pytest

from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings, StoreSettings
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.store.opening import open_store
from biomaj_download.store.redis import RedisStore


def test_redis_is_the_store_where_nothing_is_said():
    store = open_store(Settings())

    assert isinstance(store, RedisStore)
    store.close()


def test_a_file_is_the_store_where_it_is_named(tmp_path):
    store = open_store(Settings(store=StoreSettings(url=f"sqlite:{tmp_path / 'sessions.sqlite'}")))

    assert isinstance(store, EmbeddedStore)
    store.close()


@pytest.mark.parametrize("url", ["sqlite:", "redis://:secret@host", "sessions.sqlite"])
def test_another_url_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match=r"store\.url: expected sqlite:PATH") as caught:
        open_store(Settings(store=StoreSettings(url=url)))

    assert "secret" not in str(caught.value)


def test_a_file_is_opened_without_the_redis_library(tmp_path):
    script = """
import sys
from biomaj_download.settings import Settings, StoreSettings
from biomaj_download.store.opening import open_store
open_store(Settings(store=StoreSettings(url=f"sqlite:{sys.argv[1]}"))).close()
assert "redis" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "sessions.sqlite"], check=True, timeout=60
    )
