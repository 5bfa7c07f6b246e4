"""Sessions in Redis, under the keys that BioMAJ's services share.

`<prefix>:<bank>:session:<id>` is 1; `:progress`, `:error`, `:error:info` and `:files` lie under
it, and the hash `:settled`, which is ours: the messages that are counted. An old client cleans
the first five alone, so ours expires.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
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

#: For each outcome two KEYS: session, settled; and five ARGV: message key, token or '' for a
#: message that counts once, error or '', has files (1), files.
_SETTLE = f"""
local function settle(session, settled, message, token, failure, has_files, files)
  if redis.call('EXISTS', session) == 0 then return 0 end
  if token == '' then
    if redis.call('HSETNX', settled, message, 1) == 0 then return 0 end
  else
    if redis.call('HSETNX', settled, message .. ':' .. token, 1) == 0 then return 0 end
    redis.call('HSETNX', settled, message, 1)
  end
  if redis.call('TTL', settled) < {SETTLED_SECONDS // 2} then
    redis.call('EXPIRE', settled, {SETTLED_SECONDS})
  end
  if has_files == '1' then redis.call('SET', session .. ':files', files) end
  if failure ~= '' then
    redis.call('INCR', session .. ':error')
    redis.call('LPUSH', session .. ':error:info', failure)
  end
  redis.call('PUBLISH', session .. ':news', redis.call('INCR', session .. ':progress'))
  return 1
end
local counted = {{}}
for number = 1, #KEYS / 2 do
  local key, argument = 2 * number, 5 * number
  counted[number] = settle(KEYS[key - 1], KEYS[key], unpack(ARGV, argument - 4, argument))
end
return counted
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

    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store and count outcomes in one round trip."""
        keys: list[str] = []
        arguments: list[str | bytes] = []
        for outcome in outcomes:
            key = self._key(outcome.bank, outcome.session)
            keys += [key, f"{key}:settled"]
            arguments += [
                outcome.message_key,
                "" if outcome.counts_once else outcome.token,
                outcome.error_text or "",
                "" if outcome.files is None else "1",
                outcome.files or b"",
            ]
        with self._mapped():
            return [bool(counted) for counted in self._settle(keys=keys, args=arguments)]

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
