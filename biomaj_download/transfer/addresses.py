"""Addresses that no connection may be made to: `transfer.denied_networks`.

In: the address that a connection is about to be made to, after its name was looked up: a name that
means another address a moment later (DNS rebinding) gains nothing.  Out: a refusal, or none.
"""

from __future__ import annotations

import socket
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from biomaj_download.errors import AccessDenied, HostNotFound
from biomaj_download.settings import PRIVATE, TransferSettings

#: A translator leads from here to IPv4 (RFC 6052).
_NAT64 = ip_network("64:ff9b::/96")


class Guard:
    """Knows which addresses are denied, and why."""

    def __init__(self, denied: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        self._denies_private = PRIVATE in denied
        self._denied = [ip_network(network) for network in denied if network != PRIVATE]
        self._allowed = [ip_network(network) for network in allowed]

    def refusal(self, text: str) -> AccessDenied | None:
        """Return the error that a connection to an address ends with; None: it may be made."""
        address = _meant(text)
        if any(address in network for network in self._allowed):
            return None
        is_private = self._denies_private and (not address.is_global or address.is_multicast)
        if is_private or any(address in network for network in self._denied):
            return AccessDenied(f"{address}: expected an address outside transfer.denied_networks")
        return None


def guard_of(settings: TransferSettings) -> Guard | None:
    """Return what guards connections; None: they may lead anywhere."""
    if not settings.denied_networks:
        return None
    return _guard(settings.denied_networks, settings.allowed_networks)


def checked_address(settings: TransferSettings, host: str) -> str | None:
    """Return the address that a program of others shall connect to; None: as it finds it.

    Raises:
        AccessDenied: one of the host's addresses is denied.
        HostNotFound: it has none.
    """
    guard = guard_of(settings)
    if guard is None:
        return None
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostNotFound(f"{host}: {error}") from error
    addresses = [str(where[0]) for *_, where in found]
    for address in addresses:
        refusal = guard.refusal(address)
        if refusal is not None:
            raise refusal
    return addresses[0]


_guard = cache(Guard)


def _meant(text: str) -> IPv4Address | IPv6Address:
    """Return the address that packets end at, where IPv6 only wraps one of IPv4."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
