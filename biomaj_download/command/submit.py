"""The command `biomaj-download submit`: have a running service download."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from biomaj_download.client.operations import operations_of
from biomaj_download.command.addresses import (
    Address,
    file_downloader,
    read_addresses,
    tree_downloader,
)
from biomaj_download.command.doors import (
    DIRECTORY,
    example,
    failure_told,
    json_option,
    options_option,
    set_up,
)
from biomaj_download.command.place import token_of, url_of, url_option
from biomaj_download.command.service import Service
from biomaj_download.command.sync import find_files
from biomaj_download.command.watching import LOOK_SECONDS, Watching
from biomaj_download.command.words import files_text
from biomaj_download.download.filedict import dict_of, target_name
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.errors import DownloadError, NoMatch, OptionError
from biomaj_download.exit_codes import BY_SIGNAL
from biomaj_download.message import downmessage_pb2 as wire


@click.command(
    epilog=example("submit blast https://ftp.ncbi.nlm.nih.gov/blast/db/taxdb.tar.gz -d /db/blast")
)
@click.argument("bank")
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "-d",
    "--directory",
    type=DIRECTORY,
    required=True,
    help="Where the files go, on the hosts of the service.",
)
@click.option(
    "-m",
    "--match",
    "patterns",
    multiple=True,
    metavar="REGEX",
    help="URL is a directory: submit the files below it that fit, as `sync` takes them.",
)
@click.option("--detach", "is_detached", is_flag=True, help="Do not wait for the end.")
@options_option
@url_option
@json_option
def submit(
    bank: str,
    urls: Sequence[str],
    directory: Path,
    patterns: Sequence[str],
    is_detached: bool,
    options: Mapping[str, str],
    url: str | None,
    as_json: bool,
) -> None:
    """Have a service download files, and follow it.

    Opens a session of BANK, as BioMAJ does, hands a request for each file over, and waits like
    `watch`. Accounts as for `get`: they go to the service with the requests.
    """
    with failure_told():
        settings = set_up(None, secrets_of=("transfer", "web"))
        service = Service(url_of(url, settings), token_of(settings))
        addresses = read_addresses(urls, of_directories=bool(patterns))
        downloaders = [_downloader(each, patterns, options) for each in addresses]
        _check_names(downloaders)
        session = service.open_session(bank)
        try:
            number = service.submit(_operations(downloaders, bank, session, directory))
            service.expect(bank, session, number)
        except BaseException:
            with suppress(DownloadError):
                service.cancel(bank, session)
            raise
        click.echo(f"submitted {files_text(number)}: {bank}/{session}", err=as_json)
        code = 0
        if not is_detached:
            watching = Watching(service, bank, session, as_json=as_json, expected=number)
            code = watching.run()
            if code < BY_SIGNAL:
                time.sleep(2 * LOOK_SECONDS)  # others who watch see the end, too
                with suppress(OptionError):  # closed already, by somebody else
                    service.cancel(bank, session)  # all is told: nobody will ask for it any more
        service.close()
    sys.exit(code)


def _downloader(
    address: Address, patterns: Sequence[str], options: Mapping[str, str]
) -> DownloadInterface:
    """Return a downloader that has the files of an address to download."""
    if not patterns:
        return file_downloader(address, options)
    downloader = tree_downloader(address, options)
    files = find_files(address, patterns, options)
    if not files:
        raise NoMatch(f"{address.url}: no file matches {', '.join(map(repr, patterns))}")
    downloader.set_files_to_download([dict_of(file) for file in files])
    return downloader


def _check_names(downloaders: Sequence[DownloadInterface]) -> None:
    """See that no two files end in one.

    Raises:
        OptionError: two do.
    """
    names: set[str] = set()
    for file in (file for downloader in downloaders for file in downloader.files_to_download):
        name = target_name(file).lstrip("/")
        if name in names:
            raise OptionError(f"{name}: expected a file name of its own, two addresses have it")
        names.add(name)


def _operations(
    downloaders: Sequence[DownloadInterface], bank: str, session: str, directory: Path
) -> Iterator[wire.Operation]:
    for downloader in downloaders:
        config = {"remote.dir": downloader.rootdir}
        yield from operations_of(
            config, downloader, bank=bank, session=session, local_dir=str(directory.absolute())
        )
