"""The commands `consumer` and `web`: the two processes of a site on RabbitMQ and Redis."""

from __future__ import annotations

import os
import sys

import click

from biomaj_download.command.doors import example, failure_told
from biomaj_download.exit_codes import UNREACHABLE
from biomaj_download.settings import load_settings
from biomaj_download.supervisor import run

_CONFIGURATION = "python:biomaj_download.gunicorn_conf"
_APPLICATION = "biomaj_download.wsgi:app"

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, exists=True),
    help="The configuration (default: BIOMAJ_CONFIG, else config.yml where there is one).",
)


def _use(config: str | None) -> None:
    """Have this process and those that it starts read a configuration."""
    if config is not None:
        os.environ["BIOMAJ_CONFIG"] = config


@click.command(epilog=example("consumer --config /etc/biomaj/download.yml"))
@config_option
def consumer(config: str | None) -> None:
    """Work on download requests, until told to stop.

    The first SIGTERM or Ctrl-C gives running transfers their grace, keeps the parts of the rest and
    hands their requests back; the second ends it at once.
    """
    with failure_told():
        _use(config)
        code = run(load_settings())
    sys.exit(code)


@click.command(epilog=example("web --config /etc/biomaj/download.yml"))
@config_option
def web(config: str | None) -> None:
    """Serve the web interface, by gunicorn.

    Words for gunicorn itself come from GUNICORN_CMD_ARGS in the environment.
    """
    with failure_told():
        _use(config)
        load_settings()  # what is wrong is told here, in a line
    words = [sys.executable, "-m", "gunicorn", "-c", _CONFIGURATION, _APPLICATION]
    try:
        os.execv(sys.executable, words)  # nosec B606 # noqa: S606 - words of ours
    except OSError as error:
        click.echo(f"not started: {error}", err=True)
        sys.exit(UNREACHABLE)
