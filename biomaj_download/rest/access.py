"""Who may call: the token, this machine, and no page of another site.

A token travels in a header that browsers add to nothing by themselves, and there is no cookie: a
page of another site cannot speak with anybody's rights. Without a token this machine alone may
change things; so that a page in a browser on it cannot, requests that a browser marks as another
site's are refused, and so are those for a host's name that is none of this machine's: a name that
an attacker's name server points here makes of this service a part of the attacker's site. For the
same reason nobody is shown anything by a name that the service does not know as its own. The old
routes answer by any name, as ever; whoever has no session's id learns little from them.
"""

from __future__ import annotations

import hmac
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from flask import Flask, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from biomaj_download.bearer import sendable
from biomaj_download.errors import ConfigError
from biomaj_download.rest.describing import Kind, description_of
from biomaj_download.settings import WebSettings

#: A proxy on this machine speaks for others.
_FORWARDED = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "Via",
)
#: A shorter token can be guessed.
SHORTEST_TOKEN_CHARACTERS = 16


class Access:
    """The door of an application; the token is read once, when it is made."""

    def __init__(self, settings: WebSettings) -> None:
        self._token = _token(settings)
        self._names = _own_names(settings)
        self._guards_old = settings.token_for_old_routes
        if self._guards_old and self._token is None:
            raise ConfigError("web.token_for_old_routes: expected a web.token too, there is none")

    @property
    def wants_token(self) -> bool:
        """Say whether there is a token."""
        return self._token is not None

    def guard(self, app: Flask) -> None:
        """Have each request of an application checked before its view sees it."""

        @app.before_request
        def check() -> None:
            description = description_of(app, request.endpoint)
            if description is not None:
                self._check(description.kind)

    def _check(self, kind: Kind) -> None:
        if kind is Kind.OPEN or (kind is Kind.OLD and not self._guards_old):
            return
        if self._token is not None:
            self._check_token(self._token)
        elif not self._is_own_name(_asked_host()):
            raise Forbidden(
                f"the service does not know {_asked_host()!r} as a name of its own: set"
                " web.host_names, or a web.token"
            )
        elif kind is Kind.CHANGING and not _is_from_here():
            raise Forbidden("without web.token in the settings, only this machine may change this")
        # A page of another site cannot send the token; behind a proxy our own name is another one.
        if kind is Kind.CHANGING and _is_of_another_site(by_origin=self._token is None):
            raise Forbidden("a page of another site may not change this")

    def _is_own_name(self, host: str) -> bool:
        """Say whether nobody's name server can have made this a name of ours.

        An address is looked up nowhere, and no public name is without a dot.
        """
        return "." not in host or host in self._names or _address_of(host) is not None

    def _check_token(self, token: bytes) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)
        if scheme.lower() != "bearer" or not is_right:
            raise Unauthorized(
                "expected the service's token in the header Authorization: Bearer",
                www_authenticate=WWWAuthenticate("bearer", {"realm": "biomaj-download"}),
            )


def _token(settings: WebSettings) -> bytes | None:
    """Return the token; None: there is none.

    Raises:
        ConfigError: it is too short, or cannot stand in a header.
    """
    if settings.token is None:
        return None
    token = sendable(settings.token.get_secret_value())
    if len(token) < SHORTEST_TOKEN_CHARACTERS:
        raise ConfigError(
            f"web.token: expected at least {SHORTEST_TOKEN_CHARACTERS} characters, got {len(token)}"
        )
    return token.encode()


def _own_names(settings: WebSettings) -> frozenset[str]:
    """Return the names that the settings, and the host, know this service by."""
    urls = (settings.local_endpoint, settings.local_endpoint_download)
    names = [
        *settings.host_names,
        settings.hostname or "",
        socket.gethostname(),
        *(_parsed(url).hostname or "" for url in urls if url),
    ]
    return frozenset(name.lower().removesuffix(".") for name in names)


def _asked() -> str:
    """Return the host that the request is for, and its port where that is told.

    Not what `request.host` says where there is a header: Werkzeug empties a name that has, say, an
    underscore, which browsers look up and send nevertheless.
    """
    return request.headers.get("Host") or request.host


def _asked_host() -> str:
    """Return the host that the request is for, without its port; empty: it is none."""
    return (_parsed(f"//{_asked()}").hostname or "").removesuffix(".")


def _is_from_here() -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = _asked_host()
    return _is_loopback(request.remote_addr or "") and (host == "localhost" or _is_loopback(host))


def _parsed(address: str) -> SplitResult:
    """Return the parts of an address; of one that is none, no part is set."""
    try:
        return urlsplit(address)
    except ValueError:  # a bracket that is not closed
        return urlsplit("")


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is; None: it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address_of(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped is not None and mapped.is_loopback


def _is_of_another_site(*, by_origin: bool) -> bool:
    """Ask the headers that browsers add and pages cannot change.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin") if by_origin else None
    return origin is not None and _parsed(origin).netloc != _asked()
