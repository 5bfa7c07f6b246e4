"""How sessions of `requests` log in to services of ours: with a token, and nobody else's account.

For itself, `requests` puts what ~/.netrc has for a host in the place of an Authorization that was
set, whatever the port: a databank's account would go to a collector, and the token would not.
"""

from __future__ import annotations

from requests import PreparedRequest
from requests.auth import AuthBase


class Bearer(AuthBase):
    """Sends a token (RFC 6750, section 2.1); None: what the request has, as it is."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Let a request go out."""
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request
