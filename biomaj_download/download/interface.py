"""`DownloadInterface`: BioMAJ's public doors, over the two methods that a protocol's author writes.

An author writes `entries()` (list a directory) and `fetch()` (bring bytes into a `.part` file);
listing, matching, retries, verification and publication are done here, the same for all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from typing import Any

from biomaj_download.archives import MOST_SECONDS
from biomaj_download.checksums import Digest, is_checksum_file
from biomaj_download.download.filedict import (
    FileDict,
    dated,
    day_of,
    dict_of,
    file_of,
    target_name,
)
from biomaj_download.download.lastrelease import split_known
from biomaj_download.download.listing.bounds import Bounds
from biomaj_download.download.matching import match_files
from biomaj_download.download.publishers import publishers
from biomaj_download.download.wishes import Wishes
from biomaj_download.errors import (
    ChecksumMissing,
    DigestMismatch,
    DownloadError,
    NoMatch,
    TransferError,
    WrongChecksum,
)
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.pipeline import bring_home, deliver
from biomaj_download.publish import SafePath, final_path, noon, opened_place, sync_directories
from biomaj_download.text import without_account
from biomaj_download.transfer import shared
from biomaj_download.transfer.partial import Part
from biomaj_download.verify import Checks

#: A publisher's listing or checksum file may take so long; after that a file comes without.
PUBLISHER_SECONDS = 120


class DownloadInterface(Wishes):
    """What every downloader does; used by one thread at a time."""

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> DownloadInterface:
        """Return a downloader as the registry makes it from a request."""
        raise NotImplementedError

    @classmethod
    def lack(cls, _protocol: str) -> str | None:
        """Return what this host lacks for a protocol, and how to get it; None: nothing."""
        return None

    # What an author writes.

    def entries(self, directory: str = "") -> Listing:
        """List a directory below the root, once.

        Raises:
            DownloadError: the server failed; an empty listing is an empty directory.
        """
        raise NotImplementedError

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring the bytes of a file into `part`, once.

        Raises:
            DownloadError: they did not arrive.
        """
        raise NotImplementedError

    def _network_configuration(self) -> None:
        """Prepare the network before a listing or a download; for subclasses."""

    # What a downloader does.

    def list(self, directory: str = "") -> tuple[Sequence[FileDict], Sequence[FileDict]]:
        """List a directory below the root: its files and its directories.

        Raises:
            DownloadError: of the last attempt.
        """
        self._network_configuration()
        listing = self._listing(directory)
        self._vague = {file.name: file for file in listing.files if file.is_vague}
        files, directories = (
            [dated(dict_of(entry)) | {"root": entry.root or self.rootdir} for entry in entries]
            for entries in (listing.files, listing.directories)
        )
        return files, directories

    def _listing(self, directory: str) -> Listing:
        listing: Listing = self.retryer(self.entries, directory)
        return listing

    def _listing_below(self, directory: str) -> Listing:
        """List a directory that may be a link to a file: a refusal tells, and is final."""
        try:
            return self.entries(directory)
        except DownloadError as error:
            if error.permanent or not error.retryable:
                raise
        return self._listing(directory)

    def match(
        self,
        patterns: Sequence[str],
        file_list: Sequence[FileDict],
        dir_list: Sequence[FileDict] | None = None,
        prefix: str = "",
        submatch: bool = False,
    ) -> None:
        """Put the files that a pattern takes into `files_to_download`; see `matching`.

        `submatch`: add to those that are there already; nothing need match.

        Raises:
            NoMatch: no file matches.
        """
        self.logger.debug("matching patterns=%s files=%d", patterns, len(file_list))
        top = Listing(
            files=tuple(self._listed_file(entry) for entry in file_list),
            directories=tuple(file_of(entry) for entry in dir_list or ()),
        )
        if not submatch:
            self.files_to_download = []
        chosen = match_files(
            patterns, top, self._listing_below, prefix=prefix, bounds=self.bounds()
        )
        for file in self.completed(chosen):
            self._append_file_to_download(dated(dict_of(file)))
        if not submatch and not self.files_to_download:
            place = without_account(self.server) or self.rootdir
            raise NoMatch(f"{place}: no file matches {list_of(patterns)}")

    def find(self, patterns: Sequence[str]) -> Sequence[RemoteFile]:
        """List what lies below the root, and return the files that a pattern takes; none may match.

        What the listing left open, the server is asked for; what it does not tell stays unknown.

        Raises:
            DownloadError: a directory could not be listed.
        """
        self._network_configuration()
        top = self._listing("")
        return self.completed(match_files(patterns, top, self._listing_below, bounds=self.bounds()))

    def bounds(self) -> Bounds:
        """Return what a listing may come to."""
        settings = shared.settings()
        return Bounds(
            most_entries=settings.listing_entries,
            most_line_characters=settings.listing_line_characters,
            match_seconds=settings.match_seconds,
        )

    def _listed_file(self, entry: FileDict) -> RemoteFile:
        """Return a file as the last listing told it, which may have left something open."""
        return self._vague.get(entry.get("name", "")) or file_of(entry, size_is_exact=True)

    def completed(self, files: Sequence[RemoteFile]) -> Sequence[RemoteFile]:
        """Return files with what their listing left vague, where the server can be asked for it."""
        return files

    def download_or_copy(
        self, available_files: Sequence[FileDict], root_dir: str, check_exists: bool = True
    ) -> None:
        """Move files that the last release holds from `files_to_download` to `files_to_copy`.

        The release has a file under the name that it was saved as.
        """
        self.files_to_copy, self.files_to_download = split_known(
            self.files_to_download, available_files, root_dir, check_exists=check_exists
        )

    def download(self, local_dir: str, keep_dirs: bool = True) -> Sequence[FileDict]:
        """Bring all `files_to_download` home; return them, with `download_time` in seconds.

        Raises:
            DownloadError: a file did not come after the last attempt; its dict has `error`.
        """
        try:
            self.bring_all(Path(local_dir), keep_dirs)
        finally:
            sync_directories(self.changed_directories)
        return self.files_to_download

    def bring_all(self, local_dir: Path, keep_dirs: bool = True) -> None:
        """Bring all `files_to_download` home; their `changed_directories` are still to be synced.

        Where small files are left, there is one to download: it may be `unpublished` then.

        Raises:
            DownloadError: as `download`.
        """
        self._network_configuration()
        self.changed_directories = set()
        for rfile in self.files_to_download:
            self._download_one(rfile, local_dir, keep_dirs)

    def _download_one(self, rfile: FileDict, local_dir: Path, keep_dirs: bool) -> None:
        started = time.monotonic()
        try:
            path = final_path(local_dir, target_name(rfile), keep_directories=keep_dirs)
            self.cancellation.check()
            with ExitStack() as held, self.observer.file(path.name):
                place = held.enter_context(opened_place(local_dir, path, roots=self.storage_roots))
                self._places = {str(path): place}
                deliver(lambda: self._bring(path, rfile), place, self.retryer, self.cancellation)
                if self.unpublished is not None:  # its directory is let go of after its part
                    held.push(self.unpublished.held)
                    self.unpublished.held = held.pop_all()
        except DownloadError:
            self.error = rfile["error"] = True
            raise
        if self.is_durable:
            self.changed_directories.add(path.parent)
        rfile["error"] = False
        rfile["download_time"] = time.monotonic() - started

    def _bring(self, path: SafePath, rfile: FileDict) -> None:
        with self.observer.attempt():
            try:
                self._try_to_bring(path, rfile)
            except BaseException:
                self._give_up_unpublished()
                raise

    def _try_to_bring(self, path: SafePath, rfile: FileDict) -> None:
        if self._download(str(path), rfile):
            raise TransferError(f"{rfile['name']}: the downloader reported a failure")

    def _give_up_unpublished(self) -> None:
        """Let go of a file that was left, and is not to be published."""
        if self.unpublished is not None:
            unpublished, self.unpublished = self.unpublished, None
            unpublished.close()

    def _download(self, file_path: str, rfile: FileDict) -> bool:
        """Bring one file home, once; False: it is there.

        A subclass that moves bytes in its own way overrides this, and may return True to fail.
        """
        place = self._places.get(file_path, SafePath(Path(file_path)))
        published = bring_home(self, file_of(rfile), place)
        rfile["size"] = published.size_bytes
        return False

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Ask the server for a file's size; None: it does not tell."""
        return None

    def bytes_to_store(self, remote_file: RemoteFile) -> int:
        """Return how much room a file will take, as listed; 0: nobody knows."""
        return remote_file.size_bytes or 0

    def checks(self, remote_file: RemoteFile) -> Checks:
        """Return what is to be checked of a file.

        Raises:
            ChecksumMissing: the bank requires a checksum, and there is none.
            DownloadError: the publisher's checksum did not arrive.
        """
        return Checks(
            archives=not self.skip_check_uncompress,
            archive_seconds=self._values.get("check_uncompress_seconds", MOST_SECONDS),
            content=self._values.get("check_content", True),
            digests=self._expected_digests(remote_file),
        )

    def _expected_digests(self, remote_file: RemoteFile) -> tuple[Digest, ...]:
        """Return the digests that are given for a file, else the one that its publisher offers."""
        given = self._values["checksum"]
        known = [Digest(*given)] if given else []
        if remote_file.md5:
            known.append(Digest("md5", remote_file.md5.strip().lower()))
        policy = self._values.get("verify", "off")
        if known or policy == "off" or is_checksum_file(remote_file.name):
            return tuple(known)
        found = self._published_digest(remote_file, must=policy == "require")
        if found is None and policy == "require":
            raise ChecksumMissing(f"{remote_file.name}: expected a checksum, found none beside it")
        return () if found is None else (found,)

    def _published_digest(self, remote_file: RemoteFile, *, must: bool) -> Digest | None:
        """Return the digest that the publisher offers; `must`: not to be told is an error."""
        return publishers.digest(
            lambda: self._at_root_of(remote_file),
            self._identity(remote_file),
            remote_file,
            must=must,
        )

    def _at_root_of(self, remote_file: RemoteFile) -> DownloadInterface:
        """Return a downloader of what lies around a file."""
        server = copy(self)
        server.rootdir = remote_file.root or self.rootdir
        server.timeout = PUBLISHER_SECONDS
        return server

    def published_names(self, directory: str) -> Sequence[str]:
        """Return the names of the files in a directory, where the publisher's checksums may be."""
        return [file.name for file in self.entries(directory).files]

    def doubt_checks(self, remote_file: RemoteFile, mismatch: DigestMismatch) -> None:
        """Have the digest that the publisher offers asked for again.

        Raises:
            WrongChecksum: file and digest differ as they did before.
        """
        publishers.forget(self._identity(remote_file), remote_file)
        if str(mismatch) == self._mismatch:
            raise WrongChecksum(mismatch) from mismatch
        self._mismatch = str(mismatch)

    def _identity(self, remote_file: RemoteFile) -> tuple[object, ...]:
        """Return what makes two directories of the same name the same one."""
        root = remote_file.root or self.rootdir
        return (self.protocol, self.server, self.credentials, self.proxy, root)

    def set_permissions(self, path: str, file: Mapping[str, Any]) -> None:
        """Give a file on this host the day of its listing."""
        day = day_of(file)
        if day is not None:
            os.utime(path, (noon(day).timestamp(),) * 2)

    def chroot(self, cwd: str) -> None:
        """Change the directory; a protocol without one has nothing to change."""

    def close(self) -> None:
        """Let go of what the downloader holds."""


def list_of(patterns: Sequence[str]) -> str:
    """Return patterns as they are shown in an error."""
    return ", ".join(repr(pattern) for pattern in patterns)
