"""A bank's cancel flag in Redis, which `biomaj-cli --cancel` sets."""

from __future__ import annotations

import logging
from typing import Protocol

from biomaj_download.errors import Cancelled

log = logging.getLogger("biomaj.download.client")


class RedisClient(Protocol):
    """What is asked of the Redis client that BioMAJ brings."""

    def get(self, name: str, /) -> object:
        """Return a key's value; None: there is no such key."""

    def delete(self, name: str, /) -> object:
        """Forget a key."""


class CancelFlag:
    """The flag of one bank; `redis_client` None: nobody can cancel."""

    def __init__(self, redis_client: RedisClient | None, prefix: str | None) -> None:
        self._redis = redis_client
        self._prefix = prefix or "biomaj"

    @property
    def can_be_set(self) -> bool:
        """Say whether there is a flag to look at."""
        return self._redis is not None

    def check(self, bank: str) -> None:
        """Return if the bank is not cancelled; else take the flag down.

        A Redis that does not answer cancels nothing: a download may take hours, a restart of
        Redis seconds.

        Raises:
            Cancelled: the flag was up.
        """
        if self._redis is None:
            return
        key = f"{self._prefix}:{bank}:action:cancel"
        try:
            if not self._redis.get(key):
                return
            self._redis.delete(key)
        except Exception as error:  # noqa: BLE001 - the client is the caller's, and so are its errors
            log.warning("cancel flag not readable bank=%s: %s", bank, error)
            return
        raise Cancelled(f"bank {bank}: the download was cancelled")
