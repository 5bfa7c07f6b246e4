"""What the commands have in common: options, how a failure is told, and what they end with."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from biomaj_download.command.attending import Interrupted
from biomaj_download.command.retelling import tell_of_retries
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import PROTOCOLS, downloader_class
from biomaj_download.errors import (
    BrokerError,
    ConfigError,
    ConnectFailed,
    DownloadError,
    MissingLibrary,
    OptionError,
    ServiceError,
    ServiceRefused,
    StoreError,
)
from biomaj_download.exit_codes import BY_SIGNAL, SOME_FAILED, UNREACHABLE, USAGE
from biomaj_download.settings import Settings, load_settings
from biomaj_download.transfer import shared
from biomaj_download.transfer.outcome import redact

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_CODES = (
    "Exit codes: 0 all is well, 1 some files failed, 2 usage or configuration, 3 server or service"
    " unreachable, 128 and the signal's number where one ended it."
)
#: Files worked on at once: more than connections, as some are verified while others come.
SLOTS = 16


class _Directory(click.Path):
    """The path of a directory; an empty one would be the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value).strip():
            self.fail("expected a directory, got nothing", param, ctx)
        return super().convert(value, param, ctx)


DIRECTORY = _Directory(file_okay=False, path_type=Path)
MOST_CONNECTIONS = 64


def example(words: str, more: str = "") -> str:
    """Return the end of a help text: an example, of one line or two, and the exit codes."""
    second = f" \\\n      {more.strip()}" if more else ""
    return f"\b\nExample:\n  biomaj-download {words}{second}\n\n{EXIT_CODES}"


json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
quiet_option = click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Tell failures alone.")
directory_option = click.option(
    "-d",
    "--directory",
    type=DIRECTORY,
    default=Path(),
    help="Where the files go (default: here).",
)
connections_option = click.option(
    "-c",
    "--connections",
    type=click.IntRange(1, MOST_CONNECTIONS),
    help="Connections to one server (default: 4, by FTP 2, or as the configuration says).",
)


def _complete_option(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    names = {option.name for protocol in PROTOCOLS for option in _options_of(protocol)}
    return sorted(f"{name}=" for name in names if name.startswith(begun))


def _options_of(protocol: str) -> Sequence[Any]:
    try:
        return downloader_class(protocol).OPTIONS
    except MissingLibrary:
        return ()


#: What a person waits for is not asked for again where that will hardly help (no such file).
_ONE_OFF_OPTIONS = {"retry_permanent": "false"}

options_option = click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=_complete_option,
    callback=lambda _context, _parameter, given: (
        _ONE_OFF_OPTIONS | dict(_named(each) for each in given)
    ),
    help="A bank's option; see `biomaj-download options`.",
)


def _named(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, got {option!r}")
    return name, value


@contextmanager
def failure_told(*, as_json: bool = False) -> Iterator[None]:
    """End the command with a line and the code that fits where an error comes out.

    `as_json`: with an event on the standard output, too.
    """
    try:
        yield
    except DownloadError as error:
        text = redact(str(error))
        click.echo(f"failed: {text}", err=True)
        if as_json:
            click.echo(json.dumps({"event": "error", "code": error.code, "error": text}))
        sys.exit(exit_code_of(error))
    except Interrupted as error:
        click.echo(str(error), err=True)
        sys.exit(BY_SIGNAL + error.number)
    except KeyboardInterrupt:
        click.echo("ended by SIGINT", err=True)
        sys.exit(BY_SIGNAL + signal.SIGINT)


def exit_code_of(error: DownloadError) -> int:
    """Return what a command ends with that ended by an error."""
    if isinstance(error, OptionError | ConfigError):
        return USAGE
    if isinstance(error, ConnectFailed | BrokerError | StoreError | ServiceError | ServiceRefused):
        return UNREACHABLE
    return SOME_FAILED


def set_up(connections: int | None, *, secrets_of: Sequence[str] = ("transfer",)) -> Settings:
    """Read the settings, and have transfers obey them; `connections`: to one server.

    Of the files with secrets, only those of the sections `secrets_of` are read, such as that of the
    proxies: a person who fetches a file may have no right to the service's passwords.

    Raises:
        ConfigError: the configuration is wrong.
    """
    settings = load_settings(secrets_of=secrets_of)
    tell_of_retries(settings)
    transfer = settings.transfer
    if connections is not None:
        transfer = transfer.model_copy(
            update={
                "max_connections": max(connections, transfer.max_connections),
                "ftp_connections_per_host": connections,
                "http_connections_per_host": connections,
                "other_connections_per_host": connections,
                "host_connections": {},
            }
        )
    shared.set_up(transfer)
    return settings


def obedient(downloader: DownloadInterface, settings: Settings) -> DownloadInterface:
    """Return a downloader that stores files as the settings say."""
    downloader.is_durable = settings.storage.fsync
    downloader.reserve_bytes = settings.storage.reserve_bytes
    return downloader
