"""The command `biomaj-download sync`: a directory made like one on a server."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import click

from biomaj_download.command.addresses import Address, read_address, tree_downloader
from biomaj_download.command.attending import attend, stop_signals
from biomaj_download.command.bringing import bring
from biomaj_download.command.doors import (
    DIRECTORY,
    SLOTS,
    connections_option,
    example,
    failure_told,
    json_option,
    obedient,
    options_option,
    quiet_option,
    set_up,
)
from biomaj_download.command.fetching import Fetch, failures
from biomaj_download.command.mirror import (
    Plan,
    Wanted,
    delete_files,
    find_strangers,
    plan_mirror,
)
from biomaj_download.command.record import RECORD_NAME, Entry, read_record, write_record
from biomaj_download.command.summing import sum_up
from biomaj_download.command.telling import Teller, choose_teller
from biomaj_download.command.words import files_text, printable, size_text
from biomaj_download.disk import on_disk
from biomaj_download.download.filedict import dict_of
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.download.matching import EVERYTHING
from biomaj_download.errors import ConfigError, NoMatch, OptionError
from biomaj_download.job import RemoteFile
from biomaj_download.settings import Settings

match_option = click.option(
    "-m",
    "--match",
    "patterns",
    multiple=True,
    default=(EVERYTHING,),
    metavar="REGEX",
    help="Take files whose path fits: a regular expression for each directory and the name, between"
    " slashes, matched from the beginning; **/* takes all below (default).",
)
exclude_option = click.option(
    "-x",
    "--exclude",
    "excluded",
    multiple=True,
    metavar="REGEX",
    help="Leave out files in whose path this is found; they are not deleted either.",
)


@click.command(
    epilog=example(
        "sync https://ftp.ensembl.org/pub/current_fasta/homo_sapiens/ -d human",
        " --match 'dna/.*primary_assembly.*gz$' --delete --dry-run",
    )
)
@click.argument("url")
@click.option(
    "-d",
    "--directory",
    type=DIRECTORY,
    required=True,
    help="The directory that is made like the server's.",
)
@match_option
@exclude_option
@click.option(
    "--from",
    "release",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Copy what is unchanged from here, such as the last release, rather than fetch it.",
)
@click.option(
    "--delete",
    "may_delete",
    is_flag=True,
    help="Remove files that --match takes and the server does not list any more, but those that a"
    " sync brought from another URL. Nothing is removed if anything failed.",
)
@click.option("-n", "--dry-run", "is_rehearsal", is_flag=True, help="Only tell what would be done.")
@connections_option
@options_option
@quiet_option
@json_option
def sync(
    url: str,
    directory: Path,
    patterns: Sequence[str],
    excluded: Sequence[str],
    release: Path | None,
    may_delete: bool,
    is_rehearsal: bool,
    connections: int | None,
    options: Mapping[str, str],
    is_quiet: bool,
    as_json: bool,
) -> None:
    """Make a directory like one on a server.

    Lists URL and all below it, fetches what is new or changed (in size or date) and verifies it;
    the largest files come first. A file stands under its name when it is whole. Accounts as for
    `get`. Ctrl-C keeps what came: the same command goes on there.
    """
    with failure_told(as_json=as_json):
        settings = set_up(connections)
        address = read_address(url if url.endswith("/") else f"{url}/")
        expressions = [_expression(text) for text in excluded]
        teller = choose_teller(as_json=as_json, is_quiet=is_quiet)
        files = _listed(address, patterns, expressions, options, may_delete=may_delete)
        directory = directory.absolute()
        if is_rehearsal:
            mirror = _Mirror(directory, address, options, settings, teller)
            plan = mirror.plan(files, patterns, expressions, release, may_delete=may_delete)
            _rehearse(plan, teller, directory)
            return
        with on_disk(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with _alone_in(directory):
            mirror = _Mirror(directory, address, options, settings, teller)
            plan = mirror.plan(files, patterns, expressions, release, may_delete=may_delete)
            code = mirror.make(plan, release, slots=max(SLOTS, connections or 0))
    sys.exit(code)


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise OptionError(
            f"--exclude: expected a regular expression, got {text!r}: {error}"
        ) from error


def _listed(
    address: Address,
    patterns: Sequence[str],
    excluded: Sequence[re.Pattern[str]],
    options: Mapping[str, str],
    *,
    may_delete: bool,
) -> list[RemoteFile]:
    """Return the files that are to be here.

    Raises:
        NoMatch: there are none, which no databank means.
        DownloadError: a directory could not be listed.
    """
    found = find_files(address, patterns, options)
    files = [file for file in found if not _is_excluded(file.name.lstrip("/"), excluded)]
    if not files:
        untouched = ", so nothing is deleted" if may_delete else ""
        taken = ", ".join(repr(pattern) for pattern in patterns)
        raise NoMatch(f"{address.url}: no file matches {taken}{untouched}")
    return files


def find_files(
    address: Address, patterns: Sequence[str], options: Mapping[str, str]
) -> Sequence[RemoteFile]:
    """Return the files below an address that match; a signal may end it.

    Raises:
        DownloadError: a directory could not be listed.
    """
    downloader = tree_downloader(address, options)
    try:
        return attend(
            lambda: downloader.find(patterns), downloader.cancellation, f"listing {address.url}"
        )
    finally:
        downloader.close()


def _is_excluded(name: str, excluded: Sequence[re.Pattern[str]]) -> bool:
    """Say whether a file is left out; a server's file must not take the place of our record."""
    return name.startswith(RECORD_NAME) or any(expression.search(name) for expression in excluded)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other syncs out of a directory; a file system without locks is taken as it is.

    Raises:
        ConfigError: another one is at it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"{directory}: another sync is at work there") from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(descriptor)


class _Mirror:
    """A directory that is made like one on a server."""

    def __init__(
        self,
        directory: Path,
        address: Address,
        options: Mapping[str, str],
        settings: Settings,
        teller: Teller,
    ) -> None:
        self._directory = directory
        self._address = address
        self._options = options
        self._settings = settings
        self._teller = teller
        self._record = read_record(directory)

    def plan(
        self,
        files: Sequence[RemoteFile],
        patterns: Sequence[str],
        excluded: Sequence[re.Pattern[str]],
        release: Path | None,
        *,
        may_delete: bool,
    ) -> Plan:
        """Return what is to be done."""
        source = self._address.url
        plan = plan_mirror(
            files,
            self._directory,
            self._record,
            source=source,
            release=release,
            release_record=_record_of(release),
        )
        if may_delete and self._directory.is_dir():
            with on_disk(self._directory):
                strangers = find_strangers(
                    plan, self._directory, self._record, patterns, source=source
                )
            plan.delete.extend(name for name in strangers if not _is_excluded(name, excluded))
        return plan

    def make(self, plan: Plan, release: Path | None, *, slots: int) -> int:
        """Do what is to be done, tell of it, and return the exit code."""
        started = monotonic()
        fetches = [
            *(self._fetch(wanted, partial(self._open, wanted.file)) for wanted in plan.fetch),
            *(
                self._fetch(wanted, partial(self._open_copy, release, wanted), is_copy=True)
                for wanted in plan.copy
                if release is not None
            ),
        ]
        with stop_signals() as stop:  # once it has begun, what came is written down, too
            try:
                number = (
                    bring(fetches, self._teller, self._settings, slots=slots) if fetches else None
                )
            finally:
                self._note(plan, fetches)
            number = number or stop.number
            besides = [] if number else self._deleted(plan, fetches)
        if plan.unchanged:
            besides.insert(0, f"{files_text(len(plan.unchanged))} unchanged")
        return sum_up(
            fetches,
            self._teller,
            seconds=monotonic() - started,
            place=self._directory,
            signal_number=number,
            besides=besides,
            facts={
                "unchanged": len(plan.unchanged),
                "copied": sum(fetch.is_there for fetch in fetches if fetch.is_copy),
                "deleted": 0 if number or failures(fetches) else len(plan.delete),
            },
        )

    def _fetch(
        self, wanted: Wanted, opener: partial[DownloadInterface], *, is_copy: bool = False
    ) -> Fetch:
        return Fetch(
            name=wanted.name,
            local_dir=self._directory,
            path=wanted.path,
            open_downloader=opener,
            size_bytes=wanted.file.size_bytes,
            is_copy=is_copy,
        )

    def _open(self, file: RemoteFile) -> DownloadInterface:
        downloader = tree_downloader(self._address, self._options)
        downloader.set_files_to_download([dict_of(file)])
        return obedient(downloader, self._settings)

    def _open_copy(self, release: Path, wanted: Wanted) -> DownloadInterface:
        downloader = LocalDownload(str(release))
        file = {**dict_of(wanted.file), "name": wanted.name, "root": str(release)}
        downloader.set_files_to_download([file])
        return obedient(downloader, self._settings)

    def _deleted(self, plan: Plan, fetches: Sequence[Fetch]) -> list[str]:
        """Remove what is to go, unless something failed; return what is to be told of it."""
        if not plan.delete:
            return []
        if failures(fetches):
            return ["nothing deleted, as not all files are here"]
        with on_disk(self._directory):
            delete_files(self._directory, plan.delete)
        for name in plan.delete:
            self._record.pop(name, None)
        write_record(self._directory, self._record)
        return [f"{files_text(len(plan.delete))} deleted"]

    def _note(self, plan: Plan, fetches: Sequence[Fetch]) -> None:
        """Remember what is here from the source, for the next sync."""
        files = {wanted.name: wanted.file for wanted in (*plan.fetch, *plan.copy)}
        here = {fetch.name: files[fetch.name] for fetch in fetches if fetch.is_there}
        sizes = {fetch.name: fetch.size_bytes or 0 for fetch in fetches}
        for name, file in {**plan.unchanged, **here}.items():
            path = self._directory / name
            with on_disk(path):
                bytes_here = sizes[name] if name in sizes else path.stat().st_size
            self._record[name] = Entry.of(file, self._address.url, bytes_here)
        write_record(self._directory, self._record)


def _record_of(release: Path | None) -> dict[str, Entry]:
    """Return what is written down in a release; one that is not of ours counts for nothing."""
    try:
        return {} if release is None else read_record(release)
    except ConfigError:
        return {}


def _rehearse(plan: Plan, teller: Teller, directory: Path) -> None:
    """Tell what would be done."""
    for verb, wanted_files in (("fetch", plan.fetch), ("copy", plan.copy)):
        for wanted in wanted_files:
            size_bytes = wanted.file.size_bytes
            teller.answer(
                f"would {verb}: {printable(wanted.name)} ({size_text(size_bytes)}; {wanted.why})",
                action=verb,
                name=wanted.name,
                size_bytes=size_bytes,
                why=wanted.why,
            )
    for name in plan.delete:
        teller.answer(f"would delete: {printable(name)}", action="delete", name=name)
    size_bytes = sum(wanted.file.size_bytes or 0 for wanted in plan.fetch)
    teller.end(
        f"would fetch {files_text(len(plan.fetch))} ({size_text(size_bytes)}), copy"
        f" {files_text(len(plan.copy))}, delete {files_text(len(plan.delete))};"
        f" {files_text(len(plan.unchanged))} unchanged ({directory})",
        fetch=len(plan.fetch),
        size_bytes=size_bytes,
        copy=len(plan.copy),
        delete=len(plan.delete),
        unchanged=len(plan.unchanged),
    )
