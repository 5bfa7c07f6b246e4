"""Settings in, the store that they name out."""

from __future__ import annotations

from pathlib import Path

from biomaj_download.errors import ConfigError
from biomaj_download.settings import Settings
from biomaj_download.store.base import Store
from biomaj_download.store.embedded import EmbeddedStore


def open_store(settings: Settings) -> Store:
    """Open the store that `store.url` names; the caller closes it.

    Raises:
        ConfigError: the URL names no store of ours.
        StoreError: the file cannot be opened. Redis is first contacted when used.
    """
    url = settings.store.url
    if url is None:
        from biomaj_download.store.redis import RedisStore  # noqa: PLC0415 - not for one host alone

        return RedisStore(settings.redis)
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise ConfigError(
            f"store.url: expected sqlite:PATH, or nothing for Redis, got scheme {scheme!r}"
        )
    return EmbeddedStore(Path(path))
