"""What a person or a program sees of files that come: bars, plain lines, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
)
from rich.text import Text

from biomaj_download.command.fetching import Fetch
from biomaj_download.command.pace import Pace
from biomaj_download.command.words import (
    files_text,
    printable,
    size_text,
    speed_text,
    time_text,
)
from biomaj_download.transfer.outcome import redact

#: Where there is no terminal, progress is told so often.
LINE_SECONDS = 10.0
JSON_SECONDS = 1.0
#: So many running files are shown, those that go furthest; the rest of the screen is the user's.
MOST_BARS = 8
LONGEST_NAME = 40
#: A smaller file comes in a moment: its bar would but flicker.
BAR_FROM_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """All files at one moment; `size_bytes` None: not known of all."""

    files: int
    ended: int
    failed: int
    present_bytes: int
    size_bytes: int | None
    bytes_per_second: float
    seconds_left: float | None
    running: Sequence[tuple[Fetch, int]]


class Teller:
    """Tells of files that come; a method that is not overridden tells nothing."""

    def begin(self, fetches: Sequence[Fetch]) -> None:
        """Tell what is wanted."""

    def look(self, look: Look) -> None:
        """Tell how far all is; called often."""

    def ended(self, fetch: Fetch) -> None:
        """Tell how a file ended."""

    def note(self, text: str, **facts: Any) -> None:
        """Tell something besides; `facts` for programs."""

    def answer(self, text: str, **facts: Any) -> None:
        """Tell what was asked for."""
        click.echo(text)

    def close(self) -> None:
        """Leave the screen to others."""

    def end(self, text: str, **facts: Any) -> None:
        """Tell how all ended."""


class Silent(Teller):
    """Tells of failures alone."""

    def ended(self, fetch: Fetch) -> None:
        """Tell of a file that did not come."""
        if fetch.error is not None:
            click.echo(failure_line(fetch), err=True)


class Lines(Silent):
    """Plain lines: one a file, and one for all now and then."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def look(self, look: Look) -> None:
        """Tell how far all is."""
        if monotonic() - self._told_at >= LINE_SECONDS:
            self._told_at = monotonic()
            click.echo(look_line(look), err=True)

    def ended(self, fetch: Fetch) -> None:
        """Tell how a file ended."""
        super().ended(fetch)
        if fetch.is_there:
            verb = "copied" if fetch.is_copy else "fetched"
            size, seconds = size_text(fetch.size_bytes), time_text(fetch.seconds)
            click.echo(f"{verb}: {printable(fetch.name)} ({size}, {seconds})", err=True)

    def note(self, text: str, **facts: Any) -> None:
        """Tell something besides."""
        click.echo(text, err=True)

    def end(self, text: str, **facts: Any) -> None:
        """Tell how all ended."""
        click.echo(text)


class Bars(Lines):
    """A bar for all, and one for each file that runs, on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TextColumn("{task.fields[speed]:>9}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            expand=True,
        )
        self._all: TaskID | None = None
        self._bars: dict[Fetch, tuple[TaskID, Pace]] = {}

    def begin(self, fetches: Sequence[Fetch]) -> None:
        """Draw the bar for all."""
        self._progress.start()
        self._all = self._progress.add_task(files_text(len(fetches)), total=None, speed="", left="")

    def look(self, look: Look) -> None:
        """Move the bars."""
        if self._all is None:
            return
        failed = f", {look.failed} failed" if look.failed else ""
        self._progress.update(
            self._all,
            description=f"{look.ended:,} of {files_text(look.files)}{failed}",
            completed=look.present_bytes,
            total=look.size_bytes,
            **_figures(look.bytes_per_second, look.seconds_left),
        )
        large = [each for each in look.running if each[0].is_larger_than(BAR_FROM_BYTES)]
        shown = dict(sorted(large, key=lambda each: -each[1])[:MOST_BARS])
        for fetch in [fetch for fetch in self._bars if fetch not in shown]:
            self._progress.remove_task(self._bars.pop(fetch)[0])
        for fetch, present_bytes in shown.items():
            self._move(fetch, present_bytes)

    def _move(self, fetch: Fetch, present_bytes: int) -> None:
        if fetch not in self._bars:
            name = _shortened(printable(fetch.name))
            task = self._progress.add_task(name, total=fetch.size_bytes, speed="", left="")
            self._bars[fetch] = task, Pace()
        task, pace = self._bars[fetch]
        pace.look(present_bytes - fetch.left_bytes)
        left_bytes = None if fetch.size_bytes is None else fetch.size_bytes - present_bytes
        self._progress.update(
            task,
            completed=present_bytes,
            total=fetch.size_bytes,
            **_figures(pace.bytes_per_second(), pace.seconds_left(left_bytes)),
        )

    def ended(self, fetch: Fetch) -> None:
        """Tell of a file that did not come, above the bars."""
        if fetch.error is not None:
            self._progress.console.print(Text(failure_line(fetch)), soft_wrap=True)

    def note(self, text: str, **facts: Any) -> None:
        """Tell something besides, above the bars."""
        self._progress.console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        """Remove the bars."""
        self._progress.stop()


class Json(Teller):
    """One JSON object a line, on the standard output, each with its `event`."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def begin(self, fetches: Sequence[Fetch]) -> None:
        """Tell what is wanted."""
        _print("begin", files=len(fetches), size_bytes=sum_of_sizes(fetches))

    def look(self, look: Look) -> None:
        """Tell how far all is."""
        if monotonic() - self._told_at < JSON_SECONDS:
            return
        self._told_at = monotonic()
        facts = {name: value for name, value in vars(look).items() if name != "running"}
        running = [
            {"name": fetch.name, "present_bytes": present_bytes, "size_bytes": fetch.size_bytes}
            for fetch, present_bytes in look.running
        ]
        _print("progress", **facts, running=running)

    def ended(self, fetch: Fetch) -> None:
        """Tell how a file ended."""
        error = fetch.error
        state = "failed" if error else "copied" if fetch.is_copy else "fetched"
        _print(
            "file",
            name=fetch.name,
            path=str(fetch.path),
            state=state,
            size_bytes=fetch.size_bytes,
            seconds=round(fetch.seconds, 3),
            code=error.code if error else None,
            error=redact(str(error)) if error else None,
        )

    def note(self, text: str, **facts: Any) -> None:
        """Tell something besides."""
        _print("note", text=text, **facts)

    def answer(self, text: str, **facts: Any) -> None:
        """Tell what was asked for."""
        _print("answer", **facts)

    def end(self, text: str, **facts: Any) -> None:
        """Tell how all ended."""
        _print("end", **facts)


def choose_teller(*, as_json: bool, is_quiet: bool) -> Teller:
    """Return what tells in the way that was asked for, or that the terminal allows."""
    if as_json:
        return Json()
    if is_quiet:
        return Silent()
    console = Console(stderr=True, highlight=False)
    return Bars(console) if console.is_terminal else Lines()


def sum_of_sizes(fetches: Sequence[Fetch]) -> int | None:
    """Return how much all are; None: not known of all."""
    sizes = [fetch.size_bytes for fetch in fetches]
    return None if None in sizes else sum(size or 0 for size in sizes)


def failure_line(fetch: Fetch) -> str:
    """Return what went wrong with a file, in a line without secrets."""
    text = redact(str(fetch.error))
    named = text if text.startswith(fetch.name) else f"{fetch.name}: {text}"
    return f"failed: {printable(named)}"


def look_line(look: Look) -> str:
    """Return how far all is, in a line."""
    size = "" if look.size_bytes is None else f" of {size_text(look.size_bytes)}"
    left = "" if look.seconds_left is None else f", {time_text(look.seconds_left)} left"
    failed = f", {look.failed} failed" if look.failed else ""
    here, speed = size_text(look.present_bytes), speed_text(look.bytes_per_second)
    return f"{look.ended:,} of {files_text(look.files)}{failed}, {here}{size}, {speed}{left}"


def _figures(bytes_per_second: float, seconds_left: float | None) -> dict[str, Any]:
    return {
        "speed": speed_text(bytes_per_second) if bytes_per_second else "",
        "left": "" if seconds_left is None else f"{time_text(seconds_left)} left",
    }


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def _print(event: str, **facts: Any) -> None:
    click.echo(json.dumps({"event": event, **facts}))
