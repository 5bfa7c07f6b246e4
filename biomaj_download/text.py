"""Text that can be written anywhere, and shown to anybody."""

from __future__ import annotations


def readable(text: str) -> str:
    """Return text that UTF-8 can hold: the name of a file may be of bytes that are none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def without_account(server: str) -> str:
    """Return a server without the account that a careless site has put before it."""
    return server.rpartition("@")[2]
