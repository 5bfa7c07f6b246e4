"""Settings in, the store that they name out."""

from __future__ import annotations

from pathlib import Path

from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings
from biomaj_download.store.activity import Activity
from biomaj_download.store.activity_embedded import EmbeddedActivity
from biomaj_download.store.base import Store
from biomaj_download.store.embedded import EmbeddedStore


def open_store(settings: Settings) -> Store:
    """Open the store that `store.url` names; the caller closes it.

    Raises:
        ConfigError: the URL names no store of ours, or a file for TLS is wrong.
        StoreError: the file cannot be opened. Redis is first contacted when used.
    """
    path = _sessions_path(settings)
    if path is None:
        from biomaj_download.store.redis import RedisStore  # noqa: PLC0415 - not for one host alone

        return RedisStore(settings.redis)
    return EmbeddedStore(path)


def open_activity(settings: Settings) -> Activity:
    """Open what is shown of the store that `store.url` names; the caller closes it.

    Raises:
        ConfigError, StoreError: as `open_store`.
    """
    path = _sessions_path(settings)
    if path is None:
        from biomaj_download.store.activity_redis import RedisActivity  # noqa: PLC0415 - as above

        return RedisActivity(settings.redis)
    return EmbeddedActivity(path)


def _sessions_path(settings: Settings) -> Path | None:
    """Return the file of the sessions; None: they are on Redis."""
    url = settings.store.url
    if url is None:
        return None
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise ConfigError(
            "store.url: expected sqlite:PATH, rediss://HOST, redis://HOST, or nothing for the"
            f" Redis of section redis, got scheme {scheme!r}"
        )
    return Path(path)
