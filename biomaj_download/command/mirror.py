"""What a sync is to do: which files of a listing are to be fetched or copied, and which to go.

In: the listing's files, the directory, the record of earlier syncs.  Out: a `Plan`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from biomaj_download.command.record import RECORD_NAME, Entry
from biomaj_download.download.matching import match_files
from biomaj_download.errors import UnsafePath
from biomaj_download.job import Listing, RemoteFile
from biomaj_download.publish import SafePath, final_path


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file that is to be brought, and why."""

    file: RemoteFile
    name: str
    path: SafePath
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done; names are paths below the directory."""

    fetch: list[Wanted] = field(default_factory=list)
    copy: list[Wanted] = field(default_factory=list)
    unchanged: dict[str, RemoteFile] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)


def plan_mirror(
    files: Sequence[RemoteFile],
    directory: Path,
    record: Mapping[str, Entry],
    *,
    source: str,
    release: Path | None = None,
    release_record: Mapping[str, Entry] | None = None,
) -> Plan:
    """Return what is to be brought; `release`: where the same files may lie already.

    `release_record`: what a sync wrote down there.

    Raises:
        UnsafePath: a name of the listing would leave the directory.
    """
    plan = Plan()
    for file in files:
        path = final_path(directory, file.name)
        name = path.relative_to(directory).as_posix()
        entry = record.get(name)
        entry = entry if entry and entry.source == source else None
        why = _difference(file, path, entry, source)
        if why is None:
            plan.unchanged[name] = file
            continue
        wanted = Wanted(file=file, name=name, path=path, why=why)
        known = (release_record or {}).get(name)
        is_known = release is not None and _difference(file, release / name, known, source) is None
        (plan.copy if is_known else plan.fetch).append(wanted)
    return plan


def _difference(file: RemoteFile, path: Path, entry: Entry | None, source: str) -> str | None:
    """Return why a file here is not the one that the server lists; None: it is."""
    try:
        status = path.stat()
    except OSError:
        return "new"
    is_exact = file.size_bytes is not None and file.size_is_exact
    if is_exact and status.st_size != file.size_bytes:
        return f"size {status.st_size} here, {file.size_bytes} there"
    if not is_exact and not _is_as_recorded(file, entry, source, status.st_size):
        return "size not told"
    day_here = date.fromtimestamp(status.st_mtime)
    if file.day is not None and day_here != file.day:
        return f"of {day_here} here, of {file.day} there"
    if entry is not None and entry.modified_at and file.modified_at:
        before = datetime.fromisoformat(entry.modified_at)
        if before != file.modified_at:
            return f"of {before:%Y-%m-%d %H:%M:%S} here, of {file.modified_at:%H:%M:%S} there"
    return None


def _is_as_recorded(file: RemoteFile, entry: Entry | None, source: str, bytes_here: int) -> bool:
    """Say whether a server that tells no exact size says what it said when the file came."""
    if entry is None or entry.bytes_here != bytes_here:
        return False
    return Entry.of(file, source, bytes_here) == entry


def find_strangers(
    plan: Plan,
    directory: Path,
    record: Mapping[str, Entry],
    patterns: Sequence[str],
    *,
    source: str,
) -> list[str]:
    """Return the files of the directory that the patterns take and the source lists no more.

    What a sync brought from elsewhere is not ours. Links to directories are not entered, and hidden
    parts are left alone.
    """
    listed = {wanted.name for wanted in (*plan.fetch, *plan.copy)} | plan.unchanged.keys()
    matched = match_files(patterns, _entries(directory, ""), lambda d: _entries(directory, d))
    names = {file.name.lstrip("/") for file in matched}
    ours = {name for name in names if name not in record or record[name].source == source}
    return sorted(name for name in ours - listed if _is_really_below(directory, name))


def _entries(directory: Path, below: str) -> Listing:
    files: list[RemoteFile] = []
    directories: list[RemoteFile] = []
    with os.scandir(directory / below.strip("/")) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(RemoteFile(name=entry.name))
            elif not _is_hidden_state(entry.name) and not _leads_to_a_directory(entry):
                files.append(RemoteFile(name=entry.name))
    return Listing(files=tuple(files), directories=tuple(directories))


def _leads_to_a_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def _is_hidden_state(name: str) -> bool:
    return name.startswith(RECORD_NAME) or (
        name.startswith(".") and name.endswith((".part", ".kept"))
    )


def _is_really_below(directory: Path, name: str) -> bool:
    """Say whether a file is there that we can have brought, and no link leads to it."""
    try:
        path = final_path(directory, name)
    except UnsafePath:
        return False
    parents = [parent for parent in path.parents if directory in parent.parents]
    return os.path.lexists(path) and not any(parent.is_symlink() for parent in parents)


def delete_files(directory: Path, names: Sequence[str]) -> None:
    """Remove files, and the directories that hold nothing any more.

    Raises:
        OSError: the disk does not let us.
    """
    for name in names:
        path = final_path(directory, name)
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == directory or any(parent.iterdir()):
                break
            parent.rmdir()
