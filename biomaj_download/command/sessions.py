"""The commands `status`, `watch` and `cancel`: sessions of a running service."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from biomaj_download.command.attending import stop_signals
from biomaj_download.command.doors import example, failure_told, json_option
from biomaj_download.command.place import token_of, url_of, url_option
from biomaj_download.command.service import Facts, Service
from biomaj_download.command.words import files_text, printable, size_text, speed_text, time_text
from biomaj_download.errors import DownloadError, OptionError
from biomaj_download.exit_codes import BY_SIGNAL, SOME_FAILED
from biomaj_download.settings import load_settings

_LOOK_SECONDS = 1.0
_LINE_SECONDS = 10.0
_TURN_SECONDS = 0.1
#: So many running or failed files are shown of a session.
_MOST_FILES = 10
#: So few letters of a session's id make no choice.
_FEWEST_LETTERS = 4


@contextmanager
def opened(url: str | None) -> Iterator[Service]:
    """Have the service that is meant, and tell in a line what goes wrong."""
    with failure_told():
        settings = load_settings()
        service = Service(url_of(url, settings), token_of(settings))
        try:
            yield service
        finally:
            service.close()


def _complete(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes a bank or a session by asking the service; silent where it is away."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            settings = load_settings()
            service = Service(url_of(context.params.get("url"), settings), token_of(settings))
            bank = context.params.get("bank") if name == "session" else None
            found = {str(session[name]) for session in service.sessions(bank)}
        except DownloadError:
            return []
        return sorted(each for each in found if each.startswith(begun))

    return complete


def _arguments(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Take BANK and SESSION."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        session = click.argument("session", required=False, shell_complete=_complete("session"))
        bank = click.argument("bank", required=required, shell_complete=_complete("bank"))
        return bank(session(command))

    return decorate


@click.command(epilog=example("status uniprot"))
@_arguments(required=False)
@url_option
@json_option
def status(bank: str | None, session: str | None, url: str | None, as_json: bool) -> None:
    """Show what a service is at.

    All of it, the sessions of BANK, or one SESSION, whose id may be shortened while it fits one
    only. A session in which a file failed ends with 1.
    """
    with opened(url) as service:
        if bank is None:
            overview = service.overview()
            _say(as_json, overview, _overview_lines(overview))
            return
        if session is None:
            sessions = service.sessions(bank)
            _say(as_json, sessions, [_session_line(each) for each in sessions] or ["no session"])
            return
        facts = service.session(bank, _meant(service, bank, session))
        failed = service.failures(bank, facts["session"]) if facts["failed"] else []
        lines = [_session_line(facts), *_running_lines(facts), *map(_failed_line, failed)]
        _say(as_json, {**facts, "failures": failed}, lines)
    if facts["failed"]:
        sys.exit(SOME_FAILED)


@click.command(epilog=example("watch uniprot"))
@_arguments(required=True)
@url_option
@json_option
def watch(bank: str, session: str | None, url: str | None, as_json: bool) -> None:
    """Follow a session until all its files are settled.

    Without SESSION the newest one of BANK. Ends with 1 if a file failed; Ctrl-C ends the watching,
    not the session.
    """
    with opened(url) as service:
        code = follow(service, bank, _meant(service, bank, session), as_json=as_json)
    sys.exit(code)


@click.command(epilog=example("cancel uniprot 4f0c9a --yes"))
@_arguments(required=True)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@url_option
def cancel(bank: str, session: str | None, is_sure: bool, url: str | None) -> None:
    """End a session.

    What runs ends within seconds, what waits never begins; files that are there stay. Without
    SESSION the only one of BANK.
    """
    if not is_sure and not sys.stdin.isatty():
        raise click.UsageError("expected --yes, as there is no terminal to ask on")
    with opened(url) as service:
        chosen = _meant(service, bank, session, is_only=True)
        if not is_sure:
            click.confirm(f"End session {bank}/{chosen}?", abort=True)
        service.cancel(bank, chosen)
    click.echo(f"cancelled: {bank}/{chosen}")


def _meant(service: Service, bank: str, shortened: str | None, *, is_only: bool = False) -> str:
    """Return the id of the session that is meant.

    Raises:
        OptionError: there is none, or there are several.
    """
    if shortened is not None and len(shortened) >= len("00000000-0000-0000-0000-000000000000"):
        return shortened
    if shortened is not None and len(shortened) < _FEWEST_LETTERS:
        raise OptionError(f"{shortened!r}: expected at least {_FEWEST_LETTERS} letters of an id")
    ids = [str(facts["session"]) for facts in service.sessions(bank)]
    fitting = [id_ for id_ in ids if id_.startswith(shortened or "")]
    if not fitting:
        raise OptionError(f"{bank}: expected an open session, got none")
    if len(fitting) > 1 and (shortened is not None or is_only):
        raise OptionError(f"{bank}: expected the id of one session, {len(fitting)} fit: {fitting}")
    return fitting[0]


def follow(
    service: Service, bank: str, session: str, *, as_json: bool, expected: int | None = None
) -> int:
    """Tell of a session until its files are settled, it closes, or a signal ends it; exit code.

    `expected`: how many files it has, where the service does not know.
    """
    console = Console(stderr=True, highlight=False)
    is_live = console.is_terminal and not as_json
    told_at, told = 0.0, ""
    facts: Facts = service.session(bank, session)
    with stop_signals() as stop, Live(console=console, transient=True) as live:
        while not stop.is_wanted():
            looked = _look(service, bank, session, expected)
            if looked is None:
                break
            facts = looked
            lines = [_session_line(facts), *_running_lines(facts)]
            if as_json:
                click.echo(json.dumps(facts))
            elif is_live:
                live.update(Text("\n".join(lines)))
            elif lines[0] != told and time.monotonic() - told_at >= _LINE_SECONDS:
                told_at, told = time.monotonic(), lines[0]
                click.echo(told, err=True)
            if _is_settled(facts):
                break
            _pause(stop.is_wanted)
    if stop.number is not None:
        click.echo(f"the session goes on: biomaj-download watch {bank} {session}", err=True)
        return BY_SIGNAL + stop.number
    return _tell_end(service, facts, as_json=as_json)


def _look(service: Service, bank: str, session: str, expected: int | None) -> Facts | None:
    """Return what a service tells of a session; None: it is closed by now."""
    try:
        facts = service.session(bank, session)
    except OptionError:
        if expected is None:
            return None
        raise
    return {**facts, "expected": facts.get("expected") or expected}


def _tell_end(service: Service, facts: Facts, *, as_json: bool) -> int:
    failed = service.failures(facts["bank"], facts["session"]) if facts["failed"] else []
    if not as_json:
        for file in failed:
            click.echo(_failed_line(file), err=True)
        click.echo(_session_line(facts))
    return SOME_FAILED if facts["failed"] else 0


def _pause(is_wanted: Callable[[], bool]) -> None:
    """Wait for the next look, but not longer than somebody waits for us."""
    end = time.monotonic() + _LOOK_SECONDS
    while time.monotonic() < end and not is_wanted():
        time.sleep(_TURN_SECONDS)


def _is_settled(facts: Facts) -> bool:
    """Say whether nothing of a session is to come; an old service does not say what is expected."""
    expected = facts.get("expected")
    return expected is not None and facts["done"] + facts["failed"] >= expected


def _say(as_json: bool, facts: object, lines: Sequence[str]) -> None:
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(lines))


def _overview_lines(overview: Facts) -> list[str]:
    queue, consumers = overview["queue"], overview["consumers"]
    lines = [_session_line(session) for session in overview["sessions"]] or ["no session is open"]
    more = overview["sessions_total"] - len(overview["sessions"])
    if more > 0:
        lines.append(f"and {more} sessions more")
    lines.append(
        f"{files_text(overview['running_total'])} running, {len(consumers)} consumers,"
        f" {_known(queue.get('messages'))} requests waiting,"
        f" {_known(queue.get('dead_letters'))} dead letters"
    )
    if queue.get("error"):
        lines.append(f"the broker is away: {printable(queue['error'])}")
    for host in overview["hosts"]:
        if host.get("paused_seconds"):
            paused = time_text(host["paused_seconds"])
            lines.append(f"{printable(host['name'])} asked us to pause: {paused} left")
    return lines


def _session_line(facts: Facts) -> str:
    """Return one session in a line; what the service does not know is left out."""
    expected = facts.get("expected")
    of = f" of {expected:,}" if expected is not None else ""
    parts = [f"{facts['done']:,}{of} done", f"{facts['failed']:,} failed"]
    for name in ("running", "waiting"):
        number = facts.get(name)
        if isinstance(number, list):
            number = len(number)
        if number:
            parts.append(f"{number:,} {name}")
    if facts.get("received_bytes") is not None:
        parts.append(size_text(facts["received_bytes"]))
    if facts.get("bytes_per_second"):
        parts.append(speed_text(facts["bytes_per_second"]))
    if facts.get("seconds_left") is not None:
        parts.append(f"{time_text(facts['seconds_left'])} left")
    since = facts.get("opened_at")
    opened_at = f"  {_local(since)}" if since else ""
    return f"{printable(facts['bank'])}/{facts['session']}{opened_at}  {', '.join(parts)}"


def _running_lines(facts: Facts) -> list[str]:
    running = facts.get("running")
    if not isinstance(running, list):
        return []
    shown = [_running_line(file) for file in running[:_MOST_FILES]]
    more = len(running) - len(shown)
    return [*shown, f"  and {more} more"] if more else shown


def _running_line(file: Facts) -> str:
    size = f" of {size_text(file['size_bytes'])}" if file.get("size_bytes") else ""
    attempt = f", attempt {file['attempt']}" if file["attempt"] > 1 else ""
    return (
        f"  running: {printable(file['name'])}  {size_text(file['received_bytes'])}{size},"
        f" {speed_text(file['bytes_per_second'] or 0)}{attempt}  ({printable(file['host'] or '?')})"
    )


def _failed_line(file: Facts) -> str:
    return f"  failed: {printable(file['name'])}: {printable(str(file['error']))} ({file['code']})"


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _local(instant: str) -> str:
    return f"{datetime.fromisoformat(instant.replace('Z', '+00:00')).astimezone():%Y-%m-%d %H:%M}"
