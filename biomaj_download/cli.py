"""The command `biomaj-download`: one-off downloads, and a service without a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from biomaj_download import __version__
from biomaj_download.cli_dead import dead
from biomaj_download.errors import DownloadError
from biomaj_download.exit_codes import SOME_FAILED, UNREACHABLE
from biomaj_download.notify import Notifier
from biomaj_download.oneoff import Fetch, failures, fetch_all, plan
from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import load_settings
from biomaj_download.signals import obey_stop_signals
from biomaj_download.transfer.outcome import redact

_LOOK_SECONDS = 0.1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biomaj-download")
def main() -> None:
    """Bring biological databanks home, whole and verified."""


@main.command(
    epilog="Example: biomaj-download get https://ftp.ncbi.nlm.nih.gov/blast/db/taxdb.tar.gz -d db"
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the files go (default: here).",
)
@click.option("-c", "--connections", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="A bank's option."
)
def get(urls: Sequence[str], directory: Path, connections: int, options: Sequence[str]) -> None:
    """Download files, verify them, and give them their names.

    An account comes from ~/.netrc, or from the environment as user:password in
    BIOMAJ_DOWNLOAD_CREDENTIALS.
    """
    try:
        given = dict(_named(option) for option in options)
        fetches = [plan(url, directory.absolute(), given) for url in urls]
    except DownloadError as error:
        raise click.UsageError(redact(str(error))) from error
    console = Console(stderr=True)
    started = time.monotonic()
    try:
        if console.is_terminal:
            _with_bars(fetches, connections, console)
        else:
            fetch_all(
                fetches, connections=connections, while_waiting=lambda: time.sleep(_LOOK_SECONDS)
            )
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(SOME_FAILED)
    _tell(fetches, directory, time.monotonic() - started)


def _named(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise click.UsageError(f"--option: expected NAME=VALUE, got {option!r}")
    return name, value


def _with_bars(fetches: Sequence[Fetch], connections: int, console: Console) -> None:
    """Show a bar for all, and one for each file that runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        in_all = progress.add_task("all", total=None)
        bars: dict[Fetch, TaskID] = {}

        def look() -> None:
            for fetch in fetches:
                if fetch.is_running and fetch not in bars:
                    bars[fetch] = progress.add_task(fetch.path.name, total=None)
                elif fetch.is_ended and fetch in bars:
                    progress.remove_task(bars.pop(fetch))
            for fetch, bar in bars.items():
                progress.update(bar, completed=fetch.received_bytes())
            ended = sum(fetch.is_ended for fetch in fetches)
            received = sum(fetch.received_bytes() for fetch in fetches)
            progress.update(
                in_all, completed=received, description=f"{ended} of {len(fetches)} files"
            )
            time.sleep(_LOOK_SECONDS)

        fetch_all(fetches, connections=connections, while_waiting=look)


def _tell(fetches: Sequence[Fetch], directory: Path, seconds: float) -> None:
    """Say how it ended, and exit accordingly."""
    failed = failures(fetches)
    for fetch in failed:
        reason = fetch.error or "was not fetched"
        click.echo(f"failed: {redact(fetch.url)}: {redact(str(reason))}", err=True)
    size_bytes = sum(fetch.size_bytes for fetch in fetches)
    came = len(fetches) - len(failed)
    click.echo(
        f"{came} of {len(fetches)} files, {size_bytes} bytes, {seconds:.1f} s, in {directory}"
    )
    if failed:
        sys.exit(SOME_FAILED)


@main.command(epilog="Example: biomaj-download serve --data /var/lib/biomaj-download")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path.home() / ".local/share/biomaj-download",
    show_default="~/.local/share/biomaj-download",
    help="Where the queue and the sessions are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True)
def serve(data: Path, host: str, port: int) -> None:
    """Run web, queue and workers in one process, with no server to install."""
    try:
        service = EmbeddedService(load_settings(), data, host=host, port=port)
    except (DownloadError, OSError) as error:
        click.echo(f"not started: {error}", err=True)
        sys.exit(UNREACHABLE)
    notifier = Notifier()

    def stop() -> None:
        service.stop()
        notifier.stopping()

    obey_stop_signals(stop)
    click.echo(f"serving on {service.url}, data in {data}")
    service.run(on_turn=partial(notifier.lives, f"serving on {service.url}"))


main.add_command(dead)


if __name__ == "__main__":
    main()
