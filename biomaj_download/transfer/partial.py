"""The `.part` file that a transfer writes, in the folder where the file will stand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

#: A file system allows 255 bytes a name; the part's name is longer than the file's.
LONGEST_NAME_BYTES = 255
SUFFIX = ".part"

_claims = threading.Condition()
_claimed: set[Path] = set()


def part_path(path: Path) -> Path:
    """Return the name under which a file arrives; hidden, and always short enough."""
    name = f".{path.name}{SUFFIX}"
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES:
        name = f".{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}{SUFFIX}"
    return path.with_name(name)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a file's final path: two requests for one file take turns within this process."""
    with _claims:
        while path in _claimed:
            _claims.wait()
        _claimed.add(path)
    try:
        yield
    finally:
        with _claims:
            _claimed.discard(path)
            _claims.notify_all()
