"""The command `biomaj-download check`: whether all is there that downloads and the service need.

Out: a line for each thing: ok, or what to do.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
import pycurl
import requests

from biomaj_download.broker.amqp import server_name
from biomaj_download.broker.opening import open_dead_letters
from biomaj_download.command.accounts import read_netrc
from biomaj_download.command.doors import example, exit_code_of, json_option
from biomaj_download.command.place import data_option, settings_of, url_of, url_option
from biomaj_download.command.reference import lack
from biomaj_download.command.words import printable, size_text
from biomaj_download.disk import on_disk
from biomaj_download.download.registry import PROTOCOLS
from biomaj_download.errors import (
    DiskFull,
    DownloadError,
    ServiceError,
)
from biomaj_download.exit_codes import SOME_FAILED
from biomaj_download.secret_files import is_open_to_all
from biomaj_download.settings import Settings, chosen_file, secret_sources
from biomaj_download.store.opening import open_store
from biomaj_download.store.redis_connection import server_name as redis_name
from biomaj_download.transfer.outcome import redact

_ANSWER_SECONDS = 5
_BROKER_REMEDY = (
    "start RabbitMQ, or say where it is (rabbitmq.host, RABBITMQ_HOST, ...); without one there is"
    " `biomaj-download serve`, and `check --data DIR`"
)
_STORE_REMEDY = "start Redis, or say where it is (redis.host, REDIS_HOST, ...)"
_WEB_REMEDY = "start it by `biomaj-download web` or `serve`, or say where it is (--url)"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one thing; `code`: what the command ends with for it."""

    name: str
    is_ok: bool
    text: str
    code: int = 0


@click.command(epilog=example("check -d /srv/databanks"))
@click.option(
    "-d",
    "--directory",
    "directories",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Where files are to go (default: here); may be given several times.",
)
@click.option("--local", "is_local", is_flag=True, help="Only what get, sync and list need.")
@data_option
@url_option
@json_option
def check(
    directories: Sequence[Path], is_local: bool, data: Path | None, url: str | None, as_json: bool
) -> None:
    """See whether all is there, and what to do where not.

    Looks at configuration, disk, accounts, libcurl and its protocols, broker, store and web
    interface.
    """
    findings = list(_findings(directories or (Path(),), data, url, is_local=is_local))
    if as_json:
        facts = [{k: v for k, v in asdict(finding).items() if k != "code"} for finding in findings]
        click.echo(json.dumps(facts, indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok' if finding.is_ok else 'NOT OK':6}  {finding.name}: {finding.text}")
    sys.exit(max(finding.code for finding in findings))


def _findings(
    directories: Sequence[Path], data: Path | None, url: str | None, *, is_local: bool
) -> Iterator[Finding]:
    settings = Settings()

    def configuration() -> str:
        nonlocal settings
        settings = settings_of(data)
        file = chosen_file()
        return f"{file.absolute()}" if file else "no file: defaults and the environment"

    finding = _found("configuration", configuration)
    yield finding
    if not finding.is_ok:
        return
    for directory in directories:
        yield _found(f"disk {directory}", partial(_disk, directory, settings))
    yield _found("accounts", _accounts)
    yield _found("passwords", _passwords)
    yield _found("libcurl", _libcurl)
    yield from _protocols()
    if is_local:
        return
    yield _found("broker", partial(_broker, settings), _BROKER_REMEDY)
    yield _found("store", partial(_store, settings), _STORE_REMEDY)
    state_dir = settings.storage.state_folder()
    yield _found(f"disk {state_dir}", partial(_disk, state_dir, settings))
    yield _found("web interface", partial(_web, url_of(url, settings)), _WEB_REMEDY)


def _found(name: str, look: Callable[[], str], remedy: str = "") -> Finding:
    """Look at one thing; `remedy`: what helps where it is not well."""
    try:
        return Finding(name=name, is_ok=True, text=printable(redact(look())))
    except DownloadError as error:
        text = "; ".join(filter(None, (printable(redact(str(error))), remedy)))
        return Finding(name=name, is_ok=False, text=text, code=exit_code_of(error))


def _disk(directory: Path, settings: Settings) -> str:
    """Say how much room there is, where a file can be written."""
    place = directory.absolute()
    with on_disk(directory):
        while not place.exists():  # it is made when it is needed
            place = place.parent
    with on_disk(place), tempfile.TemporaryFile(dir=place):
        disk = os.statvfs(place)
    free_bytes = disk.f_bavail * disk.f_frsize
    reserve_bytes = min(settings.storage.reserve_bytes, disk.f_blocks * disk.f_frsize // 2)
    if disk.f_blocks and free_bytes <= reserve_bytes:
        raise DiskFull(
            f"{place}: {size_text(free_bytes)} free, of which {size_text(reserve_bytes)} stay free:"
            " make room, or lower storage.reserve_bytes"
        )
    return f"{size_text(free_bytes)} free, of which {size_text(reserve_bytes)} stay free"


def _accounts() -> str:
    """Say whether ~/.netrc can be read; there need be none."""
    accounts = read_netrc()
    return "no ~/.netrc" if accounts is None else f"~/.netrc has {len(accounts.hosts)}"


def _passwords() -> str:
    """Say where each secret of the configuration comes from, and which files are open to all."""
    sources = secret_sources()
    told = []
    for name, source in sources.items():
        is_open = source.startswith("/") and is_open_to_all(Path(source))
        told.append(f"{name} from {source}{', which all may read: chmod o-r' * is_open}")
    return "; ".join(told) or "none is set"


def _libcurl() -> str:
    version, tls = pycurl.version_info()[1], pycurl.version_info()[5]
    return f"{version}, {tls}"


def _protocols() -> Iterator[Finding]:
    lacking = {name: lack(name) for name in PROTOCOLS if not name.startswith("direct")}
    spoken = ", ".join(name for name, why in lacking.items() if why is None)
    yield Finding(name="protocols", is_ok=True, text=spoken)
    for name, why in lacking.items():
        if why is not None:
            yield Finding(name=f"protocol {name}", is_ok=False, text=why, code=SOME_FAILED)


def _broker(settings: Settings) -> str:
    place = settings.broker.url or server_name(settings.rabbitmq)
    if _is_still_to_be_made(settings.broker.url):
        return f"{place}: made when the service starts"
    number = open_dead_letters(settings).count()
    dead = f"{number} dead letters: biomaj-download dead list" if number else "no dead letters"
    return f"{place}; {dead}"


def _store(settings: Settings) -> str:
    place = settings.store.url or f"Redis at {redis_name(settings.redis)}"
    if _is_still_to_be_made(settings.store.url):
        return f"{place}: made when the service starts"
    with closing(open_store(settings)) as store:
        store.ping()
    return place


def _is_still_to_be_made(url: str | None) -> bool:
    return bool(url) and not Path(str(url).partition(":")[2]).exists()


def _web(url: str) -> str:
    try:
        requests.get(f"{url}/readyz", timeout=_ANSWER_SECONDS).raise_for_status()
    except requests.ConnectionError as error:
        raise ServiceError(f"{url} does not answer") from error
    except requests.RequestException as error:
        raise ServiceError(f"{url} is not ready: {error}") from error
    return f"{url} is ready"
