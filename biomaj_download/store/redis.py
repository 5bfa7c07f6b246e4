"""Sessions in Redis, under the keys that BioMAJ's services share.

`<prefix>:<bank>:session:<id>` is 1; `:progress`, `:error`, `:error:info` and `:files` lie under
it, and the hash `:settled`, which is ours (see `redis_scripts`). An old client cleans the first
five alone, so ours expires. `<prefix>:download:lease:<file>` tells who writes a file.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from biomaj_download.settings import RedisSettings
from biomaj_download.store import redis_scripts as scripts
from biomaj_download.store.activity_redis import session_closed, session_opened
from biomaj_download.store.base import (
    Answer,
    Claim,
    Message,
    Outcome,
    Progress,
    Store,
    Verdict,
)
from biomaj_download.store.redis_connection import connected, mapped_errors

#: An old consumer counts without telling, so a waiting client looks too: soon at first, then less
#: often.
FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.5
LOOK_GROWTH = 1.5


class RedisStore(Store):
    """Sessions on a Redis server, shared by all machines of a site."""

    def __init__(self, settings: RedisSettings) -> None:
        self._prefix = settings.prefix
        self._mapped = mapped_errors(settings)
        self._redis = connected(settings)
        self._claim: Any = self._redis.register_script(scripts.CLAIM)
        self._settle: Any = self._redis.register_script(scripts.SETTLE)
        self._renew: Any = self._redis.register_script(scripts.RENEW)
        self._release: Any = self._redis.register_script(scripts.RELEASE)
        self._note_start: Any = self._redis.register_script(scripts.NOTE_START)

    def create_session(self, bank: str) -> str:
        """Open a session and return its id."""
        session = str(uuid.uuid4())
        with self._mapped, self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(self._key(bank, session), 1)
            session_opened(pipeline, self._prefix, bank, session)
            pipeline.execute()
        return session

    def delete_session(self, bank: str, session: str) -> None:
        """Forget a session and all that is under it."""
        key = self._key(bank, session)
        suffixes = ("", ":progress", ":error", ":error:info", ":files", ":settled")
        with self._mapped, self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(*(key + suffix for suffix in suffixes))
            session_closed(pipeline, self._prefix, bank, session)
            pipeline.execute()

    def unwanted(self, sessions: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Ask for all sessions and cancel flags at once."""
        with self._mapped, self._redis.pipeline(transaction=False) as pipeline:
            for bank, session in sessions:
                pipeline.exists(self._key(bank, session))
                pipeline.exists(self._cancel_flag(bank))
            told = pipeline.execute()
        pairs = zip(sessions, told[::2], told[1::2], strict=True)
        return {asked for asked, is_open, is_cancelled in pairs if is_cancelled or not is_open}

    def claim_many(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Claim messages in one round trip."""
        answers = self._run(
            self._claim,
            [claim.message for claim in claims],
            keys=[[self._cancel_flag(claim.message.bank)] for claim in claims],
            arguments=[
                (int(claim.redelivered), int(claim.again), claim.breaks) for claim in claims
            ],
        )
        return [_verdict(answer.decode()) for answer in answers]

    def renew(self, messages: Sequence[Message]) -> list[Message]:
        """Prolong leases in one round trip."""
        answers = self._run(self._renew, messages)
        return [message for message, lost in zip(messages, answers, strict=True) if lost]

    def release(self, messages: Sequence[Message]) -> None:
        """Give leases back in one round trip."""
        self._run(self._release, messages)

    def note_start(self, message: Message) -> int:
        """Count a start."""
        return int(self._run(self._note_start, [message]))

    def settle_many(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Store and count outcomes in one round trip."""
        answers = self._run(
            self._settle,
            [outcome.message for outcome in outcomes],
            arguments=[
                (outcome.error_text or "", int(outcome.files is not None), outcome.files or b"")
                for outcome in outcomes
            ],
        )
        return [bool(counted) for counted in answers]

    def progress(self, bank: str, session: str) -> Progress:
        """Return what is settled so far."""
        key = self._key(bank, session)
        with self._mapped:
            done, errors, is_open = self._redis.mget(f"{key}:progress", f"{key}:error", key)
        return Progress(_number(done), _number(errors), is_open is not None)

    def wait_for_progress(
        self, bank: str, session: str, *, after: int, timeout_seconds: float
    ) -> Progress:
        """Return when progress is above `after`: the settling script publishes the news."""
        deadline = time.monotonic() + timeout_seconds
        progress = self.progress(bank, session)
        if (progress.done or 0) > after or not progress.is_open or timeout_seconds <= 0:
            return progress
        look_seconds = FIRST_LOOK_SECONDS
        with self._mapped, self._redis.pubsub(ignore_subscribe_messages=False) as news:
            news.subscribe(f"{self._key(bank, session)}:news")
            while True:
                # The first message is the confirmation: from then on no news is missed.
                left_seconds = max(deadline - time.monotonic(), 0)
                news.get_message(timeout=min(left_seconds, look_seconds))
                progress = self.progress(bank, session)
                is_news = (progress.done or 0) > after or not progress.is_open
                if is_news or time.monotonic() >= deadline:
                    return progress
                look_seconds = min(look_seconds * LOOK_GROWTH, LONGEST_LOOK_SECONDS)

    def pop_errors(self, bank: str, session: str) -> list[str]:
        """Return the errors of a session, oldest first, and forget them."""
        key = f"{self._key(bank, session)}:error:info"
        with self._mapped, self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lrange(key, 0, -1)
            pipeline.delete(key)
            newest_first, _ = pipeline.execute()
        return [text.decode("utf-8", "replace") for text in reversed(newest_first)]

    def file_list(self, bank: str, session: str) -> bytes | None:
        """Return the serialized FileList of a LIST request."""
        with self._mapped:
            body: bytes | None = self._redis.get(f"{self._key(bank, session)}:files")
        return body

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._mapped:
            self._redis.ping()

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _run(
        self,
        script: Any,
        messages: Sequence[Message],
        *,
        keys: Iterable[Sequence[str]] = repeat(()),
        arguments: Iterable[Sequence[str | int | bytes]] = repeat(()),
    ) -> Any:
        """Run a script over messages; `keys` and `arguments`: what each has besides its own."""
        all_keys: list[str] = []
        all_arguments: list[str | int | bytes] = []
        for message, more_keys, more in zip(messages, keys, arguments, strict=False):
            all_keys += (*self._keys_of(message), *more_keys)
            all_arguments += (*scripts.message_arguments(message), *more)
        with self._mapped:
            return script(keys=all_keys, args=all_arguments)

    def _keys_of(self, message: Message) -> Sequence[str]:
        session_key = self._key(message.bank, message.session)
        return scripts.message_keys(message, session_key, f"{self._prefix}:download:lease:")

    def _key(self, bank: str, session: str) -> str:
        return scripts.session_key(self._prefix, bank, session)

    def _cancel_flag(self, bank: str) -> str:
        return f"{self._prefix}:{bank}:action:cancel"


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _verdict(answer: str) -> Verdict:
    name, _, holder = answer.partition(" ")
    return Verdict(Answer(name), holder)
