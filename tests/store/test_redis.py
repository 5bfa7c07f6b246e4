from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from biomaj_download.errors import StoreError
from biomaj_download.settings import RedisSettings
from biomaj_download.store import redis as redis_room
from biomaj_download.store import redis_scripts as scripts
from biomaj_download.store.base import Store
from biomaj_download.store.redis import RedisStore
from tests.contract.store import StoreContract, assert_each_is_seen, outcome
from tests.servers.process import poll
from tests.servers.redis import RedisServer
from tests.servers.swallower import Swallower


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


class Name(Swallower):
    """A server's name, which may lead to another one from some moment on."""

    def lead_to(self, port: int) -> None:
        self._target = (self.host, port)


def test_redis_store_leaves_a_server_that_became_a_replica() -> None:
    """As after FAILOVER, or behind a name that leads to the primary: nobody cuts connections."""
    with (
        RedisServer() as old,
        RedisServer() as new,
        Name(old.port) as name,
        closing(redis.Redis(host=old.host, port=old.port)) as first,
        closing(redis.Redis(host=new.host, port=new.port)) as second,
        closing(RedisStore(RedisSettings(host=name.host, port=name.port, prefix="tests"))) as store,
    ):
        session = store.create_session("bank")
        store.settle(outcome(session, "a"))
        first.config_set("repl-diskless-sync-delay", 0)
        second.replicaof(old.host, old.port)
        for _ in poll(20):
            if second.info("replication")["master_link_status"] == "up":
                break
        assert second.get(f"tests:bank:session:{session}:progress") == b"1"
        second.replicaof("NO", "ONE")
        first.replicaof(new.host, new.port)
        name.lead_to(new.port)

        with pytest.raises(StoreError, match="replica"):
            store.settle(outcome(session, "b"))
        store.settle(outcome(session, "b"))

        assert store.progress("bank", session).done == 2
        assert second.get(f"tests:bank:session:{session}:progress") == b"2"


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
