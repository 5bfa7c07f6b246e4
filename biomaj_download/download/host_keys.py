"""What becomes of an SSH server's key: taken, refused, or added to the file of known ones.

libcurl would write the whole file anew, as it was when the connection began: of several connections
at once, and of several processes, each would remove what the others have added. A line is appended
here instead, as ssh does (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
"""

from __future__ import annotations

import base64
import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pycurl

log = logging.getLogger("biomaj.download.ssh")

_SSH_PORT = 22


@dataclass(frozen=True)
class HostKeyJudge:
    """Answers libcurl's question about a server's key (CURLOPT_SSH_KEYFUNCTION).

    `server`: name, or name:port. `hosts_file`: where known keys stand. `new_host`: what to do with
    one that does not: reject, accept, or add.
    """

    server: str
    hosts_file: Path
    new_host: str

    def __call__(self, _known: object, found: pycurl.KhKey, match: int) -> int:
        """Return what libcurl shall do: a key that is not the stored one is never taken."""
        if match == pycurl.KHMATCH_OK:
            return int(pycurl.KHSTAT_FINE)
        if match != pycurl.KHMATCH_MISSING or self.new_host == "reject":
            return int(pycurl.KHSTAT_REJECT)
        if self.new_host == "add":
            try:
                add_key(self.hosts_file, self.server, found.key)
            except OSError as error:
                log.warning("key of a new host not added file=%s error=%s", self.hosts_file, error)
        return int(pycurl.KHSTAT_FINE)


def add_key(hosts_file: Path, server: str, key: bytes) -> None:
    """Append a server's key, which says itself of which type it is (RFC 4253, section 6.6).

    Raises:
        OSError: what the disk said.
    """
    there = urlsplit(f"//{server}")
    host = there.hostname or server
    if there.port not in (None, _SSH_PORT):
        host = f"[{host}]:{there.port}"
    kind = key[4 : 4 + int.from_bytes(key[:4], "big")].decode("ascii")
    line = f"{host} {kind} {base64.b64encode(key).decode('ascii')}\n".encode()
    descriptor = os.open(hosts_file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = file.read()
        if line not in known.splitlines(keepends=True):
            file.write(line if known.endswith(b"\n") or not known else b"\n" + line)
