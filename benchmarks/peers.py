"""The tools that people would use instead: how each one fetches a list of files.

In: a `Fetch`. Out: the command of each tool, told of the same number of connections, and of nothing
that it does not need: no retry is waited for, nothing is printed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What curl takes at most (its manual, --parallel-max).
_MOST_OF_CURL = 300
#: What aria2 takes at most for one file (its manual, --max-connection-per-server).
_MOST_OF_ARIA2 = 16


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Files of one folder, to be brought into another one.

    `url` ends with a slash; `names` come without folders. `is_large`: one file, by as many
    connections. `ca_file`, `password` and `known_hosts`: for HTTPS and for SFTP.
    """

    protocol: str
    url: str
    names: Sequence[str]
    target: Path
    connections: int
    is_large: bool = False
    ca_file: Path | None = None
    user: str = ""
    password: str = ""
    known_hosts: Path | None = None

    @property
    def server(self) -> tuple[str, str]:
        """Return host and port."""
        host, _, port = self.url.split("/")[2].partition(":")
        return host, port

    @property
    def directory(self) -> str:
        """Return the path on the server, with its last slash."""
        return "/" + self.url.split("/", 3)[3]

    def note(self, name: str, lines: Sequence[str]) -> Path:
        """Write a file that a tool reads, beside the target."""
        path = self.target.with_name(f"{self.target.name}.{name}")
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def curl(fetch: Fetch) -> list[str]:
    """Curl in one process; it has no segments, so a large file comes by one connection."""
    lines = []
    for name in fetch.names:
        lines += [f'url = "{fetch.url}{name}"', f'output = "{fetch.target / name}"']
    words = ["curl", "-sS", "--fail", "-K", str(fetch.note("curl", lines))]
    # By HTTP/2 curl's number is that of the files at once, and one connection carries them all.
    at_once = _MOST_OF_CURL if fetch.protocol == "https" else fetch.connections
    words += ["--parallel", "--parallel-max", str(at_once)]
    if fetch.ca_file:
        words += ["--cacert", str(fetch.ca_file)]
    if fetch.password:
        words += ["--insecure", "-u", f"{fetch.user}:{fetch.password}"]
    return words


def aria2(fetch: Fetch) -> list[str]:
    """aria2, which speaks HTTP/1.1 only."""
    urls = fetch.note("aria2", [fetch.url + name for name in fetch.names])
    words = ["aria2c", "-q", "--no-conf", "-i", str(urls), "-d", str(fetch.target)]
    words += ["--file-allocation=none", f"--max-concurrent-downloads={fetch.connections}"]
    if fetch.is_large:
        split = min(fetch.connections, _MOST_OF_ARIA2)
        words += [f"--split={split}", f"--max-connection-per-server={split}"]
        words += ["--min-split-size=1M"]
    if fetch.protocol == "ftp":
        # Where it keeps a connection of vsftpd's for the next file, it waits 60 s for an answer.
        words += ["--ftp-reuse-connection=false"]
    if fetch.ca_file:
        words += [f"--ca-certificate={fetch.ca_file}"]
    return words


def lftp(fetch: Fetch) -> list[str]:
    """Lftp's mirror, or its pget for a large file."""
    settings = ["net:max-retries 1", "xfer:clobber yes", "cmd:fail-exit yes"]
    settings += [f"net:connection-limit {fetch.connections}", "mirror:set-permissions no"]
    if fetch.protocol == "ftp":
        # Without these it moves a quarter as many files over a wide area.
        settings += ["ftp:sync-mode off", "ftp:use-mdtm no"]
    if fetch.ca_file:
        settings += [f"ssl:ca-file {fetch.ca_file}"]
    script = [f"set {setting}" for setting in settings]
    if fetch.password:
        options = f"-o UserKnownHostsFile={fetch.known_hosts}"
        script += [f'set sftp:connect-program "ssh -a -x {options}"']
        script += [f"open -u {fetch.user},{fetch.password} {fetch.url}"]
    else:
        script += [f"open {fetch.url}"]
    if fetch.is_large:
        (name,) = fetch.names
        script += [f"pget -n {fetch.connections} {name} -o {fetch.target / name}"]
    else:
        script += [f"mirror --parallel={fetch.connections} . {fetch.target}"]
    return ["lftp", "--norc", "-c", "; ".join(script)]


def rclone(fetch: Fetch) -> list[str]:
    """Rclone copy of a list of names without a listing; by FTP of all that the folder lists.

    There it would list the folder once more for each name.
    """
    host, port = fetch.server
    words = ["rclone", "copy", "--config", "/dev/null", "-q", "--retries", "1"]
    words += ["--transfers", str(fetch.connections), "--checkers", str(fetch.connections)]
    if fetch.protocol != "ftp":
        words += ["--files-from-raw", str(fetch.note("rclone", fetch.names)), "--no-traverse"]
    if fetch.is_large:
        words += ["--multi-thread-streams", str(fetch.connections)]
    elif fetch.protocol != "sftp":
        words += ["--ignore-checksum"]
    if fetch.protocol == "ftp":
        words += ["--ftp-host", host, "--ftp-port", port, "--ftp-user", "anonymous"]
        words += ["--ftp-pass", obscured("bench"), "--ftp-concurrency", "0"]
    elif fetch.protocol == "sftp":
        words += ["--sftp-host", host, "--sftp-port", port, "--sftp-user", fetch.user]
        words += ["--sftp-pass", obscured(fetch.password), "--sftp-disable-hashcheck"]
    else:
        words += ["--http-url", fetch.url]
        if not fetch.is_large:
            words += ["--http-no-head"]
        if fetch.ca_file:
            words += ["--ca-cert", str(fetch.ca_file)]
    backend = fetch.protocol.rstrip("s") if fetch.protocol == "https" else fetch.protocol
    path = "" if backend == "http" else fetch.directory
    return [*words, f":{backend}:{path}", str(fetch.target)]


def wget2(fetch: Fetch) -> list[str]:
    """wget2, which speaks HTTP and HTTPS only; a large file comes in pieces."""
    urls = fetch.note("wget2", [fetch.url + name for name in fetch.names])
    words = ["wget2", "-q", "--no-config", "--no-robots", "-i", str(urls), "-P", str(fetch.target)]
    words += ["--max-threads", str(fetch.connections), "--tries=1"]
    if fetch.is_large:
        words += ["--chunk-size=64M"]
    if fetch.ca_file:
        words += ["--ca-certificate", str(fetch.ca_file)]
    return words


@dataclass(frozen=True)
class Peer:
    """A tool, its program, what it speaks and its Debian package."""

    name: str
    program: str
    command: Callable[[Fetch], list[str]]
    protocols: frozenset[str]

    @property
    def is_installed(self) -> bool:
        """Say whether it is there."""
        return shutil.which(self.program) is not None


_ALL = frozenset({"http", "https", "ftp", "sftp"})
PEERS = (
    Peer("curl", "curl", curl, _ALL),
    Peer("aria2", "aria2c", aria2, _ALL - {"sftp"}),
    Peer("lftp", "lftp", lftp, _ALL),
    Peer("rclone", "rclone", rclone, _ALL),
    Peer("wget2", "wget2", wget2, _ALL - {"ftp", "sftp"}),
)


def obscured(password: str) -> str:
    """Return a password as rclone wants it on its command line."""
    command = ["rclone", "obscure", password]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
