"""The command `biomaj-download get`: files from their addresses, without any server of ours."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

import click

from biomaj_download.command.addresses import Address, file_downloader, read_addresses
from biomaj_download.command.bringing import bring
from biomaj_download.command.doors import (
    SLOTS,
    connections_option,
    directory_option,
    example,
    failure_told,
    json_option,
    obedient,
    options_option,
    quiet_option,
    set_up,
)
from biomaj_download.command.fetching import Fetch
from biomaj_download.command.summing import sum_up
from biomaj_download.command.telling import choose_teller
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import OptionError
from biomaj_download.publish import final_path
from biomaj_download.settings import Settings


@click.command(epilog=example("get https://ftp.ncbi.nlm.nih.gov/blast/db/taxdb.tar.gz -d db"))
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@directory_option
@connections_option
@options_option
@quiet_option
@json_option
def get(
    urls: Sequence[str],
    directory: Path,
    connections: int | None,
    options: Mapping[str, str],
    is_quiet: bool,
    as_json: bool,
) -> None:
    """Download files, verify them, and give them their names.

    An account comes from ~/.netrc, or from the environment as user:password in
    BIOMAJ_DOWNLOAD_CREDENTIALS. Ctrl-C keeps what came: the same command goes on there.
    """
    with failure_told(as_json=as_json):
        settings = set_up(connections)
        fetches = [
            _fetch(address, directory.absolute(), options, settings)
            for address in read_addresses(urls)
        ]
        _check_names(fetches)
        teller = choose_teller(as_json=as_json, is_quiet=is_quiet)
        started = monotonic()
        number = bring(fetches, teller, settings, slots=max(SLOTS, connections or 0))
    sys.exit(
        sum_up(
            fetches, teller, seconds=monotonic() - started, place=directory, signal_number=number
        )
    )


def _fetch(
    address: Address, directory: Path, options: Mapping[str, str], settings: Settings
) -> Fetch:
    file_downloader(address, options)  # wrong words are told before anything is fetched
    return Fetch(
        name=address.url,
        local_dir=directory,
        path=final_path(directory, address.name),
        open_downloader=partial(_open, address, options, settings),
    )


def _open(address: Address, options: Mapping[str, str], settings: Settings) -> DownloadInterface:
    return obedient(file_downloader(address, options), settings)


def _check_names(fetches: Sequence[Fetch]) -> None:
    """See that no two addresses end in one file.

    Raises:
        OptionError: two do.
    """
    urls: dict[Path, str] = {}
    for fetch in fetches:
        other = urls.setdefault(fetch.path, fetch.name)
        if other != fetch.name:
            raise OptionError(f"{fetch.name}: expected a file name of its own, as {other} has it")
