"""What a downloader is told to do: BioMAJ's attributes and setters, and a bank's options."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import tenacity

from biomaj_download.cancellation import Cancellation, Why
from biomaj_download.disk import on_disk
from biomaj_download.download.filedict import FileDict, file_of
from biomaj_download.download.options import (
    CHECKSUM_OPTIONS,
    RETRY_OPTIONS,
    UNPACKING_OPTIONS,
    USUAL_HOSTS_FILE,
    Option,
    parse_path,
    read_options,
)
from biomaj_download.errors import AccessDenied
from biomaj_download.job import RemoteFile
from biomaj_download.meter import Meter
from biomaj_download.observer import Observer
from biomaj_download.publish import SafePath
from biomaj_download.retry import retryer
from biomaj_download.settings import StorageSettings
from biomaj_download.transfer import shared
from biomaj_download.verified import Verified

_RESERVE_BYTES = StorageSettings().reserve_bytes
_NONE_GIVEN: frozenset[tuple[str, str]] = frozenset()


class Wishes:
    """What is wanted of a downloader.

    `files_to_download` and `files_to_copy` are lists of dicts that BioMAJ assigns and changes.
    """

    #: Files that BioMAJ core downloads at once where a bank does not say.
    files_num_threads: ClassVar[int] = 4
    #: The options that the protocol obeys.
    OPTIONS: ClassVar[tuple[Option, ...]] = RETRY_OPTIONS + UNPACKING_OPTIONS + CHECKSUM_OPTIONS
    #: The `timeout` that is shown where none is set; a transfer ends by stalling, not by this.
    DEFAULT_TIMEOUT_SECONDS: ClassVar[int] = 3600

    def __init__(self) -> None:
        self.config: Any = None
        self.files_to_download: list[FileDict] = []
        self.files_to_copy: list[FileDict] = []
        self.error = False
        self.protocol: str | None = None
        self.server = ""
        self.rootdir = ""
        self.credentials: str | None = None
        self.bank: str | None = None
        self.mkdir_lock = Lock()
        #: By which whoever runs the downloader ends what it is at.
        self.cancellation = Cancellation()
        self.meter = Meter()
        self.observer = Observer()
        self.proxy: str | None = None
        self.proxy_auth: str | None = None
        self.save_as: str | None = None
        self.logger = logging.getLogger("biomaj")
        self.param: dict[str, str] | None = None
        self.method = "GET"
        self.offline_dir: str | None = None
        self.skip_check_uncompress = False
        self.is_durable = True
        #: Says whether a small file is to be left to who asked for it, verified, as `unpublished`.
        self.leaves_small: Callable[[], bool] = lambda: False
        self.unpublished: Verified | None = None
        self.reserve_bytes = _RESERVE_BYTES
        #: The open place of the file that comes now, by its path.
        self._places: Mapping[str, SafePath] = {}
        #: Directories, resolved, below which files may be stored; none: anywhere.
        self.storage_roots: Sequence[Path] = ()
        #: Directories, resolved, below which files of this host may be read; none: anywhere.
        self.local_roots: Sequence[Path] = ()
        #: Below which a bank may name a file for the keys of new SSH servers; None: anywhere.
        self.ssh_hosts_root: Path | None = None
        #: Where files were published whose names may still be lost in a power cut.
        self.changed_directories: set[Path] = set()
        self.options: dict[str, Any] = {}
        self._retryer: tenacity.Retrying | None = None
        self._time_limit_seconds: float | None = None
        #: Of the last listing: the files whose size or day it rounded or left out.
        self._vague: dict[str, RemoteFile] = {}
        #: The last file that was not as its digest says, and how.
        self._mismatch = ""
        self._values = self._read_texts(_NONE_GIVEN)

    @property
    def kill_received(self) -> bool:
        """Whether BioMAJ wants the download to end."""
        return self.cancellation.is_ordered()

    @kill_received.setter
    def kill_received(self, wanted: bool) -> None:
        if wanted:
            self.cancellation.order(Why.UNWANTED)

    @property
    def retryer(self) -> tenacity.Retrying:
        """What attempts as often as the bank says; made when it is needed, and kept."""
        if self._retryer is None:
            self._retryer = retryer(
                self._values["stop_condition"],
                self._values["wait_policy"],
                retries_permanent=self._values["retry_permanent"],
                sleep=self.cancellation.sleep,
            )
        return self._retryer

    @retryer.setter
    def retryer(self, wanted: tenacity.Retrying) -> None:
        self._retryer = wanted

    @property
    def timeout(self) -> float:
        """Seconds that a transfer may take; without `set_timeout` it only may not stall."""
        return self._time_limit_seconds or self.DEFAULT_TIMEOUT_SECONDS

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._time_limit_seconds = float(seconds) if seconds else None

    def set_timeout(self, timeout: float | None) -> None:
        """Limit the seconds that one transfer may take."""
        self.timeout = timeout

    def seconds_left(self) -> float:
        """Return how long one transfer may take, infinite where it only may not stall."""
        return self._time_limit_seconds or math.inf

    def stall_seconds(self) -> int:
        """Return after how long without a byte a transfer is given up; 0: never."""
        given: int | None = self._values.get("low_speed_time")
        return shared.settings().low_speed_seconds if given is None else given

    def set_offline_dir(self, offline_dir: str | None) -> None:
        """Set where files lie that BioMAJ fetched before."""
        self.offline_dir = offline_dir

    def set_server(self, server: str) -> None:
        """Set the host, with `:port` where it is not the usual one."""
        self.server = server

    def set_protocol(self, protocol: str) -> None:
        """Set the name under which BioMAJ asks a service for this protocol."""
        self.protocol = protocol

    def set_param(self, param: dict[str, str] | None) -> None:
        """Set the parameters of a request: query, form or account."""
        self.param = param

    def set_save_as(self, save_as: str | None) -> None:
        """Set the name of the result."""
        self.save_as = save_as

    def set_proxy(self, proxy: str | None, proxy_auth: str | None = None) -> None:
        """Set the proxy's URL, and its `user:password`."""
        self.proxy = proxy
        self.proxy_auth = proxy_auth

    def set_method(self, method: str) -> None:
        """Set the HTTP method, GET or POST."""
        self.method = method

    def set_credentials(self, credentials: str | None) -> None:
        """Set the account: `user:password`."""
        self.credentials = credentials

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Obey a bank's options; those that the protocol does not know are ignored.

        Raises:
            OptionError: a value is wrong.
        """
        given = {**self.options, **options}
        if all(isinstance(value, str) for value in given.values()):
            self._values = self._read_texts(frozenset(given.items()))
        else:
            self._values = read_options(self.OPTIONS, given)
        self.options = given
        self.skip_check_uncompress = self._values.get("skip_check_uncompress", True)
        self._retryer = None

    @classmethod
    @lru_cache(maxsize=256)
    def _read_texts(cls, given: frozenset[tuple[str, str]]) -> Mapping[str, Any]:
        """Read options as they come in messages: a bank's thousands all bring the same."""
        return read_options(cls.OPTIONS, dict(given))

    def check_hosts_file(self) -> None:
        """See that no key of an SSH server is written where a bank may not write.

        Raises:
            AccessDenied: it would be.
        """
        root, file = self.ssh_hosts_root, self._values["ssh_hosts_file"]
        if root is None or self._values["ssh_new_host"] != "add":
            return
        is_usual = file == parse_path(USUAL_HOSTS_FILE)
        if not is_usual and not file.resolve().is_relative_to(root.resolve()):
            raise AccessDenied(
                f"ssh_new_host=add: expected as ssh_hosts_file {USUAL_HOSTS_FILE} or one below "
                f"{root}, got {file}"
            )
        if not is_usual:
            with on_disk(root):
                root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def set_files_to_download(self, files: Sequence[FileDict | str]) -> None:
        """Replace the files to download."""
        self.files_to_download = []
        for file in files:
            self._append_file_to_download(file)

    def _append_file_to_download(self, rfile: FileDict | str) -> None:
        """Take one file: a dict, or a name; a subclass may fill in what it knows."""
        given: FileDict = {"name": rfile} if isinstance(rfile, str) else dict(rfile)
        file_of(given)
        given["root"] = given.get("root") or self.rootdir
        given["save_as"] = given.get("save_as")
        self.files_to_download.append(given)
