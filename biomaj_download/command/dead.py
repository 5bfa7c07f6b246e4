"""The commands `biomaj-download dead ...`: read dead letters, put them back, or forget them."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from biomaj_download.broker.dead import DeadLetters
from biomaj_download.broker.opening import open_dead_letters
from biomaj_download.command.doors import example, failure_told
from biomaj_download.command.place import data_option, settings_of
from biomaj_download.command.words import printable
from biomaj_download.errors import BrokerError
from biomaj_download.exit_codes import SOME_FAILED
from biomaj_download.inspection import summary, whole

#: So many digits of an id are listed, and so many make one at least: a script's empty variable
#: would otherwise mean the only letter that there is.
LISTED_DIGITS, FEWEST_DIGITS = 12, 4

#: A reason is cut to this in a list.
LISTED_REASON_CHARACTERS = 200

_BROKER_REMEDY = (
    "start RabbitMQ, or say where it is (rabbitmq.host, RABBITMQ_HOST, ...); --data DIR "
    "reads the letters of `serve`"
)

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "is_all", is_flag=True, help="Every dead letter.")


@click.group(epilog=example("dead list --limit 20"))
def dead() -> None:
    """Look after requests that can never be worked on.

    The service sets such a request aside, with the reason, and counts it as an error in its
    session. An ID may be shortened while it fits one letter only.

    A letter that is gone meanwhile counts as failed.
    """


@dead.command("list", epilog=example("dead list --limit 20"))
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
@data_option
def list_letters(limit: int, as_json: bool, data: Path | None) -> None:
    """List dead letters, oldest first."""
    with _failure_told():
        settings = settings_of(data)
        letters = open_dead_letters(settings)
        number = letters.count()
        with closing(letters.each()) as each:
            listed = [summary(letter, settings.message) for letter in islice(each, limit)]
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    for entry in listed:
        click.echo(_line(entry))
    click.echo(f"{len(listed)} of {max(number, len(listed))} dead letters")


@dead.command(epilog=example("dead show 4f0c9a"))
@click.argument("id_", metavar="ID")
@data_option
def show(id_: str, data: Path | None) -> None:
    """Show all of a dead letter, as JSON, but never a password."""
    with _failure_told():
        settings = settings_of(data)
        letters = open_dead_letters(settings)
        (chosen,) = _chosen(letters, [id_])
        with closing(letters.each()) as each:
            shown = (whole(letter, settings.message) for letter in each if letter.id == chosen)
            found = next(shown, None)
    if found is None:
        click.echo(f"{chosen}: gone meanwhile", err=True)
        sys.exit(SOME_FAILED)
    click.echo(json.dumps(found, indent=2))


@dead.command(epilog=example("dead requeue 4f0c9a 77d1e2"))
@ids_argument
@all_option
@data_option
def requeue(ids: Sequence[str], is_all: bool, data: Path | None) -> None:
    """Put dead letters back on the queue.

    Each one is worked on again if its session is still open. It was counted as an error there when
    it died, and is not counted a second time.
    """
    _check_choice(ids, is_all)
    with _failure_told():
        letters = _open(data)
        chosen = _chosen(letters, None if is_all else ids)
        done = letters.requeue(chosen)
    _tell("requeued", chosen, done)


@dead.command(epilog=example("dead drop --all --yes"))
@ids_argument
@all_option
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@data_option
def drop(ids: Sequence[str], is_all: bool, is_sure: bool, data: Path | None) -> None:
    """Forget dead letters for ever."""
    _check_choice(ids, is_all)
    if not is_sure and not sys.stdin.isatty():
        raise click.UsageError("expected --yes, as there is no terminal to ask on")
    with _failure_told():
        letters = _open(data)
        chosen = _chosen(letters, None if is_all else ids)
        if not is_sure:
            click.confirm(f"Forget {len(chosen)} dead letters for ever?", abort=True)
        done = letters.drop(chosen)
    _tell("dropped", chosen, done)


@contextmanager
def _failure_told() -> Iterator[None]:
    """End the command where an error comes out, and say what helps where there is no broker."""
    with failure_told():
        try:
            yield
        except BrokerError as error:
            raise BrokerError(f"{error}; {_BROKER_REMEDY}") from error


def _open(data: Path | None) -> DeadLetters:
    return open_dead_letters(settings_of(data))


def _check_choice(ids: Sequence[str], is_all: bool) -> None:
    if bool(ids) == is_all:
        raise click.UsageError("expected either IDs or --all")


def _chosen(letters: DeadLetters, shortened: Sequence[str] | None) -> frozenset[str]:
    """Return the ids that shortened ones mean; None: all.

    Raises:
        UsageError: one of them means no letter, or several.
    """
    with closing(letters.each()) as each:
        ids = {letter.id for letter in each}
    if shortened is None:
        return frozenset(ids)
    return frozenset(_meant(prefix.lower(), ids) for prefix in shortened)


def _meant(prefix: str, ids: Collection[str]) -> str:
    if len(prefix) < FEWEST_DIGITS:
        raise click.UsageError(f"{prefix!r}: expected at least {FEWEST_DIGITS} digits of an ID")
    fitting = [id_ for id_ in ids if id_.startswith(prefix)]
    if len(fitting) != 1:
        raise click.UsageError(
            f"{prefix!r}: expected the ID of one dead letter, {len(fitting) or 'none'} fit"
        )
    return fitting[0]


def _line(entry: Mapping[str, Any]) -> str:
    whose = f"{entry['bank'] or '-'}/{entry['session'] or '-'}"
    text = f"{entry['died_at'] or '-':25}  {whose}  {entry['reason'] or '-'}"
    return f"{entry['id'][:LISTED_DIGITS]}  {printable(text[:LISTED_REASON_CHARACTERS])}"


def _tell(done_what: str, chosen: Collection[str], done: Collection[str]) -> None:
    for id_ in sorted(set(chosen) - set(done)):
        click.echo(f"{id_}: gone meanwhile", err=True)
    click.echo(f"{len(done)} of {len(chosen)} {done_what}")
    if len(done) < len(chosen):
        sys.exit(SOME_FAILED)
