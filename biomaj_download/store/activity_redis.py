"""What people want to see of the service, on Redis.

Under a session's key: `:activity`, a hash (opened_at, changed_at, expected, bytes), and two lists
of JSON, newest first: `:ended`, all files that ended, and `:failed`. Under `<prefix>:download:`
`sessions`, open sessions by the time of their opening; `pulse:NAME`, a consumer; `pulses`, their
names; `speed:BUCKET`, bytes. All but the two sets run out by themselves.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

from biomaj_download.settings import RedisSettings
from biomaj_download.store.activity import (
    BUCKET_SECONDS,
    BUCKETS,
    MOST_ENDED,
    MOST_FAILED,
    MOST_SEARCHED,
    MOST_SESSIONS_SEARCHED,
    PULSE_SECONDS,
    Activity,
    EndedFile,
    Page,
    Pulse,
    Session,
    SessionKey,
    State,
    bucket_now,
    instant,
    page,
)
from biomaj_download.store.redis_connection import connected, mapped_errors
from biomaj_download.store.redis_scripts import SETTLED_SECONDS, session_key

#: So many open sessions are listed.
MOST_SESSIONS = 10_000
#: What is left under the key of a session, besides its own keys.
SUFFIXES = (":activity", ":ended", ":failed")
_SEARCH_STEP = 1000

#: Of each session: its key and its name in the index; then now, bytes, how many files follow, and
#: each file's state and JSON. The first key is the index.
_TELL = f"""
local at = 0
local function next_argument() at = at + 1 return ARGV[at] end
for number = 2, #KEYS do
  local session, member = KEYS[number], next_argument()
  local now, bytes, files = next_argument(), next_argument(), tonumber(next_argument())
  local is_open = redis.call('EXISTS', session) == 1
  for _ = 1, files do
    local state, file = next_argument(), next_argument()
    if is_open then
      redis.call('LPUSH', session .. ':ended', file)
      if state == 'failed' then redis.call('LPUSH', session .. ':failed', file) end
    end
  end
  if is_open then
    redis.call('LTRIM', session .. ':ended', 0, {MOST_ENDED - 1})
    redis.call('LTRIM', session .. ':failed', 0, {MOST_FAILED - 1})
    redis.call('HINCRBY', session .. ':activity', 'bytes', bytes)
    redis.call('HSETNX', session .. ':activity', 'opened_at', now)
    redis.call('HSET', session .. ':activity', 'changed_at', now)
    for _, suffix in ipairs({{':activity', ':ended', ':failed'}}) do
      redis.call('EXPIRE', session .. suffix, {SETTLED_SECONDS})
    end
    redis.call('ZADD', KEYS[1], 'NX', now, member)
  end
end
"""

#: The session's key; a field of its hash and the value.
_NOTE = f"""
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1] .. ':activity', ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1] .. ':activity', {SETTLED_SECONDS})
end
"""


class RedisActivity(Activity):
    """Activity on the Redis server that keeps the sessions."""

    def __init__(self, settings: RedisSettings) -> None:
        self._prefix = settings.prefix
        self._own = f"{settings.prefix}:download:"
        self._mapped = mapped_errors(settings)
        self._redis = connected(settings)
        self._tell: Any = self._redis.register_script(_TELL)
        self._note: Any = self._redis.register_script(_NOTE)

    def tell(
        self, pulse: Pulse, ended: Sequence[EndedFile], moved: Mapping[SessionKey, int]
    ) -> None:
        """Tell all in two round trips."""
        files: dict[SessionKey, list[EndedFile]] = defaultdict(list)
        for file in ended:
            files[file.bank, file.session].append(file)
        name = pulse.consumer.name
        with self._mapped:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(f"{self._own}pulse:{name}", pulse.model_dump_json(), ex=PULSE_SECONDS)
                pipeline.sadd(f"{self._own}pulses", name)
                if any(moved.values()):
                    bucket = f"{self._own}speed:{bucket_now()}"
                    pipeline.incrby(bucket, sum(moved.values()))
                    pipeline.expire(bucket, (BUCKETS + 2) * BUCKET_SECONDS)
                pipeline.execute()
            touched = {*files, *moved}
            if touched:
                self._tell_sessions(touched, files, moved)

    def _tell_sessions(
        self,
        touched: set[SessionKey],
        files: Mapping[SessionKey, Sequence[EndedFile]],
        moved: Mapping[SessionKey, int],
    ) -> None:
        keys, arguments = [f"{self._own}sessions"], []
        for bank, session in touched:
            told = files.get((bank, session), ())
            keys.append(self._key(bank, session))
            arguments += [_member(bank, session), time.time(), moved.get((bank, session), 0)]
            arguments.append(len(told))
            for file in told:
                arguments += [file.state, file.model_dump_json()]
        self._tell(keys=keys, args=arguments)

    def forget_consumer(self, name: str) -> None:
        """Remove a consumer's pulse."""
        with self._mapped, self._redis.pipeline(transaction=False) as pipeline:
            pipeline.delete(f"{self._own}pulse:{name}")
            pipeline.srem(f"{self._own}pulses", name)
            pipeline.execute()

    def expect(self, bank: str, session: str, files: int) -> None:
        """Note it in the session's hash."""
        with self._mapped:
            self._note(keys=[self._key(bank, session)], args=["expected", files])

    def sessions(self, bank: str | None, *, offset: int, limit: int) -> tuple[list[Session], int]:
        """Look through the index; sessions that others closed leave it now."""
        with self._mapped:
            known = [key for key in self._index() if bank is None or key[0] == bank]
            found = self._read(known[offset : offset + limit])
            gone = [key for key, session in found if session is None]
            if gone:
                self._redis.zrem(f"{self._own}sessions", *(_member(*key) for key in gone))
        return [session for _, session in found if session], len(known) - len(gone)

    def session(self, bank: str, session: str) -> Session | None:
        """Look for one."""
        with self._mapped:
            return self._read([(bank, session)])[0][1]

    def files(
        self, bank: str, session: str, *, state: State | None, search: str, offset: int, limit: int
    ) -> Page:
        """Read a list; where some are looked for, a thousand at a time."""
        key = self._key(bank, session) + (":failed" if state == "failed" else ":ended")
        with self._mapped:
            length = self._redis.llen(key)
            if search or state == "done":
                return self._searched(key, length, state, search, offset, limit)
            files = self._range(key, offset, limit)
        more = offset + limit < length
        return Page(files=tuple(files), total=length, next_offset=offset + limit if more else None)

    def errors(self, *, bank: str | None, search: str, offset: int, limit: int) -> Page:
        """Read the newest of each session, and merge them."""
        with self._mapped:
            known = [key for key in self._index() if bank is None or key[0] == bank]
            lists = [f"{self._key(*key)}:failed" for key in known[:MOST_SESSIONS_SEARCHED]]
            each = _SEARCH_STEP if search else min(offset + limit, _SEARCH_STEP)
            with self._redis.pipeline(transaction=False) as pipeline:
                for failed in lists:
                    pipeline.llen(failed)
                    pipeline.lrange(failed, 0, each - 1)
                told = pipeline.execute()
        # Each list is newest first; what is not given is not read, either.
        each_newest = (_all_fitting(texts, search) for texts in told[1::2])
        newest = heapq.merge(*each_newest, key=attrgetter("ended_at"), reverse=True)
        if search:
            return page(list(newest), offset, limit)
        total = sum(told[::2])
        more = total > offset + limit <= sum(map(len, told[1::2]))
        return Page(
            files=tuple(islice(newest, offset, offset + limit)),
            total=total,
            next_offset=offset + limit if more else None,
        )

    def pulses(self) -> list[Pulse]:
        """Read those that have not run out, and forget the names of the others."""
        with self._mapped:
            names = sorted(name.decode() for name in self._redis.smembers(f"{self._own}pulses"))
            if not names:
                return []
            told = self._redis.mget(f"{self._own}pulse:{name}" for name in names)
            silent = [name for name, pulse in zip(names, told, strict=True) if pulse is None]
            if silent:
                self._redis.srem(f"{self._own}pulses", *silent)
        return [Pulse.model_validate_json(pulse) for pulse in told if pulse is not None]

    def speed(self) -> list[int]:
        """Read all buckets."""
        last = bucket_now()
        keys = [f"{self._own}speed:{last - back}" for back in reversed(range(BUCKETS))]
        with self._mapped:
            return [int(told or 0) for told in self._redis.mget(keys)]

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _searched(
        self, key: str, length: int, state: State | None, search: str, offset: int, limit: int
    ) -> Page:
        found: list[EndedFile] = []
        place, end = offset, min(length, offset + MOST_SEARCHED)
        while place < end:
            texts = self._texts(key, place, min(_SEARCH_STEP, end - place))
            for text in texts:
                place += 1
                file = _fitting(text, search)
                if file is not None and state in (None, file.state):
                    found.append(file)
                    if len(found) == limit:
                        end = place
                        break
            if not texts:
                break
        return Page(files=tuple(found), total=None, next_offset=place if place < length else None)

    def _range(self, key: str, offset: int, limit: int) -> list[EndedFile]:
        return [EndedFile.model_validate_json(text) for text in self._texts(key, offset, limit)]

    def _texts(self, key: str, offset: int, limit: int) -> Sequence[bytes]:
        told: Sequence[bytes] = self._redis.lrange(key, offset, offset + limit - 1)
        return told

    def _index(self) -> list[SessionKey]:
        members = self._redis.zrevrange(f"{self._own}sessions", 0, MOST_SESSIONS - 1)
        return [_key_of(member) for member in members]

    def _read(self, keys: Sequence[SessionKey]) -> list[tuple[SessionKey, Session | None]]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                own = self._key(*key)
                pipeline.mget(own, f"{own}:progress", f"{own}:error")
                pipeline.hgetall(f"{own}:activity")
            told = pipeline.execute()
        return [
            (key, _session(key, counts, told[2 * place + 1]) if counts[0] else None)
            for place, (key, counts) in enumerate(zip(keys, told[::2], strict=True))
        ]

    def _key(self, bank: str, session: str) -> str:
        return session_key(self._prefix, bank, session)


def _all_fitting(texts: Iterable[bytes], search: str) -> Iterator[EndedFile]:
    """Read files one after the other, and leave out those that a search does not fit."""
    return filter(None, (_fitting(text, search) for text in texts))


def _fitting(text: bytes, search: str) -> EndedFile | None:
    """Return a file where a search fits it; None: it does not.

    Most do not, and most of those are told by their JSON as it stands: to read it takes ten times
    as long. What JSON writes otherwise is looked for in what was read.
    """
    is_plain = search.isprintable() and not set(search) & {'"', "\\"}
    if is_plain and search.casefold() not in text.decode().casefold():
        return None
    file = EndedFile.model_validate_json(text)
    return file if not search or file.fits(search) else None


def session_opened(pipeline: Any, prefix: str, bank: str, session: str) -> None:
    """List a session from now on; `pipeline`: orders that go together."""
    index, now = f"{prefix}:download:sessions", time.time()
    pipeline.zadd(index, {_member(bank, session): now})
    pipeline.zremrangebyrank(index, 0, -MOST_SESSIONS - 1)
    activity = f"{session_key(prefix, bank, session)}:activity"
    pipeline.hset(activity, "opened_at", now)
    pipeline.expire(activity, SETTLED_SECONDS)


def session_closed(pipeline: Any, prefix: str, bank: str, session: str) -> None:
    """List a session no more, and forget what was told of it."""
    pipeline.zrem(f"{prefix}:download:sessions", _member(bank, session))
    key = session_key(prefix, bank, session)
    pipeline.delete(*(key + suffix for suffix in SUFFIXES))


def _session(
    key: SessionKey, counts: Sequence[bytes | None], told: Mapping[bytes, bytes]
) -> Session:
    progress, failed = (int(count or 0) for count in counts[1:])

    def number(field: bytes) -> float | None:
        return float(told[field]) if field in told else None

    expected = number(b"expected")
    return Session(
        bank=key[0],
        session=key[1],
        opened_at=instant(number(b"opened_at")),
        changed_at=instant(number(b"changed_at")),
        expected=None if expected is None else int(expected),
        done=progress - failed,
        failed=failed,
        received_bytes=int(number(b"bytes") or 0),
    )


def _member(bank: str, session: str) -> str:
    return json.dumps([bank, session])


def _key_of(member: bytes) -> SessionKey:
    bank, session = json.loads(member)
    return bank, session
