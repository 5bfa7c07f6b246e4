from __future__ import annotations

import uuid

import pytest
import redis

from biomaj_download.errors import StoreError
from biomaj_download.settings import RedisSettings, Settings, StoreSettings
from biomaj_download.store import activity_embedded, activity_redis
from biomaj_download.store.activity_embedded import EmbeddedActivity
from biomaj_download.store.activity_redis import RedisActivity
from biomaj_download.store.embedded import EmbeddedStore
from biomaj_download.store.opening import open_activity
from biomaj_download.store.redis import RedisStore
from tests.contract.activity import ActivityContract, ended, names, pulse


@pytest.fixture
def prefix() -> str:
    return f"activity-{uuid.uuid4().hex}"


@pytest.fixture
def redis_settings(redis_server, prefix) -> RedisSettings:
    return RedisSettings(host=redis_server.host, port=redis_server.port, prefix=prefix)


class TestRedisActivity(ActivityContract):
    @pytest.fixture
    def store(self, redis_settings):
        store = RedisStore(redis_settings)
        yield store
        store.close()

    @pytest.fixture
    def activity(self, redis_settings):
        activity = RedisActivity(redis_settings)
        yield activity
        activity.close()

    def test_a_search_goes_on_where_it_stopped(self, activity, session, monkeypatch):
        monkeypatch.setattr(activity_redis, "MOST_SEARCHED", 3)
        monkeypatch.setattr(activity_redis, "_SEARCH_STEP", 2)
        activity.tell(pulse(), [ended(session, number) for number in range(8)], {})

        found, offset = [], 0
        while offset is not None:
            page = activity.files(
                "bank", session, state=None, search="file1", offset=offset, limit=1
            )
            found += names(page.files)
            offset = page.next_offset

        assert found == ["file1.gz"]

    def test_nothing_is_kept_for_ever(self, activity, session, redis_server, prefix):
        activity.tell(pulse(), [ended(session, 1, "lost")], {("bank", session): 1})

        with redis.Redis(host=redis_server.host, port=redis_server.port) as raw:
            lasting = {
                key.decode().removeprefix(prefix)
                for key in raw.scan_iter(f"{prefix}:*")
                if raw.ttl(key) < 0
            }
        assert lasting == {f":bank:session:{session}", ":download:sessions", ":download:pulses"}

    def test_a_session_that_an_old_service_closed_is_listed_no_more(
        self, activity, session, redis_server, prefix
    ):
        with redis.Redis(host=redis_server.host, port=redis_server.port) as raw:
            raw.delete(f"{prefix}:bank:session:{session}")

        assert activity.sessions(None, offset=0, limit=10) == ([], 0)

    def test_a_server_that_is_away_is_named(self):
        activity = RedisActivity(RedisSettings(host="127.0.0.1", port=1))

        with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
            activity.pulses()


class TestEmbeddedActivity(ActivityContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = EmbeddedStore(tmp_path / "sessions.sqlite")
        yield store
        store.close()

    @pytest.fixture
    def activity(self, tmp_path):
        settings = Settings(store=StoreSettings(url=f"sqlite:{tmp_path}/sessions.sqlite"))
        activity = open_activity(settings)
        yield activity
        activity.close()

    def test_it_forgets_the_oldest(self, activity, session, monkeypatch):
        monkeypatch.setattr(activity_embedded, "MOST_ENDED", 2)
        activity.tell(pulse(), [ended(session, number) for number in range(5)], {})

        page = activity.files("bank", session, state=None, search="", offset=0, limit=9)

        assert names(page.files) == ["file4.gz", "file3.gz"]

    def test_a_file_that_is_none_is_named(self, tmp_path):
        (tmp_path / "text").write_text("no database" * 100)

        with pytest.raises(StoreError, match="text"):
            EmbeddedActivity(tmp_path / "text")
