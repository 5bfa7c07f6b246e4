"""The commands `biomaj-download options` and `protocols`: what may be set, and what is spoken."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from typing import Any

import click

from biomaj_download.command.addresses import SCHEMES
from biomaj_download.command.doors import example, failure_told, json_option
from biomaj_download.download.options import Option
from biomaj_download.download.registry import PROTOCOLS, downloader_class
from biomaj_download.errors import MissingLibrary, OptionError

_WIDTH = 100
_INDENT = "    "


def _complete_protocol(_context: click.Context, _parameter: Any, begun: str) -> list[str]:
    return [name for name in PROTOCOLS if name.startswith(begun)]


@click.command(epilog=example("options --protocol ftp"))
@click.option(
    "--protocol",
    type=click.Choice(list(PROTOCOLS)),
    help="Only those that a protocol obeys.",
    shell_complete=_complete_protocol,
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def options(protocol: str | None, names: tuple[str, ...], as_json: bool) -> None:
    """Show the options of a bank, which -o sets, too."""
    obeyed_by: dict[Option, list[str]] = defaultdict(list)
    for each in [protocol] if protocol else PROTOCOLS:
        for option in _options_of(each):
            obeyed_by[option].append(each)
    shown = {option: by for option, by in obeyed_by.items() if not names or option.name in names}
    with failure_told():
        unknown = set(names) - {option.name for option in shown}
        if unknown:
            raise OptionError(f"options: no option is named {', '.join(sorted(unknown))}")
    if as_json:
        click.echo(json.dumps([_facts(option, by) for option, by in shown.items()], indent=2))
        return
    for option, by in shown.items():
        default = "" if option.default is None else f"={option.default}"
        click.echo(f"{option.name}{default}")
        click.echo(
            textwrap.fill(option.help, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        )
        if set(by) != set(PROTOCOLS) and not protocol:
            click.echo(textwrap.indent(f"obeyed by {', '.join(by)}", _INDENT))


def _options_of(protocol: str) -> tuple[Option, ...]:
    try:
        return downloader_class(protocol).OPTIONS
    except MissingLibrary:
        return ()


def _facts(option: Option, obeyed_by: list[str]) -> dict[str, object]:
    return {
        "name": option.name,
        "default": option.default,
        "help": option.help,
        "protocols": obeyed_by,
    }


@click.command(epilog=example("protocols"))
@json_option
def protocols(as_json: bool) -> None:
    """Show the protocols, and what this host lacks for them."""
    rows = {name: lack(name) for name in PROTOCOLS}
    if as_json:
        entries = [
            {"name": name, "address": SCHEMES.get(_scheme(name)), "is_usable": not why, "lack": why}
            for name, why in rows.items()
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    for name, why in rows.items():
        click.echo(f"{name:12}  {SCHEMES.get(_scheme(name), ''):40}  {why or 'ok'}")


def _scheme(protocol: str) -> str:
    return "file" if protocol == "local" else protocol.removeprefix("direct")


def lack(protocol: str) -> str | None:
    """Return what this host lacks for a protocol, and how to get it; None: nothing."""
    try:
        return downloader_class(protocol).lack(protocol)
    except MissingLibrary as error:
        return str(error)
