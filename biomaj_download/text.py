"""Text that can be written anywhere."""

from __future__ import annotations


def readable(text: str) -> str:
    """Return text that UTF-8 can hold: the name of a file may be of bytes that are none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
