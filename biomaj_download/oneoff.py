"""One-off downloads, without any server: addresses in, verified files out.

Each address is walked down the same road as a message's file, by a small pool of threads.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from biomaj_download.cancellation import Why
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.registry import get_handler
from biomaj_download.errors import DownloadError, OptionError
from biomaj_download.publish import SafePath, final_path
from biomaj_download.transfer.partial import part_path

CREDENTIALS_VARIABLE = "BIOMAJ_DOWNLOAD_CREDENTIALS"
SCHEMES = ("ftp", "ftps", "http", "https", "sftp")


@dataclass(eq=False)
class Fetch:
    """One address on its way home."""

    url: str
    downloader: DownloadInterface
    path: SafePath
    size_bytes: int = 0
    error: DownloadError | None = None
    is_running: bool = False
    is_ended: bool = False

    def received_bytes(self) -> int:
        """Return the bytes that are here so far."""
        if self.is_ended:
            return self.size_bytes
        try:
            return part_path(self.path).stat().st_size
        except OSError:
            return 0


def plan(url: str, directory: Path, options: Mapping[str, str]) -> Fetch:
    """Return what is to be done for an address.

    Raises:
        OptionError: it is no address of a file, or an option is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise OptionError(f"{url}: expected an address with {', '.join(SCHEMES)} and a host")
    name = unquote(parts.path).rpartition("/")[2]
    if not name:
        raise OptionError(f"{url}: expected the address of a file, got that of a directory")
    host = parts.netloc.rpartition("@")[2]
    downloader = _downloader(parts.scheme, host, parts.path, parts.query, name, options)
    downloader.set_credentials(_credentials(parts.hostname))
    return Fetch(url=url, downloader=downloader, path=final_path(directory, name))


def _downloader(
    scheme: str, host: str, path: str, query: str, name: str, options: Mapping[str, str]
) -> DownloadInterface:
    """Return the downloader of one file; an HTTP address is taken as it stands."""
    if scheme in ("http", "https"):
        address = f"{path}?{query}" if query else path
        file = {"name": address, "save_as": name}
        return get_handler(f"direct{scheme}", host, "", [file], options=options)
    root = unquote(path).rpartition("/")[0] or "/"
    return get_handler(scheme, host, root, [{"name": name}], options=options)


def _credentials(hostname: str) -> str | None:
    """Return the account for a host: from the environment, else from ~/.netrc."""
    given = os.environ.get(CREDENTIALS_VARIABLE)
    if given:
        return given
    try:
        account = netrc.netrc().authenticators(hostname)
    except (OSError, netrc.NetrcParseError):
        return None
    return f"{account[0]}:{account[2]}" if account else None


def fetch_all(
    fetches: Sequence[Fetch], *, connections: int, while_waiting: Callable[[], None]
) -> None:
    """Fetch all, so many at once; each `Fetch` tells how it ended.

    `while_waiting` is called again and again, to show progress. A KeyboardInterrupt ends what
    runs, and comes out.
    """
    with ThreadPoolExecutor(connections) as pool:
        futures = [pool.submit(_fetch, fetch) for fetch in fetches]
        try:
            while not all(future.done() for future in futures):
                while_waiting()
        except KeyboardInterrupt:
            for fetch in fetches:
                fetch.downloader.cancellation.order(Why.STOPPING)
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(fetch: Fetch) -> None:
    fetch.is_running = True
    try:
        (file,) = fetch.downloader.download(str(fetch.path.parent), keep_dirs=False)
        fetch.size_bytes = file["size"]
    except DownloadError as error:
        fetch.error = error
    finally:
        fetch.is_ended = True
        fetch.is_running = False


def failures(fetches: Sequence[Fetch]) -> Sequence[Fetch]:
    """Return the addresses that did not come, in their order."""
    return [fetch for fetch in fetches if fetch.error is not None or not fetch.is_ended]
