"""What earlier syncs brought into a directory: a hidden file in it.

In and out: for each file its source, and what the source's listing said of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from biomaj_download.disk import on_disk
from biomaj_download.errors import ConfigError
from biomaj_download.job import RemoteFile

RECORD_NAME = ".biomaj-download.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that a sync found at its source and has here.

    `size_bytes`, `day`, `modified_at`: as the listing told them, None: it did not.
    """

    source: str
    bytes_here: int
    size_bytes: int | None = None
    day: str | None = None
    modified_at: str | None = None

    @classmethod
    def of(cls, file: RemoteFile, source: str, bytes_here: int) -> Entry:
        """Return the entry for a file as it is listed now."""
        return cls(
            source=source,
            bytes_here=bytes_here,
            size_bytes=file.size_bytes,
            day=file.day.isoformat() if file.day else None,
            modified_at=file.modified_at.isoformat() if file.modified_at else None,
        )


def read_record(directory: Path) -> dict[str, Entry]:
    """Return what earlier syncs brought, by path below the directory.

    Raises:
        ConfigError: the record is not one of ours.
    """
    path = directory / RECORD_NAME
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']}")
        return {name: Entry(**entry) for name, entry in document["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected the record of an earlier sync, got: {error}; without it nothing is"
            " lost but what --delete may do: move it away"
        ) from error


def write_record(directory: Path, entries: Mapping[str, Entry]) -> None:
    """Keep what was brought, in one step.

    Raises:
        PublishError: the disk does not let us.
    """
    path = directory / RECORD_NAME
    new = path.with_name(f"{RECORD_NAME}.new")
    files = {name: asdict(entry) for name, entry in sorted(entries.items())}
    with on_disk(path):
        with new.open("w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump({"version": _VERSION, "files": files}, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
