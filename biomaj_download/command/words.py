"""How sizes, speeds, times and other people's text are written for people."""

from __future__ import annotations

_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_TENS = 10
_MINUTE_SECONDS, _HOUR_SECONDS = 60, 3600


def size_text(size_bytes: float | None) -> str:
    """Return a size as people write it, such as `1.2 GB`; None: `?`."""
    if size_bytes is None:
        return "?"
    if size_bytes < _STEP:
        return f"{int(size_bytes)} B"
    value = float(size_bytes)
    for unit in _UNITS:
        value /= _STEP
        if value < _STEP or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if value < _TENS else f"{value:.0f} {unit}"


def speed_text(bytes_per_second: float) -> str:
    """Return a speed, such as `12 MB/s`."""
    return f"{size_text(bytes_per_second)}/s"


def time_text(seconds: float | None) -> str:
    """Return a length of time, such as `4 min 5 s`; None: `?`."""
    if seconds is None:
        return "?"
    if seconds < _TENS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_SECONDS:
        return f"{whole} s"
    if whole < _HOUR_SECONDS:
        return f"{whole // _MINUTE_SECONDS} min {whole % _MINUTE_SECONDS} s"
    return f"{whole // _HOUR_SECONDS} h {whole % _HOUR_SECONDS // _MINUTE_SECONDS} min"


def files_text(number: int) -> str:
    """Return a number of files."""
    return f"{number:,} file" if number == 1 else f"{number:,} files"


def printable(text: str) -> str:
    """Return text that cannot command the terminal: others wrote it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
