"""How sessions of `requests` log in to services of ours: with a token, and nobody else's account.

For itself, `requests` puts what ~/.netrc has for a host in the place of an Authorization that was
set, whatever the port, and does so anew at a redirect: a databank's account would go to a
collector, and the token would not. An account in the URL is meant for the proxy there, and wins.
"""

from __future__ import annotations

import requests
from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.utils import get_auth_from_url

from biomaj_download.errors import ConfigError


class BearerSession(requests.Session):
    """A session for a service of ours; `token` None: what a request has goes, as it is.

    Raises:
        ConfigError: the token cannot stand in a header.
    """

    def __init__(self, token: str | None) -> None:
        super().__init__()
        self.auth = Bearer(token)

    def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
        """Let no other host have the token when it is redirected to."""
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


class Bearer(AuthBase):
    """Sends a token (RFC 6750, section 2.1); None: what the request has, as it is.

    Raises:
        ConfigError: the token cannot stand in a header.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else sendable(token)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Let a request go out."""
        account = get_auth_from_url(request.url or "")
        if any(account):
            request.prepare_auth(account)
        elif self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def sendable(token: str) -> str:
    """Return a token without the blanks and line ends around it.

    Raises:
        ConfigError: it cannot stand in a header.
    """
    token = token.strip()
    if not (token.isascii() and token.isprintable()):  # it is not shown
        raise ConfigError("web.token: expected printable ASCII characters alone, got others")
    return token
