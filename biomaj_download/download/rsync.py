"""The protocol `rsync`: local directories, servers by ssh, and rsync daemons, by the program rsync.

Names go to rsync by `--files-from`, one by one and ended by NUL: no shell sees them, here or there,
and rsync takes them as they are, not as wildcards.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess  # nosec B404 # programs are started by their words, without a shell
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import ClassVar

from biomaj_download.cores import any_core
from biomaj_download.disk import disk_error, is_disk_error, on_disk
from biomaj_download.download.interface import DownloadInterface
from biomaj_download.download.listing.rsync import read_rsync_list
from biomaj_download.download.options import (
    CHECKSUM_OPTIONS,
    CONNECTION_OPTIONS,
    RETRY_OPTIONS,
    SSH_OPTIONS,
    UNPACKING_OPTIONS,
    Option,
)
from biomaj_download.errors import (
    AccessDenied,
    ConnectFailed,
    DiskFull,
    DownloadError,
    ListingTooLong,
    MissingLibrary,
    OptionError,
    PublishError,
    RemoteFileMissing,
    Stalled,
    TimedOut,
    TransferError,
    UntrustedPeer,
)
from biomaj_download.job import HttpPatterns, Listing, RemoteFile, Transferred
from biomaj_download.text import without_account
from biomaj_download.transfer import shared
from biomaj_download.transfer.addresses import checked_address
from biomaj_download.transfer.outcome import redact
from biomaj_download.transfer.partial import Part
from biomaj_download.transfer.proxies import DIRECT, configured_proxy

#: rsync's exit codes (rsync(1), EXIT VALUES), where they alone tell what happened.
_BY_CODE: dict[int, type[DownloadError]] = {
    10: ConnectFailed,
    11: PublishError,
    12: ConnectFailed,
    30: Stalled,
    35: Stalled,
    255: ConnectFailed,
}
#: What rsync and ssh print, where the code alone does not tell.
_BY_TEXT: tuple[tuple[str, type[DownloadError]], ...] = (
    ("no space left on device", DiskFull),
    ("disk quota exceeded", DiskFull),
    ("host key verification failed", UntrustedPeer),
    ("remote host identification has changed", UntrustedPeer),
    ("auth failed", AccessDenied),
    ("permission denied", AccessDenied),
    ("no such file or directory", RemoteFileMissing),
    ("change_dir", RemoteFileMissing),
    ("unknown module", RemoteFileMissing),
    ("with a directory", RemoteFileMissing),
)
#: It has turned the daemon off.
_WITHOUT_RSYNC = "ftp.ncbi.nlm.nih.gov"
#: How the two parts of rsync that run here name an error of this host.
_HERE = re.compile(r"(?m)^rsync: \[(?:receiver|generator)\] .*\((\d+)\)$")
#: A running program is looked after so often, and gets so long to end when it is told to.
_LOOK_SECONDS = 0.5
_END_SECONDS = 3.0
_CHUNK_BYTES = 65_536
_HOST = re.compile(r"\w[\w.-]*|\[[0-9A-Fa-f:.]+\]")
#: ssh splits the value of an option at blanks, unquotes and expands it (ssh_config(5)).
_SSH_PATH = re.compile(r"[^\s\"'\\%$#]+")
#: ssh refuses a key that is not the stored one in all of these.
_NEW_HOSTS = {"reject": "yes", "accept": "accept-new", "add": "accept-new"}
_PROXY = re.compile(r"(?:https?://)?(?P<address>[^/\s]+)/?")


@dataclass(frozen=True)
class _Source:
    """Where rsync reads from: `address`, and `root` below it; `options` are for the way there."""

    address: str
    host: str
    root: str = ""
    options: tuple[str, ...] = ()
    proxy: str | None = None
    is_daemon: bool = False


class RSYNCDownload(DownloadInterface):
    """Files below `rootdir` on `server`.

    `rootdir` empty: a directory of this host, named by `server`. `server` as `rsync://host/module`
    or `host::module`: a daemon, with `user:password`. Else by ssh, with the user's key.
    """

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *RETRY_OPTIONS,
        *UNPACKING_OPTIONS,
        *CHECKSUM_OPTIONS,
        *CONNECTION_OPTIONS,
        *SSH_OPTIONS,
    )

    def __init__(self, server: str, rootdir: str) -> None:
        super().__init__()
        self.server = server
        self.rootdir = rootdir or ""
        self.protocol = "rsync"

    @classmethod
    def opened(
        cls, protocol: str, server: str, remote_dir: str, http_patterns: HttpPatterns | None
    ) -> RSYNCDownload:
        """Return a downloader of the files below `remote_dir` on `server`."""
        return cls(server, remote_dir)

    @classmethod
    def lack(cls, _protocol: str) -> str | None:
        """Return what this host lacks: the program."""
        return None if shutil.which("rsync") else "needs the program rsync: apt-get install rsync"

    def entries(self, directory: str = "") -> Listing:
        """List a directory."""
        source = self._source(self.rootdir)
        path = directory.strip("/")
        # The slash behind the name asks for what the directory holds; `.` is not written to.
        options = ["--list-only", "--dirs", "--no-relative"]
        answer = self._run(source, options, f"{path or '.'}/")
        return read_rsync_list(os.fsdecode(answer), bounds=self.bounds())

    def told_size(self, remote_file: RemoteFile) -> int | None:
        """Return the size that the server lists for a file now; None: it lists none."""
        with suppress(DownloadError):
            listed = self._listed(remote_file)
            return listed[0].size_bytes if listed else None
        return None

    def _listed(self, remote_file: RemoteFile) -> Sequence[RemoteFile]:
        """Return the row that the server has for a file now; none: it is no regular file."""
        source = self._source(remote_file.root or self.rootdir)
        options = ["--list-only", "--copy-links", "--no-relative"]
        answer = self._run(source, options, remote_file.name.lstrip("/"))
        return read_rsync_list(os.fsdecode(answer), bounds=self.bounds()).files

    def fetch(self, remote_file: RemoteFile, part: Part) -> Transferred:
        """Bring a file."""
        started = time.monotonic()
        with on_disk(part.path):
            part.reuse()  # rsync compares what is there with the server's file
        self._run(
            self._source(remote_file.root or self.rootdir),
            ["--copy-links", "--times", "--inplace", "--partial", "--no-relative"],
            remote_file.name.lstrip("/"),
            part,
        )
        with on_disk(part.path):
            status = part.path.stat()
        # What is no regular file rsync skips, and ends well.
        if not status.st_size and not self._listed(remote_file):
            raise RemoteFileMissing(f"{remote_file.name}: expected a regular file")
        return Transferred(
            size_bytes=status.st_size,
            modified_at=datetime.fromtimestamp(status.st_mtime, timezone.utc),
            seconds=time.monotonic() - started,
        )

    def _source(self, rootdir: str) -> _Source:
        """Return what rsync calls a root.

        Raises:
            OptionError: the server is none that rsync can be given.
        """
        if self.server.startswith("rsync://"):
            host, _, module = self.server.removeprefix("rsync://").partition("/")
            return self._daemon(host, f"{module}/{rootdir}")
        host, separator, module = self.server.partition("::")
        if separator:
            return self._daemon(host, f"{module}/{rootdir}")
        if not self.rootdir:
            return self._here()
        if rootdir.startswith(":"):
            return self._daemon(self.server, rootdir[1:])
        return self._by_ssh(rootdir)

    def _here(self) -> _Source:
        """Return a directory of this host: what began otherwise could be a host or an option."""
        if not self.server.startswith("/"):
            raise OptionError(
                f"rsync: expected a server, or the absolute path of a directory of this host, "
                f"got {without_account(self.server)!r} and no directory on it"
            )
        if self.local_roots:
            raise AccessDenied(
                f"rsync: {self.server}: expected no directory of this host, as local.roots is set: "
                "rsync would follow links out of it; use the protocol local"
            )
        return _Source(f"{self.server.rstrip('/')}/", "local://localhost")

    def _daemon(self, host: str, path: str) -> _Source:
        name, port = _host_and_port(host)
        user = (self.credentials or "").partition(":")[0]
        account = f"{user}@" if user else ""
        shown = f"{name}:{port}" if port else name
        proxy = self._proxy(f"rsync://{shown}")
        # The proxy of a request is looked at; the server's address only it may know.
        there = None if self.proxy and proxy else checked_address(shared.settings(), name)
        host = (f"[{there}]" if ":" in there else there) if there else name
        address = f"{host}:{port}" if port else host
        # rsync 3.5.0's daemon loses files of a list whose root is not the module's.
        module, _, root = re.sub("/{2,}", "/", path).strip("/").partition("/")
        return _Source(
            f"rsync://{account}{address}/{module}/",
            f"rsync://{shown}",
            root,
            (f"--contimeout={self._connect_seconds()}",),
            proxy=proxy,
            is_daemon=True,
        )

    def _proxy(self, url: str) -> str | None:
        """Return the proxy to a daemon as rsync wants it; empty: none; None: the environment's.

        Raises:
            OptionError: rsync does not speak with proxies of this kind.
            AccessDenied: a request's own one stands where no connection may be made.
        """
        proxy = self.proxy or configured_proxy(url, shared.settings().proxies)
        if proxy is None:
            return None
        if proxy == DIRECT:
            return ""
        found = _PROXY.fullmatch(proxy)
        if found is None:
            raise OptionError(
                f"rsync: expected a proxy such as http://host:port, for rsync takes no other, got "
                f"{redact(proxy)!r}"
            )
        if not self.proxy:
            return found["address"]
        account, _, address = found["address"].rpartition("@")
        account = self.proxy_auth or account
        name, port = _host_and_port(address)
        there = checked_address(shared.settings(), name)
        if there is not None and ":" in there:  # rsync ends a proxy's host at the first colon
            raise OptionError(
                "rsync: expected a proxy with an IPv4 address, as transfer.denied_networks is set,"
                f" got {name!r} at {there}"
            )
        host = there or name
        return (f"{account}@" if account else "") + (f"{host}:{port}" if port else host)

    def _by_ssh(self, rootdir: str) -> _Source:
        name, port = _host_and_port(self.server)
        if self.proxy and self.proxy != DIRECT:
            raise OptionError("rsync by ssh: expected no proxy, for ssh takes none")
        user, separator, _ = (self.credentials or "").partition(":")
        if separator:
            raise OptionError(
                "rsync by ssh: expected credentials `user`, for ssh logs in by key, got a password"
            )
        account = f"{user}@" if user else ""
        command = shlex.join(["ssh", *self._ssh_options(name, port)])
        return _Source(
            f"{account}{name}:{rootdir.rstrip('/')}/",
            f"ssh://{name}:{port}",
            options=("-e", command),
        )

    def _ssh_options(self, name: str, port: str) -> Sequence[str]:
        """Return the words for ssh; what a bank does not set is as in the user's ssh_config."""
        options = [
            "BatchMode=yes",
            f"ConnectTimeout={self._connect_seconds()}",
            "ServerAliveInterval=30",
        ]
        there = checked_address(shared.settings(), name)
        if there is not None:
            alias = f"[{name}]:{port}" if port not in ("", "22") else name
            options += [f"HostName={there}", f"HostKeyAlias={alias}"]
        self.check_hosts_file()
        hosts_file = self._values["ssh_hosts_file"]
        if "ssh_hosts_file" in self.options and not _SSH_PATH.fullmatch(str(hosts_file)):
            raise OptionError(
                "ssh_hosts_file: expected a path that ssh reads as it stands, without blanks, "
                f"quotes, %, $, # and \\, got {str(hosts_file)!r}"
            )
        # A bank's file is written to by order of the bank alone: ssh_config might say so, too.
        is_banks = self.ssh_hosts_root is not None and "ssh_hosts_file" in self.options
        is_told = is_banks or "ssh_new_host" in self.options
        policy = self._values["ssh_new_host"] if is_told else None
        if policy == "accept":
            # The known keys are read as the system's, and a new one is written nowhere.
            options += [f"GlobalKnownHostsFile={hosts_file}", "UserKnownHostsFile=/dev/null"]
        elif "ssh_hosts_file" in self.options:
            options.append(f"UserKnownHostsFile={hosts_file}")
        if policy is not None:
            options.append(f"StrictHostKeyChecking={_NEW_HOSTS[policy]}")
        words = [word for option in options for word in ("-o", option)]
        if self._values["ssh_key_file"]:
            words += ["-i", str(self._values["ssh_key_file"])]
        return [*words, "-p", port] if port else words

    def _run(
        self, source: _Source, options: Sequence[str], name: str, part: Part | None = None
    ) -> bytes:
        """Run rsync for one name below the source; return what it printed.

        It runs in the part's directory, which may be an open one of this process, and holds its
        lock: should this process be killed, another one waits until rsync has ended, too.

        Raises:
            DownloadError: it failed.
        """
        command = [
            *("rsync", "--no-motd", "--8-bit-output", "--from0", "--files-from=-"),
            f"--timeout={self.stall_seconds()}",
            *source.options,
            *options,
            "--",
            source.address,
            f"./{part.path.name}" if part else ".",
        ]
        path = f"{source.root}/{name}" if source.root else name
        # Of the names that it reads itself, rsync takes those for comments that begin so.
        told = f"./{path}" if path.startswith(("#", ";")) else path
        subject = f"{source.host}/{path}"
        with shared.turn(
            source.host, self.cancellation, max_connections=self._values["max_connections"]
        ):
            try:
                with any_core():
                    process = subprocess.Popen(  # nosec B603 # noqa: S603 - names by its input
                        command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        cwd=part.path.parent if part else None,
                        pass_fds=(part.fileno(),) if part else (),
                        env=self._environment(source),
                    )
            except FileNotFoundError as error:
                raise MissingLibrary("protocol rsync: needs the program rsync") from error
            with process:
                try:
                    output, errors = self._awaited(process, os.fsencode(told) + b"\0", subject)
                finally:
                    _end(process)
        if process.returncode:
            text = os.fsdecode(errors)
            raise _local_error(text, part.path if part else Path()) or _error_of(
                subject, process.returncode, text
            )
        return output

    def _awaited(
        self, process: subprocess.Popen[bytes], told: bytes, subject: str
    ) -> tuple[bytes, bytes]:
        """Return what a program printed, when it has ended by itself.

        Raises:
            TimedOut, Cancelled: it may run no longer.
            ListingTooLong: it prints more than a listing may come to.
        """
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("expected a program that is fed and heard by pipes")
        deadline = time.monotonic() + self.seconds_left()
        with suppress(BrokenPipeError), process.stdin:  # a program that ended at once says why
            process.stdin.write(told)
        printed = {process.stdout: bytearray(), process.stderr: bytearray()}
        with DefaultSelector() as selector:
            for stream, kept in printed.items():
                selector.register(stream, EVENT_READ, kept)
            while selector.get_map():
                self._check_running(deadline, subject)
                for key, _ in selector.select(_LOOK_SECONDS):
                    chunk = os.read(key.fd, _CHUNK_BYTES)
                    key.data.extend(chunk)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    _check_length(len(key.data), subject)
        while process.poll() is None:
            self._check_running(deadline, subject)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
        return bytes(printed[process.stdout]), bytes(printed[process.stderr])

    def _check_running(self, deadline: float, subject: str) -> None:
        self.cancellation.check()
        if time.monotonic() >= deadline:
            raise TimedOut(f"{subject}: not done in {self._time_limit_seconds} seconds")

    def _connect_seconds(self) -> int:
        return self._values["connect_timeout"] or shared.settings().connect_timeout_seconds

    def _environment(self, source: _Source) -> Mapping[str, str]:
        """Return the environment: numbers, texts and times in the one form that we read."""
        environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
        user, _, password = (self.credentials or "").partition(":")
        if source.is_daemon and user:
            environment["RSYNC_PASSWORD"] = password
        if source.proxy is not None:
            environment.pop("RSYNC_PROXY", None)
        if source.proxy:
            environment["RSYNC_PROXY"] = source.proxy
        return environment


def _check_length(printed_bytes: int, subject: str) -> None:
    most_bytes = shared.settings().listing_bytes
    if printed_bytes > most_bytes:
        raise ListingTooLong(
            f"{subject}: expected a listing of at most {most_bytes} bytes, got more"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that runs still: politely, for rsync then keeps what it has."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _host_and_port(server: str) -> tuple[str, str]:
    """Return a host and its port, or "".

    Raises:
        OptionError: it is no host; what begins with `-` would be an option of ssh.
    """
    name, separator, port = server.rpartition(":")
    if not separator or not port.isdecimal():
        name, port = server, ""
    if not _HOST.fullmatch(name):
        raise OptionError(
            f"rsync: expected a server such as host or host:port, got {without_account(server)!r}"
        )
    return name, port


def _local_error(text: str, target: Path) -> DownloadError | None:
    """Return what this host's disk said, where it is what failed."""
    for told in _HERE.finditer(text):
        if is_disk_error(int(told[1])):
            return disk_error(OSError(int(told[1]), told[0]), target)
    return None


def _error_of(subject: str, code: int, text: str) -> DownloadError:
    lines = [line for line in redact(text).splitlines() if line.strip()]
    shown = "; ".join(lines[:3]) or f"rsync ended with code {code}"
    lowered = text.lower()
    if _WITHOUT_RSYNC in subject:
        shown += f"; {_WITHOUT_RSYNC} ended rsync in June 2026, it has the same files by https"
    for words, kind in _BY_TEXT:
        if words in lowered:
            return kind(f"{subject}: {shown}")
    return _BY_CODE.get(code, TransferError)(f"{subject}: {shown} (code {code})")
