from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from biomaj_download.errors import StoreError
from biomaj_download.settings import RedisSettings
from biomaj_download.store import redis as redis_room
from biomaj_download.store import redis_scripts as scripts
from biomaj_download.store.base import Store
from biomaj_download.store.redis import RedisStore
from tests.contract.store import StoreContract, assert_each_is_seen, outcome


@pytest.fixture
def raw(redis_server) -> Iterator[redis.Redis]:
    client = redis.Redis(host=redis_server.host, port=redis_server.port)
    yield client
    client.close()


@pytest.fixture
def store(redis_server) -> Iterator[Store]:
    store = RedisStore(
        RedisSettings(host=redis_server.host, port=redis_server.port, prefix="tests")
    )
    yield store
    store.close()


class TestRedisStore(StoreContract):
    @pytest.fixture
    def no_looks(self, monkeypatch) -> None:
        monkeypatch.setattr(redis_room, "FIRST_LOOK_SECONDS", 60)
        monkeypatch.setattr(redis_room, "LONGEST_LOOK_SECONDS", 60)

    @pytest.fixture
    def short_leases(self, store, monkeypatch) -> None:
        for name in ("claim", "renew"):
            script = getattr(scripts, name.upper()).replace("'EX', 30", "'EX', 1")
            monkeypatch.setattr(store, f"_{name}", store._redis.register_script(script))


def test_redis_store_uses_the_keys_that_biomaj_services_share(store, raw) -> None:
    session = store.create_session("bank")
    key = f"tests:bank:session:{session}"

    store.settle(outcome(session, "a", error="first"))
    store.settle(outcome(session, "b", error="second", files=b"list"))

    assert raw.get(key) == b"1"
    assert raw.get(f"{key}:progress") == b"2"
    assert raw.get(f"{key}:error") == b"2"
    assert raw.lrange(f"{key}:error:info", 0, -1) == [b"second", b"first"]
    assert raw.get(f"{key}:files") == b"list"


def test_redis_store_leaves_nothing_when_an_old_client_cleans_five_keys(store, raw) -> None:
    session = store.create_session("bank")
    key = f"tests:bank:session:{session}"
    store.settle(outcome(session, "a", error="lost", files=b"list"))

    raw.delete(*(key + suffix for suffix in ("", ":progress", ":error", ":error:info", ":files")))

    left = raw.keys(f"{key}*")
    assert all(raw.ttl(name) > 0 for name in left)
    store.delete_session("bank", session)
    assert raw.keys(f"{key}*") == []


def test_redis_store_remembers_for_a_time_only_where_an_old_consumer_counts_too(store, raw) -> None:
    session = store.create_session("bank")
    key = f"tests:bank:session:{session}"
    raw.incr(f"{key}:progress")

    store.settle(outcome(session, "a"))

    assert raw.ttl(f"{key}:settled") > 24 * 3600
    store.delete_session("bank", session)


def test_redis_store_remembers_as_long_as_messages_come(store, raw) -> None:
    session = store.create_session("bank")
    settled = f"tests:bank:session:{session}:settled"
    store.settle(outcome(session, "a"))
    raw.expire(settled, 60)

    store.settle(outcome(session, "b"))

    assert raw.ttl(settled) > 24 * 3600
    store.delete_session("bank", session)


def test_redis_store_sees_what_an_old_consumer_counts(store, raw) -> None:
    session = store.create_session("bank")
    progress = f"tests:bank:session:{session}:progress"

    assert_each_is_seen(store, session, lambda _: raw.incr(progress), within_seconds=3)

    store.delete_session("bank", session)


def test_redis_store_settles_on_when_redis_was_away(store, raw, redis_server) -> None:
    session = store.create_session("bank")
    store.settle(outcome(session, "a"))
    lost = outcome(session, "b")

    redis_server.stop()
    with pytest.raises(StoreError, match=str(redis_server.port)):
        store.settle(lost)
    redis_server.start()
    raw.script_flush()

    assert store.settle(lost)
    assert store.progress("bank", session).done == 2
    store.delete_session("bank", session)


def test_redis_store_uses_no_connection_that_redis_has_closed(store, raw) -> None:
    store.ping()

    raw.client_kill_filter(_type="normal", skipme=True)

    store.ping()


def test_redis_store_names_the_server_that_is_away() -> None:
    store = RedisStore(RedisSettings(host="127.0.0.1", port=1))

    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        store.ping()
    store.close()
