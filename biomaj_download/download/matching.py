"""Choose files by a bank's `remote.files` patterns, walking directories where a pattern has `/`.

In: patterns, the listing of the top directory, and a function that lists a directory below it.
Out: the chosen files, in the order of the patterns, each once, named `/directory/file`.

Each part of a pattern is a regular expression, matched from the start of a base name; the parts
before the last choose directories. `**/*` takes every file below.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from operator import attrgetter

from biomaj_download.download.expressions import Expression, MatchTime, compile_expression
from biomaj_download.download.listing.bounds import BOUNDS, Bounds
from biomaj_download.errors import (
    AccessDenied,
    ListingError,
    ListingTooLong,
    OptionError,
    RemoteFileMissing,
)
from biomaj_download.job import Listing, RemoteFile

_NAME: Callable[[RemoteFile], str] = attrgetter("name")

log = logging.getLogger("biomaj.download.matching")

#: Ends a pattern that takes every file below a directory.
EVERYTHING = "**/*"
#: Deeper than any real tree: a link loop that the listings do not give away.
DEEPEST_DIRECTORY = 64
#: So many directories above hold the same directories, and no files: then it is a loop.
ALIKE_ABOVE = 4
#: Directories listed at once; the limits per host hold on top of that.
MOST_AT_ONCE = 16


@dataclass(frozen=True)
class _Directory:
    """A directory on the walk: its path, what it holds, and the listings above it."""

    path: str
    listing: Listing
    above: tuple[Listing, ...] = ()


@dataclass(frozen=True)
class _Pattern:
    """A compiled pattern: directories to go down, then the file's expression (None: `**/*`)."""

    directories: tuple[Expression, ...]
    file: Expression | None


@dataclass(frozen=True)
class _Step:
    """A directory that is to be listed."""

    parent: _Directory
    path: str
    is_link: bool


@dataclass
class _Walk:
    """Lists each directory once, however many patterns lead there; those of a level at once."""

    list_directory: Callable[[str], Listing]
    time: MatchTime
    most_entries: int
    seen: dict[str, _Directory | None] = field(default_factory=dict)
    entries: int = 0

    def below(
        self, parents: Sequence[_Directory], expression: Expression | None = None
    ) -> list[_Directory]:
        """Return the directories that these hold; `expression` None: all.

        A link that leads to a file is none.
        """
        steps = {
            step.path: step for parent in parents for step in self._steps_from(parent, expression)
        }
        unknown = [step for path, step in steps.items() if path not in self.seen]
        for step, directory in zip(unknown, _at_once(self._read, unknown), strict=True):
            self.seen[step.path] = directory
            self._count(directory)
        found = (self.seen[path] for path in steps)
        return [directory for directory in found if directory is not None]

    def _read(self, step: _Step) -> _Directory | None:
        above = (*step.parent.above, step.parent.listing)
        if len(above) > DEEPEST_DIRECTORY:
            raise ListingError(
                f"{step.path}: expected at most {DEEPEST_DIRECTORY} directories deep"
            )
        try:
            listing = self.list_directory(f"{step.path}/")
        except (AccessDenied, RemoteFileMissing):
            if not step.is_link:
                raise
            log.debug("link is no directory path=%s", step.path)
            return None
        if _is_loop(listing, above, is_link=step.is_link):
            log.info("cut link loop path=%s", step.path)
            return _Directory(step.path, Listing())
        return _Directory(step.path, listing, above)

    def _count(self, directory: _Directory | None) -> None:
        if directory is None:
            return
        self.entries += len(directory.listing.files) + len(directory.listing.directories)
        if self.entries > self.most_entries:
            raise ListingTooLong(
                f"{directory.path}: expected at most {self.most_entries} entries in all"
            )

    def _steps_from(self, parent: _Directory, expression: Expression | None) -> Iterator[_Step]:
        links = {file.name for file in parent.listing.files}
        names = list(dict.fromkeys(entry.name for entry in parent.listing.directories))
        if expression is not None:
            names = self.time.taken(expression, names, str)
        for name in names:
            yield _Step(parent, _joined(parent.path, name), is_link=name in links)


def _at_once(
    read: Callable[[_Step], _Directory | None], steps: Sequence[_Step]
) -> Iterator[_Directory | None]:
    """Read directories by a few threads, in order; the first failure ends it."""
    if len(steps) <= 1:
        yield from map(read, steps)
        return
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, len(steps)), thread_name_prefix="listing")
    try:
        yield from pool.map(read, steps)
    finally:
        pool.shutdown(cancel_futures=True)


def match_files(
    patterns: Sequence[str],
    listing: Listing,
    list_directory: Callable[[str], Listing],
    *,
    prefix: str = "",
    bounds: Bounds = BOUNDS,
) -> tuple[RemoteFile, ...]:
    """Return the files that any pattern takes; none may match.

    `listing` is what the directory `prefix` holds; `list_directory` gets `/directory/sub/`, joined
    to the prefix. A link that counts as file and as directory may raise `RemoteFileMissing` or
    `AccessDenied` when listed: it is a file then. `bounds`: of the
    whole walk.

    Raises:
        OptionError: a pattern is no regular expression.
        ExpressionTooSlow: the matching takes too long.
        ListingError: the directories are too deep or too many.
    """
    compiled = [_compile(pattern) for pattern in patterns]
    walk = _Walk(list_directory, MatchTime(bounds.match_seconds), bounds.most_entries)
    top = _Directory(prefix, listing)
    chosen: dict[str, RemoteFile] = {}
    for pattern in compiled:
        for file in _matching(pattern, top, walk):
            chosen.setdefault(file.name, file)
    return tuple(chosen.values())


def _compile(pattern: str) -> _Pattern:
    text = pattern.removeprefix("^").lstrip("/")
    takes_everything = text == EVERYTHING or text.endswith(f"/{EVERYTHING}")
    if takes_everything:
        text = text.removesuffix(EVERYTHING)
    *directories, last = text.split("/")
    try:
        return _Pattern(
            directories=tuple(compile_expression(part) for part in directories if part),
            file=None if takes_everything else compile_expression(last),
        )
    except ValueError as error:
        raise OptionError(
            f"remote.files: expected regular expressions between slashes, got {pattern!r}: {error}"
        ) from error


def _matching(pattern: _Pattern, top: _Directory, walk: _Walk) -> Iterator[RemoteFile]:
    directories = [top]
    for expression in pattern.directories:
        directories = walk.below(directories, expression)
    if pattern.file is None:
        yield from _everything(directories, walk)
        return
    for directory in directories:
        for file in walk.time.taken(pattern.file, directory.listing.files, _NAME):
            yield _named(file, directory)


def _everything(directories: Sequence[_Directory], walk: _Walk) -> Iterator[RemoteFile]:
    """Yield all files below: listed level by level, told directory by directory."""
    level = directories
    while level:
        level = walk.below(level)
    for directory in directories:
        yield from _all_below(directory, walk)


def _all_below(directory: _Directory, walk: _Walk) -> Iterator[RemoteFile]:
    """Yield the files of a walked directory, but no link that turned out to be a directory."""
    below = walk.below([directory])
    paths = {entered.path for entered in below}
    for file in directory.listing.files:
        if _joined(directory.path, file.name) not in paths:
            yield _named(file, directory)
    for entered in below:
        yield from _all_below(entered, walk)


def _named(file: RemoteFile, directory: _Directory) -> RemoteFile:
    """Name a file by its path; one of the top directory, without a prefix, keeps its name."""
    if not directory.path:
        return file
    return replace(file, name=_joined(directory.path, file.name))


def _joined(path: str, name: str) -> str:
    return re.sub("/{2,}", "/", f"{path}/{name}")


def _is_loop(listing: Listing, above: Sequence[Listing], *, is_link: bool) -> bool:
    """Say whether a listing is one from further up: same names, sizes and dates.

    A single entry proves nothing: `data/data/` holding one directory each is how archives unpack.
    Nor do directories alone, once: trees that are split by names (`00/01/`) look so.
    """
    faces, directories = _faces(listing), listing.directories
    is_telling = len(faces) > 1 and any(entry.day for entry in listing.files + listing.directories)
    if not is_telling:
        return False
    alike = sum(
        len(faces) == len(higher.files) + len(higher.directories) and faces == _faces(higher)
        for higher in above
    )
    # Times to the microsecond are no coincidence.
    is_precise = any(entry.modified_at and entry.modified_at.microsecond for entry in directories)
    return alike >= (1 if is_link or listing.files or is_precise else ALIKE_ABOVE)


def _faces(listing: Listing) -> list[tuple[object, ...]]:
    """Return what tells entries apart; `root` is left out, it names the directory."""
    return [
        (entry.name, entry.size_bytes, entry.day, entry.hash)
        for entry in listing.files + listing.directories
    ]
