"""The frozen values that travel the road: message -> job -> downloader -> transfer -> publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    """What a message asks for."""

    LIST = "list"
    DOWNLOAD = "download"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file that a server offers.

    `day` is the day that the listing shows; BioMAJ compares it with the local day of the file.
    `modified_at` is the exact instant, where the server tells it. `save_as` None: keep the name.
    `size_bytes` None: unknown; not `size_is_exact`: rounded by the listing ("2.3K").
    """

    name: str
    root: str = ""
    save_as: str | None = None
    url: str = ""
    size_bytes: int | None = None
    size_is_exact: bool = True
    day: date | None = None
    modified_at: datetime | None = None
    hash: str | None = None
    md5: str | None = None
    permissions: str = ""
    group: str = ""
    user: str = ""
    format: str = ""

    @property
    def is_vague(self) -> bool:
        """Say whether something is open that BioMAJ compares: the exact size, or the day."""
        return self.size_bytes is None or not self.size_is_exact or self.day is None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What one directory holds: the files, and the directories under it."""

    files: tuple[RemoteFile, ...] = ()
    directories: tuple[RemoteFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HttpPatterns:
    """A site's own `http.parse` expressions for HTML listings; group number -1: not in the page."""

    dir_line: str
    file_line: str
    dir_name: int = 1
    dir_date: int = 2
    file_name: int = 1
    file_date: int = 2
    file_date_format: str | None = None
    file_size: int = 3

    @classmethod
    def like(cls, given: Any) -> HttpPatterns:
        """Return the patterns of a wire message or a BioMAJ object, which have these attributes.

        The wire has no None: a format that is empty is none.
        """
        values = {field.name: getattr(given, field.name) for field in fields(cls)}
        return cls(**values | {"file_date_format": given.file_date_format or None})


@dataclass(frozen=True, kw_only=True)
class Job:
    """One download request, as the worker walks it down the road.

    `protocol` is the lower-case registry name. `timeout_seconds` None: the message sets none.
    """

    kind: Kind
    bank: str
    session: str
    local_dir: Path
    protocol: str
    server: str
    remote_dir: str
    files: tuple[RemoteFile, ...] = ()
    matches: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    http_patterns: HttpPatterns | None = None
    save_as: str | None = None
    credentials: str | None = None
    proxy: str | None = None
    proxy_auth: str | None = None
    method: str = "GET"
    timeout_seconds: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """What a server said of a file that was fetched, and how it came.

    `announced_bytes`: the length that the server promised with the body (None: none promised).
    `ends_by_close`: nothing but the end of the connection told that the body was at its end.
    `is_from_web`: it came by HTTP.
    """

    size_bytes: int
    announced_bytes: int | None = None
    ends_by_close: bool = False
    is_from_web: bool = False
    modified_at: datetime | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Published:
    """A verified file that stands under its final name."""

    size_bytes: int
    seconds: float
