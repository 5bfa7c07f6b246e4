"""The command `biomaj-download list`: what a server offers below an address."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

from biomaj_download.command.addresses import read_address, tree_downloader
from biomaj_download.command.attending import attend
from biomaj_download.command.doors import (
    connections_option,
    example,
    failure_told,
    json_option,
    options_option,
    set_up,
)
from biomaj_download.command.sync import find_files, match_option
from biomaj_download.command.words import files_text, printable, size_text
from biomaj_download.errors import NoMatch
from biomaj_download.job import RemoteFile


@click.command(
    "list",
    epilog=example("list https://ftp.ncbi.nlm.nih.gov/blast/db/ --match 'nr.*tar.gz$'"),
)
@click.argument("url")
@match_option
@click.option("-r", "--recursive", "is_deep", is_flag=True, help="All below, as --match '**/*'.")
@connections_option
@options_option
@json_option
def list_files(
    url: str,
    patterns: Sequence[str],
    is_deep: bool,
    connections: int | None,
    options: Mapping[str, str],
    as_json: bool,
) -> None:
    """List what a server has at URL, or the files below that match.

    Sizes and dates are what `sync` compares. Where a page rounds or leaves out a size, the server
    is asked for those of the files that match.
    """
    is_matching = _given("patterns") or is_deep
    with failure_told():
        set_up(connections)
        address = read_address(url if url.endswith("/") else f"{url}/")
        directories: Sequence[RemoteFile] = ()
        if is_matching:
            files = find_files(address, patterns, options)
        else:
            downloader = tree_downloader(address, options)
            listing = attend(
                lambda: downloader.retryer(downloader.entries),
                downloader.cancellation,
                f"listing {address.url}",
            )
            files, directories = listing.files, listing.directories
            downloader.close()
        if is_matching and not files:
            raise NoMatch(f"{address.url}: no file matches")
    if as_json:
        entries = [
            *map(_facts, files),
            *({"name": each.name, "directory": True} for each in directories),
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    for directory in directories:
        click.echo(f"{'':>9}  {'':10}  {printable(directory.name)}/")
    for file in files:
        size = size_text(file.size_bytes)
        about = size if file.size_is_exact or file.size_bytes is None else f"~{size}"
        click.echo(f"{about:>9}  {file.day or '?'!s:10}  {printable(file.name.lstrip('/'))}")
    total = sum(file.size_bytes or 0 for file in files)
    click.echo(f"{files_text(len(files))}, {size_text(total)}", err=True)


def _given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _facts(file: RemoteFile) -> dict[str, object]:
    return {
        "name": file.name.lstrip("/"),
        "size_bytes": file.size_bytes,
        "size_is_exact": file.size_is_exact,
        "day": file.day.isoformat() if file.day else None,
        "modified_at": file.modified_at.isoformat() if file.modified_at else None,
    }
