"""The URL of a server in, the values that it stands for in section `rabbitmq` or `redis` out.

Forms: https://www.rabbitmq.com/docs/uri-spec and
https://www.iana.org/assignments/uri-schemes/prov/redis; `amqps:` and `rediss:` mean TLS.
No error shows more of a URL than its scheme: the rest may hold a password.
"""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from biomaj_download.errors import ConfigError

_AMQPS_PORT = 5671  # https://www.iana.org/assignments/service-names-port-numbers


def is_server(url: object, *schemes: str) -> bool:
    """Say whether a URL names a server by one of these schemes."""
    return isinstance(url, str) and url.partition("://")[0].lower() in schemes


def rabbitmq_values(url: str, *, setting: str) -> dict[str, object]:
    """Read `amqp://USER:PASSWORD@HOST:PORT/VIRTUAL_HOST`, or the same with `amqps:`.

    Without a path it is the virtual host `/`.

    Raises:
        ConfigError: it is no such URL.
    """
    parts = _parts(url, setting)
    values = _values(parts, setting, tls=parts.scheme == "amqps")
    if parts.scheme == "amqps":
        values.setdefault("port", _AMQPS_PORT)
    if len(parts.path) > 1:
        values["virtual_host"] = unquote(parts.path[1:])
    return values


def redis_values(url: str, *, setting: str) -> dict[str, object]:
    """Read `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or the same with `rediss:`.

    Raises:
        ConfigError: it is no such URL.
    """
    parts = _parts(url, setting)
    values = _values(parts, setting, tls=parts.scheme == "rediss")
    if len(parts.path) > 1:
        values["db"] = unquote(parts.path[1:])
    return values


def _parts(url: str, setting: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # the port is read, and may be none, only now
    except ValueError:  # without its text, which may show the password
        raise ConfigError(f"{setting}: expected a URL with a host, and a port in digits") from None
    if not parts.hostname:
        raise ConfigError(f"{setting}: expected {parts.scheme}://HOST..., got no host")
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{setting}: expected {parts.scheme}://... without ? and #: ca_file, cert_file,"
            " key_file and their like are settings; in a password they are %3F and %23"
        )
    return parts


def _values(parts: SplitResult, setting: str, *, tls: bool) -> dict[str, object]:
    values: dict[str, object] = {"host": parts.hostname, "tls": tls}
    if parts.port:
        values["port"] = parts.port
    if parts.username:
        values["user"] = unquote(parts.username)
    if parts.password:
        values["password"] = unquote(parts.password)
    return values
