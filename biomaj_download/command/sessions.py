"""The commands `status`, `watch` and `cancel`: sessions of a running service."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from biomaj_download.command.doors import example, failure_told, json_option
from biomaj_download.command.place import (
    data_option,
    settings_of,
    token_of,
    url_of,
    url_option,
)
from biomaj_download.command.service import Service
from biomaj_download.command.session_lines import (
    failed_line,
    overview_lines,
    running_lines,
    session_line,
)
from biomaj_download.command.store_view import StoreView
from biomaj_download.command.watching import Watching
from biomaj_download.errors import DownloadError, OptionError, ServiceError, StoreError
from biomaj_download.exit_codes import SOME_FAILED

#: So few letters of a session's id make no choice.
_FEWEST_LETTERS = 4


@contextmanager
def _opened(url: str | None, data: Path | None) -> Iterator[Service | StoreView]:
    """Have who knows the sessions, and tell in a line what goes wrong."""
    with failure_told():
        view = _view(url, data)
        try:
            yield view
        finally:
            view.close()


def _view(url: str | None, data: Path | None) -> Service | StoreView:
    """Return who knows the sessions.

    `data`: the store of `biomaj-download serve` there; `url`: that web interface. Neither: the one
    of the settings, or, where it does not answer or is too old to tell, the store of the settings.
    """
    settings = settings_of(data)
    if data is not None:
        return StoreView(settings)
    service = Service(url_of(url, settings), token_of(settings))
    if url is not None:
        return service
    try:
        service.sessions()
    except ServiceError:
        view = StoreView(settings)
        try:
            view.sessions()
        except StoreError:  # whoever has no Redis here wants to hear of the web interface
            return service
        return view
    return service


def _complete(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes a bank or a session by asking the service; silent where it is away."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            service = _view(context.params.get("url"), context.params.get("data"))
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
@data_option
@url_option
@json_option
def status(
    bank: str | None, session: str | None, url: str | None, data: Path | None, as_json: bool
) -> None:
    """Show what a service is at.

    All of it, the sessions of BANK, or one SESSION, whose id may be shortened while it fits one
    only. A session in which a file failed ends with 1.
    """
    with _opened(url, data) as service:
        if bank is None:
            overview = service.overview()
            _say(as_json, overview, overview_lines(overview))
            return
        if session is None:
            sessions = service.sessions(bank)
            _say(as_json, sessions, [session_line(each) for each in sessions] or ["no session"])
            return
        facts = service.session(bank, _meant(service, bank, session))
        failed = service.failures(bank, facts["session"]) if facts["failed"] else []
        lines = [session_line(facts), *running_lines(facts), *map(failed_line, failed)]
        _say(as_json, {**facts, "failures": failed}, lines)
    if facts["failed"]:
        sys.exit(SOME_FAILED)


@click.command(epilog=example("watch uniprot"))
@_arguments(required=True)
@data_option
@url_option
@json_option
def watch(
    bank: str, session: str | None, url: str | None, data: Path | None, as_json: bool
) -> None:
    """Follow a session until all its files are settled.

    Without SESSION the newest one of BANK. Where nobody has told how many files it has, they are
    settled when none runs or waits and the queue is empty, or a minute has passed. Ends with 1 if a
    file failed; Ctrl-C ends the watching, not the session.
    """
    with _opened(url, data) as service:
        chosen = _meant(service, bank, session)
        code = Watching(service, bank, chosen, as_json=as_json).run()
    sys.exit(code)


@click.command(epilog=example("cancel uniprot 4f0c9a --yes"))
@_arguments(required=True)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@data_option
@url_option
def cancel(
    bank: str, session: str | None, is_sure: bool, url: str | None, data: Path | None
) -> None:
    """End a session.

    What runs ends within seconds, what waits never begins; files that are there stay. Without
    SESSION the only one of BANK.
    """
    if not is_sure and not sys.stdin.isatty():
        raise click.UsageError("expected --yes, as there is no terminal to ask on")
    with _opened(url, data) as service:
        chosen = _meant(service, bank, session, is_only=True)
        if not is_sure:
            click.confirm(f"End session {bank}/{chosen}?", abort=True)
        service.cancel(bank, chosen)
    click.echo(f"cancelled: {bank}/{chosen}")


def _meant(
    service: Service | StoreView, bank: str, shortened: str | None, *, is_only: bool = False
) -> str:
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


def _say(as_json: bool, facts: object, lines: Sequence[str]) -> None:
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(lines))
