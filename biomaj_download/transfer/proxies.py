"""The proxy that the configuration names for a host."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

#: In place of a proxy's address: none, whatever the environment says.
DIRECT = "direct"


def configured_proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy that is configured for a URL's host, or for all; None: none is."""
    if not proxies:
        return None
    parts = urlsplit(url)
    for host in (parts.netloc.rpartition("@")[2], parts.hostname or "", "*"):
        if host in proxies:
            return proxies[host]
    return None
