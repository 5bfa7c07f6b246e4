"""Bring the sample databank home, exactly as BioMAJ does: a LIST, then one DOWNLOAD a file."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from biomaj_download.message import downmessage_pb2 as wire
from demo import databank
from demo.origin import serving

BANK = "sample"
_WAIT_SECONDS = 30
console = Console(highlight=False)


class Api:
    """The service's REST interface, as far as a session needs it."""

    def __init__(self, url: str) -> None:
        self._base = f"{url}/api/download"
        self._session = requests.Session()

    def create_session(self) -> str:
        """Open a session and return its id."""
        return str(self._call("post", f"session/{BANK}")["session"])

    def ask(self, operation: wire.Operation) -> None:
        """Put a request on the queue."""
        self._call(
            "post",
            "operations",
            data=operation.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )

    def progress(self, session: str, after: int) -> tuple[int, int]:
        """Wait for more progress; return how many requests ended, and how many failed."""
        arguments = {"after": after, "wait_seconds": _WAIT_SECONDS}
        status = self._call("get", f"status/download/{BANK}/{session}", params=arguments)
        return max(int(status["progress"]), 0), max(int(status["errors"]), 0)

    def errors(self, session: str) -> list[str]:
        """Return what went wrong."""
        return list(self._call("get", f"error/download/{BANK}/{session}")["error"])

    def files(self, session: str) -> wire.FileList:
        """Return the answer to a LIST."""
        text = self._call("get", f"list/{BANK}/{session}")["files"]
        return wire.FileList.FromString(base64.b64decode(text))

    def _call(self, method: str, route: str, **arguments: object) -> dict:
        answer = self._session.request(
            method, f"{self._base}/{route}", timeout=2 * _WAIT_SECONDS, **arguments
        )
        answer.raise_for_status()
        return answer.json()


@contextmanager
def service(data: Path) -> Iterator[Api]:
    """Run the embedded service; give its REST interface.

    Messages lead it nowhere but below the folder that holds its data.
    """
    confined = dict.fromkeys(("BIOMAJ_STORAGE_ROOTS", "BIOMAJ_LOCAL_ROOTS"), f"[{data.parent}]")
    command = [sys.executable, "-m", "biomaj_download.cli", "serve", "--port=0", f"--data={data}"]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **confined}
    ) as process:
        started = next(iter(process.stdout or ()), "")
        if "serving on" not in started:
            raise SystemExit("the service did not start")
        try:
            yield Api(started.split()[2].rstrip(","))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def new_operation(
    kind: int, session: str, home: Path, protocol: int, server: str
) -> wire.Operation:
    """Return a request, as BioMAJ fills it in."""
    operation = wire.Operation(type=kind)
    download = operation.download
    download.bank, download.session, download.local_dir = BANK, session, str(home)
    remote = download.remote_file
    remote.protocol, remote.server, remote.remote_dir = protocol, server, "/"
    return operation


def listed(api: Api, home: Path, ftp: str) -> wire.FileList:
    """Ask for the list of the databank's files, by FTP."""
    session = api.create_session()
    operation = new_operation(wire.Operation.LIST, session, home, wire.DownloadFile.FTP, ftp)
    operation.download.remote_file.matches.append("**/*")
    api.ask(operation)
    progress, errors = api.progress(session, 0)
    if progress != 1 or errors:
        raise SystemExit(f"no list: {api.errors(session)}")
    return api.files(session)


def downloaded(api: Api, files: wire.FileList, home: Path, ftp: str, http: str) -> list[str]:
    """Ask for each file, every other one by FTP and by HTTP; return what went wrong."""
    session = api.create_session()
    for number, file in enumerate(files.files):
        protocol, server = (wire.DownloadFile.FTP, ftp), (wire.DownloadFile.HTTP, http)
        operation = new_operation(
            wire.Operation.DOWNLOAD, session, home, *(server if number % 2 else protocol)
        )
        operation.download.remote_file.files.append(file)
        api.ask(operation)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("downloading", total=len(files.files))
        done = 0
        while done < len(files.files):
            now, _errors = api.progress(session, done)
            if now == done:
                raise SystemExit(f"no progress for {_WAIT_SECONDS} s at {done} files")
            done = now
            bar.update(task, completed=done)
    return api.errors(session)


def differences(origin: Path, home: Path) -> list[str]:
    """Return the names of files that are not at home as the origin has them."""
    names = {str(path.relative_to(origin)) for path in origin.rglob("*") if path.is_file()}
    names |= {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    return sorted(name for name in names if digest(origin / name) != digest(home / name))


def digest(path: Path) -> str | None:
    """Return a file's sha256; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def main() -> int:
    """Run the demo; return 0 only if every file came home right."""
    logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
    top = Path(tempfile.mkdtemp(prefix="biomaj-demo-"))
    origin, home = top / "origin", top / "home"
    made = databank.make(origin)
    console.print(f"A sample databank of {made} files, served on loopback by FTP and HTTP.")
    with serving(origin) as (ftp, http), service(top / "service") as api:
        started = time.monotonic()
        files = listed(api, home, ftp)
        console.print(f"LIST: {len(files.files)} files match **/*. One DOWNLOAD each:")
        problems = downloaded(api, files, home, ftp, http)
        seconds = time.monotonic() - started
    problems += [f"differs: {name}" for name in differences(origin, home)]
    for problem in problems:
        console.print(problem, style="red")
    arrived = [path for path in home.rglob("*") if path.is_file()]
    size_bytes = sum(path.stat().st_size for path in arrived)
    verdict = "all verified" if not problems else f"{len(problems)} problems"
    console.print(f"{len(arrived)} files, {size_bytes} bytes, {seconds:.1f} seconds, {verdict}")
    console.print(f"They are in {home}", soft_wrap=True)
    console.print(
        "\nNext, from a real server, or a service of your own:\n"
        "  .venv/bin/biomaj-download get https://ftp.ncbi.nlm.nih.gov/blast/db/taxdb.tar.gz -d db\n"
        "  .venv/bin/biomaj-download serve",
        soft_wrap=True,
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
