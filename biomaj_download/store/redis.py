"""Sessions in Redis, under the keys that BioMAJ's services share.

`<prefix>:<bank>:session:<id>` is 1; `:progress`, `:error`, `:error:info` and `:files` lie under
it, and the hash `:settled`, which is ours: the messages that are counted. An old client cleans
the first five alone, so ours expires.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from biomaj_download.errors import StoreError
from biomaj_download.settings import RedisSettings
from biomaj_download.store.base import Outcome, Progress, Store

#: What is settled is remembered so long after the last message: longer than any queue holds one.
SETTLED_SECONDS = 14 * 24 * 3600
#: An old consumer counts without telling, so a waiting client looks too: soon at first, then less
#: often.
FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.5
LOOK_GROWTH = 1.5
_SOCKET_TIMEOUT_SECONDS = 10
#: A connection that was idle for so long is tried before it is used: a firewall may have cut it.
_HEALTH_CHECK_SECONDS = 30
_CONNECTIONS = 256

#: KEYS: session, settled. ARGV: message key, token or '' for a message that counts once, error or
#: '', has files (1), files.
_SETTLE = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] == '' then
  if redis.call('HSETNX', KEYS[2], ARGV[1], 1) == 0 then return 0 end
else
  if redis.call('HSETNX', KEYS[2], ARGV[1] .. ':' .. ARGV[2], 1) == 0 then return 0 end
  redis.call('HSETNX', KEYS[2], ARGV[1], 1)
end
if redis.call('TTL', KEYS[2]) < {SETTLED_SECONDS // 2} then
  redis.call('EXPIRE', KEYS[2], {SETTLED_SECONDS})
end
if ARGV[4] == '1' then redis.call('SET', KEYS[1] .. ':files', ARGV[5]) end
if ARGV[3] ~= '' then
  redis.call('INCR', KEYS[1] .. ':error')
  redis.call('LPUSH', KEYS[1] .. ':error:info', ARGV[3])
end
redis.call('PUBLISH', KEYS[1] .. ':news', redis.call('INCR', KEYS[1] .. ':progress'))
return 1
"""


class RedisStore(Store):
    """Sessions on a Redis server, shared by all machines of a site."""

    def __init__(self, settings: RedisSettings) -> None:
        self._prefix = settings.prefix
        self._server = f"redis {settings.host}:{settings.port}"
        password = settings.password.get_secret_value() if settings.password else None
        pool: Any = redis.BlockingConnectionPool  # its arguments are not annotated
        self._redis: Any = redis.Redis(
            connection_pool=pool(
                host=settings.host,
                port=settings.port,
                db=settings.db,
                password=password,
                max_connections=_CONNECTIONS,
                timeout=_SOCKET_TIMEOUT_SECONDS,
                socket_timeout=_SOCKET_TIMEOUT_SECONDS,
                socket_connect_timeout=_SOCKET_TIMEOUT_SECONDS,
                socket_keepalive=True,
                health_check_interval=_HEALTH_CHECK_SECONDS,
                protocol=2,
            )
        )
        self._settle: Any = self._redis.register_script(_SETTLE)

    def create_session(self, bank: str) -> str:
        """Open a session and return its id."""
        session = str(uuid.uuid4())
        with self._mapped():
            self._redis.set(self._key(bank, session), 1)
        return session

    def delete_session(self, bank: str, session: str) -> None:
        """Forget a session and all that is under it."""
        key = self._key(bank, session)
        suffixes = ("", ":progress", ":error", ":error:info", ":files", ":settled")
        with self._mapped():
            self._redis.delete(*(key + suffix for suffix in suffixes))

    def has_session(self, bank: str, session: str) -> bool:
        """Say whether the session is still open."""
        with self._mapped():
            return bool(self._redis.exists(self._key(bank, session)))

    def is_settled(self, bank: str, session: str, message_key: str) -> bool:
        """Say whether an outcome of this message is stored already."""
        with self._mapped():
            return bool(self._redis.hexists(f"{self._key(bank, session)}:settled", message_key))

    def settle(self, outcome: Outcome) -> bool:
        """Store and count an outcome in one round trip."""
        key = self._key(outcome.bank, outcome.session)
        has_files = outcome.files is not None
        with self._mapped():
            counted = self._settle(
                keys=[key, f"{key}:settled"],
                args=[
                    outcome.message_key,
                    "" if outcome.counts_once else outcome.token,
                    outcome.error_text or "",
                    int(has_files),
                    outcome.files if has_files else b"",
                ],
            )
        return bool(counted)

    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""
        key = self._key(bank, session)
        with self._mapped():
            done, errors = self._redis.mget(f"{key}:progress", f"{key}:error")
        return Progress(_number(done), _number(errors))

    def wait_for_progress(
        self, bank: str, session: str, *, after: int, timeout_seconds: float
    ) -> Progress:
        """Return when progress is above `after`: the settling script publishes the news."""
        deadline = time.monotonic() + timeout_seconds
        progress = self.progress(bank, session)
        if (progress.done or 0) > after or timeout_seconds <= 0:
            return progress
        look_seconds = FIRST_LOOK_SECONDS
        with self._mapped(), self._redis.pubsub(ignore_subscribe_messages=False) as news:
            news.subscribe(f"{self._key(bank, session)}:news")
            while True:
                # The first message is the confirmation: from then on no news is missed.
                left_seconds = max(deadline - time.monotonic(), 0)
                news.get_message(timeout=min(left_seconds, look_seconds))
                progress = self.progress(bank, session)
                if (progress.done or 0) > after or time.monotonic() >= deadline:
                    return progress
                look_seconds = min(look_seconds * LOOK_GROWTH, LONGEST_LOOK_SECONDS)

    def pop_errors(self, bank: str, session: str) -> list[str]:
        """Return the errors of a session, oldest first, and forget them."""
        key = f"{self._key(bank, session)}:error:info"
        with self._mapped(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lrange(key, 0, -1)
            pipeline.delete(key)
            newest_first, _ = pipeline.execute()
        return [text.decode("utf-8", "replace") for text in reversed(newest_first)]

    def file_list(self, bank: str, session: str) -> bytes | None:
        """Return the serialized FileList of a LIST request."""
        with self._mapped():
            body: bytes | None = self._redis.get(f"{self._key(bank, session)}:files")
        return body

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._mapped():
            self._redis.ping()

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _key(self, bank: str, session: str) -> str:
        return f"{self._prefix}:{bank}:session:{session}"

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreError(f"{self._server}: {error}") from error


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
