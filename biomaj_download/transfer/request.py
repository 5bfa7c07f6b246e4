"""What the engine is asked for, and what it answers: the seam of the downloaders and libcurl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from biomaj_download.cancellation import Cancellation


class Sink(Protocol):
    """Where a body goes; `write` is called on the engine's thread and returns the bytes taken.

    One that has a `write_all`, too, gets chunks that follow each other in a sequence, where it
    would else get a copy of them in one.
    """

    def write(self, chunk: bytes, /) -> int | None:
        """Take a chunk."""
        ...


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """One libcurl transfer. None: the engine's setting.

    `options`: further libcurl options by number (`pycurl.SSL_VERIFYPEER: 0`).
    `head_only`: ask for length and date without the body. `on_header` gets each raw header line.
    `is_listing`: the server may take its time. `ftp_command`: in place of LIST, except by a proxy
    that speaks HTTP. `keeps_encoding`: a body that is compressed on the way stays so, as the file
    is called; else libcurl undoes that. `max_connections`: to this host at once, where that is less
    than the engine's own limit. `is_small`: it may share an HTTP/2 connection with others; one that
    takes time has a connection of its own. `asks_version`: an FTP server is asked for the file's
    length and time before it is asked for the file. `is_piece`: a part of a file, which
    can end at any byte, so that it may have a connection that another process lends.
    `cancellation`: by which it is ended before its time.
    """

    url: str
    sink: Sink | None = None
    head_only: bool = False
    post_body: str | None = None
    credentials: str | None = None
    proxy: str | None = None
    proxy_auth: str | None = None
    timeout_seconds: float | None = None
    max_connections: int | None = None
    is_listing: bool = False
    ftp_command: str | None = None
    keeps_encoding: bool = False
    is_small: bool = False
    asks_version: bool = True
    is_piece: bool = False
    options: Mapping[int, Any] = field(default_factory=dict)
    on_header: Callable[[bytes], None] | None = None
    cancellation: Cancellation | None = None


@dataclass(frozen=True, kw_only=True)
class TransferResult:
    """A transfer that ended well.

    `announced_bytes` None: the server told no length. `ends_by_close`: nor did it mark the end of
    the body otherwise (RFC 9112, section 6.3), so that one that was cut looks like a whole one.
    """

    status: int
    received_bytes: int
    announced_bytes: int | None
    ends_by_close: bool
    modified_at: datetime | None
    effective_url: str
    content_type: str | None
    seconds: float
