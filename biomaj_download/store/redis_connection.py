"""Settings in, a client of the Redis server out, and what tells its errors as the store's."""

from __future__ import annotations

import socket
from typing import Any

import redis

from biomaj_download.errors import StoreError, mapped
from biomaj_download.server_tls import check_tls_files, context_of, spoken_with
from biomaj_download.settings import RedisSettings

_SOCKET_TIMEOUT_SECONDS = 10
#: A connection that was idle for so long is tried before it is used: a firewall may have cut it.
_HEALTH_CHECK_SECONDS = 30
_CONNECTIONS = 256


def connected(settings: RedisSettings) -> Any:
    """Return a client with a pool of connections, for many threads; it connects when it is used.

    Raises:
        ConfigError: a file for TLS is wrong.
    """
    check_tls_files(settings, section="redis")
    password = settings.password.get_secret_value() if settings.password else None
    pool: Any = redis.BlockingConnectionPool  # its arguments are not annotated
    return redis.Redis(
        connection_pool=pool(
            **_connection_kind(settings),
            host=settings.host,
            port=settings.port,
            db=settings.db,
            username=settings.user,
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


def _connection_kind(settings: RedisSettings) -> dict[str, Any]:
    if not settings.tls:
        return {"connection_class": _Connection}
    return {"connection_class": _TlsConnection, "settings": settings}


class _Connection(redis.Connection):
    """A connection that leaves a server which is a replica by now: its name may lead elsewhere."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Return an answer.

        Raises:
            redis.ConnectionError: the server may not write any more.
        """
        try:
            return super().read_response(*arguments, **options)
        except redis.ResponseError as error:
            # Redis 6 wraps what a script was told.
            if not isinstance(error, redis.ReadOnlyError) and "READONLY" not in str(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ConnectionError("the server is a replica now") from error


class _TlsConnection(_Connection):
    """A connection with our own context: redis-py's class knows no server name but the host's."""

    def __init__(self, *, settings: RedisSettings, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._settings = settings

    def _connect(self) -> socket.socket:
        """Return a socket that is connected, as redis-py's own class for TLS does."""
        plain: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        name = self._settings.server_name or self._settings.host
        try:
            return context_of(self._settings).wrap_socket(plain, server_hostname=name)
        except OSError:
            plain.close()
            raise


def server_name(settings: RedisSettings) -> str:
    """Return how logs and errors name the server: never with an account."""
    return f"{settings.host}:{settings.port}{spoken_with(settings)}"


def mapped_errors(settings: RedisSettings) -> mapped:
    """Return what stands around each use of the client: its errors come out as a StoreError."""
    return mapped({redis.RedisError: StoreError}, subject=f"redis {server_name(settings)}")
