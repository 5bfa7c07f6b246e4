"""Settings in, a client of the Redis server out, and what tells its errors as the store's."""

from __future__ import annotations

from typing import Any

import redis

from biomaj_download.errors import StoreError, mapped
from biomaj_download.settings import RedisSettings

_SOCKET_TIMEOUT_SECONDS = 10
#: A connection that was idle for so long is tried before it is used: a firewall may have cut it.
_HEALTH_CHECK_SECONDS = 30
_CONNECTIONS = 256


def connected(settings: RedisSettings) -> Any:
    """Return a client with a pool of connections, for many threads; it connects when it is used."""
    password = settings.password.get_secret_value() if settings.password else None
    pool: Any = redis.BlockingConnectionPool  # its arguments are not annotated
    return redis.Redis(
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


def mapped_errors(settings: RedisSettings) -> mapped:
    """Return what stands around each use of the client: its errors come out as a StoreError."""
    return mapped({redis.RedisError: StoreError}, subject=f"redis {settings.host}:{settings.port}")
