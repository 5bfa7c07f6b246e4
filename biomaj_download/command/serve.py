"""The command `biomaj-download serve`: the whole service in one process."""

from __future__ import annotations

import errno
import sys
from functools import partial
from pathlib import Path

import click

from biomaj_download.command.doors import example, failure_told
from biomaj_download.errors import DownloadError
from biomaj_download.exit_codes import UNREACHABLE
from biomaj_download.notify import Notifier
from biomaj_download.serving import EmbeddedService
from biomaj_download.settings import load_settings
from biomaj_download.signals import obey_stop_signals


@click.command(epilog=example("serve --data /var/lib/biomaj-download"))
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path.home() / ".local/share/biomaj-download",
    show_default="~/.local/share/biomaj-download",
    help="Where the queue and the sessions are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the web listens.")
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True)
def serve(data: Path, host: str, port: int) -> None:
    """Run the whole service in one process: no server to install."""
    with failure_told():
        settings = load_settings()
    try:
        service = EmbeddedService(settings, data, host=host, port=port)
    except (DownloadError, OSError) as error:
        known = {
            errno.EADDRINUSE: f"port {port} of {host} is taken; choose another one (--port), or end"
            " what has it",
            errno.EADDRNOTAVAIL: f"{host} is no address of this host; choose another one (--host)",
        }
        number = error.errno if isinstance(error, OSError) else None
        click.echo(f"not started: {known.get(number or 0, error)}", err=True)
        sys.exit(UNREACHABLE)
    notifier = Notifier()

    def stop() -> None:
        service.stop()
        notifier.stopping()

    obey_stop_signals(stop)
    click.echo(f"serving on {service.url}, data in {data}")
    service.run(on_turn=partial(notifier.lives, f"serving on {service.url}"))
