"""The digests that a publisher offers beside the files: found, fetched once, kept for a while.

In: a downloader and a file of its server.  Out: the file's digest, or None where there is none.
The files of a directory are served by one listing of it, and by one fetch of each checksum file.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from biomaj_download.checksums import Digest, is_of_directory, read_checksums, subject_of
from biomaj_download.errors import (
    AccessDenied,
    Cancelled,
    DownloadError,
    ListingTooLong,
    RemoteFileMissing,
)
from biomaj_download.job import RemoteFile, Transferred
from biomaj_download.transfer import shared
from biomaj_download.transfer.partial import Part

log = logging.getLogger("biomaj.download.publishers")

#: A release is published at once: what a directory offers is asked for again after an hour, ...
KEPT_SECONDS = 3600.0
#: ... or after a minute, where the server did not tell.
KEPT_AFTER_FAILURE_SECONDS = 60.0
MOST_DIRECTORIES = 256


class Server(Protocol):
    """What is needed of a downloader."""

    def published_names(self, directory: str) -> Sequence[str]:
        """Return the names of the files in a directory below the root."""

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the bytes of a file."""


@dataclass
class _Directory:
    """What a directory offers: digests by file name, and names of files that hold one more each."""

    digests: dict[str, Digest] = field(default_factory=dict)
    #: Name of a file -> the name of the file with its checksum, not fetched yet.
    beside: dict[str, str] = field(default_factory=dict)
    #: The server said what there is; else nobody knows, and it counts as nothing.
    is_told: bool = False
    kept_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Publishers:
    """Remembers what directories offer; may be called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._directories: OrderedDict[Hashable, _Directory] = OrderedDict()

    def digest(
        self,
        server: Callable[[], Server],
        identity: Hashable,
        remote_file: RemoteFile,
        *,
        must: bool = False,
    ) -> Digest | None:
        """Return the digest that the publisher offers for a file.

        Looked for in the file's directory, then in those above it, up to the root. `server` is
        called where it is asked something; `identity` is of server, account and root. `must`: a
        server that does not tell is an error.

        Raises:
            DownloadError: a checksum file that is there did not arrive.
        """
        *parents, name = [part for part in remote_file.name.split("/") if part]
        for depth in range(len(parents), -1, -1):
            path = "/".join(parents[:depth])
            found = self._look(
                server, (identity, path), path, "/".join([*parents[depth:], name]), must
            )
            if found is not None:
                return found
        return None

    def forget(self, identity: Hashable, remote_file: RemoteFile) -> None:
        """Ask again for what was found for a file: it did not match."""
        parents = [part for part in remote_file.name.split("/") if part][:-1]
        with self._lock:
            for depth in range(len(parents) + 1):
                self._directories.pop((identity, "/".join(parents[:depth])), None)

    def _look(
        self, server: Callable[[], Server], key: Hashable, path: str, name: str, must: bool
    ) -> Digest | None:
        directory = self._directory(key)
        with directory.lock:  # the first one asks the server, the others wait for its answer
            is_old = time.monotonic() >= directory.kept_until
            if is_old or (must and not directory.is_told):
                self._ask(server(), directory, path, must)
            known, holder = directory.digests.get(name), directory.beside.get(name)
        if known is not None or holder is None:
            return known
        for other, digest in _read(server(), path, holder, subject=name).items():
            if other.rpartition("/")[2] == name:  # under whatever path it lay there
                directory.digests[name] = digest
        return directory.digests.get(name)

    def _directory(self, key: Hashable) -> _Directory:
        with self._lock:
            directory = self._directories.setdefault(key, _Directory())
            self._directories.move_to_end(key)
            if len(self._directories) > MOST_DIRECTORIES:
                self._directories.popitem(last=False)
            return directory

    def _ask(self, server: Server, directory: _Directory, path: str, must: bool) -> None:
        try:
            names = server.published_names(path)
            kept_seconds = KEPT_SECONDS
            directory.is_told = True
        except Cancelled:  # that says nothing of the server
            raise
        except DownloadError as error:
            # Many web servers do not list; a bank that wants no less than checksums hears why.
            if must:
                raise
            log.info("no checksums looked for directory=%s error=%s", path, error)
            names = []
            kept_seconds = KEPT_SECONDS if error.permanent else KEPT_AFTER_FAILURE_SECONDS
            directory.is_told = False
        directory.digests = {}
        for name in filter(is_of_directory, names):
            directory.digests.update(_read(server, path, name))
        directory.beside = {
            subject: name
            for name in names
            if (subject := subject_of(name)) is not None and subject not in directory.digests
        }
        directory.kept_until = time.monotonic() + kept_seconds


class _ShortPart(Part):
    """Takes a checksum file, up to a length that none has."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(path)
        self._most_bytes = most_bytes

    def place(self, chunks: Sequence[bytes], offset: int) -> int:
        """Put chunks where they belong."""
        self.check(offset + sum(map(len, chunks)))
        return super().place(chunks, offset)

    def write_at(self, chunk: bytes, offset: int) -> None:
        """Put a chunk where it belongs."""
        self.check(offset + len(chunk))
        super().write_at(chunk, offset)

    def check(self, size_bytes: int) -> None:
        """Return if it may be so long.

        Raises:
            ListingTooLong: it may not.
        """
        if size_bytes > self._most_bytes:
            raise ListingTooLong(
                f"expected a checksum file of at most {self._most_bytes} bytes, got more"
            )


def _read(
    server: Server, path: str, name: str, *, subject: str | None = None
) -> Mapping[str, Digest]:
    """Fetch and read a checksum file; one that is not there after all tells nothing."""
    remote_file = RemoteFile(name=f"{path}/{name}".lstrip("/"))
    most_bytes = shared.settings().checksums_bytes
    with (
        tempfile.TemporaryDirectory(prefix="biomaj-checksums-") as folder,
        closing(_ShortPart(Path(folder, "checksums"), most_bytes)) as part,
    ):
        try:
            server.fetch(remote_file, part)
        except (RemoteFileMissing, AccessDenied) as error:
            log.info("checksum file did not come name=%s error=%s", name, error)
            return {}
        part.check(part.size_bytes())
        text = os.fsdecode(part.read(most_bytes))
    return read_checksums(text, subject=subject)


#: What this process knows.
publishers = Publishers()
