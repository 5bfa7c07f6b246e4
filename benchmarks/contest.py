"""The files of one folder of the origin, fetched by ours, by 3.2.12 and by a peer, and checked.

Ours and 3.2.12 take a request a file off RabbitMQ and count it in Redis; ours verifies each file
and writes it through to the disk. A peer copies the files and ends.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks import oldpackage
from benchmarks.ground import Ground
from benchmarks.origin import WIRE
from benchmarks.peers import PEERS, Fetch, Peer
from benchmarks.row import OLD, OURS, UNDURABLE, Result, Scale
from benchmarks.site import CONSUMER, Run
from biomaj_download.message import downmessage_pb2 as wire

#: A peer that takes longer than this has lost.
_GIVE_UP_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Contest:
    """How files are fetched: by this protocol over so many connections, of each consumer.

    `shows_durability`: ours takes part a second time, as durable as the peers are.
    """

    ground: Ground
    protocol: str
    folder: str
    connections: int
    is_large: bool = False
    slots: int | None = None
    processes: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    is_durable: bool = True
    shows_durability: bool = False

    def ours(self, names: Sequence[str], *, consumers: int = 1, warm_up: int = 1) -> Run:
        """Fetch by our consumer, set up for these connections; `warm_up` files are not measured."""
        self._configure()
        return self._consume(CONSUMER, names, consumers, warm_up)

    def old(self, names: Sequence[str]) -> Run:
        """Fetch by that of 3.2.12, which knows an authority of our own by an option only."""
        self._configure()
        ca_file = str(self.ground.origin.nginx.ca_file)
        told = replace(self, options={**self.options, "ssl_server_cert": ca_file})
        return told._consume(oldpackage.consumer_command(), names)  # noqa: SLF001 - its own

    def peer(self, peer: Peer, names: Sequence[str]) -> float:
        """Fetch by one of the other tools, and return the seconds that it took."""
        origin = self.ground.origin
        is_ssh = self.protocol == "sftp"
        fetch = Fetch(
            protocol=self.protocol,
            url=origin.url(self.protocol, self.folder),
            names=names,
            target=self.ground.site.new_home(),
            connections=self.connections,
            is_large=self.is_large,
            ca_file=origin.nginx.ca_file if self.protocol == "https" else None,
            user=origin.ssh.user if is_ssh else "",
            password=(origin.ssh.password or "") if is_ssh else "",
            known_hosts=origin.ssh.known_hosts_file,
        )
        command = peer.command(fetch)
        self.ground.let_disk_rest()
        started = time.monotonic()
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIVE_UP_SECONDS,
        )
        seconds = time.monotonic() - started
        self._check(fetch.target, names)
        return seconds

    def _configure(self) -> None:
        self.ground.site.configure(
            is_durable=self.is_durable,
            worker={
                "slots": self.slots or max(16, 2 * self.connections),
                "processes": self.processes,
            },
            transfer={
                "max_connections": max(64, self.connections),
                "ftp_connections_per_host": self.connections,
                "http_connections_per_host": self.connections,
                "other_connections_per_host": self.connections,
                "authorities_file": str(self.ground.origin.nginx.ca_file),
            },
        )

    def _consume(
        self, command: Sequence[str], names: Sequence[str], consumers: int = 1, warm_up: int = 1
    ) -> Run:
        site = self.ground.site
        home = self.ground.site.new_home()
        session = site.new_session()
        requests = list(self._requests(session, home, names))
        self.ground.let_disk_rest()
        if len(requests) == 1:
            run = site.bring(command, session, requests[0])
        else:
            site.publish(requests)
            run = site.race(command, session, len(requests), consumers=consumers, warm_up=warm_up)
        self._check(home, names)
        return run

    def _requests(self, session: str, home: Path, names: Sequence[str]) -> Iterator[wire.Operation]:
        origin = self.ground.origin
        directory = origin.directory(self.protocol, self.folder)
        for name in names:
            request = self.ground.site.request(
                session, home, WIRE[self.protocol], origin.server(self.protocol), directory
            )
            download = request.download
            download.options.update(self.options)
            if self.protocol == "sftp":
                download.remote_file.credentials = f"{origin.ssh.user}:{origin.ssh.password}"
                download.options["ssh_hosts_file"] = str(origin.ssh.known_hosts_file)
            file = download.remote_file.files.add(name=name, root=directory, save_as=name)
            file.metadata.size = (origin.nginx.root / self.folder / name).stat().st_size
            file.metadata.year, file.metadata.month, file.metadata.day = 2024, 1, 2
            yield request

    def _check(self, home: Path, names: Sequence[str]) -> None:
        """See that all files are there, byte for byte; remove a large one."""
        origin = self.ground.origin.nginx.root / self.folder
        wrong = [
            name
            for name in names
            if not (home / name).exists()
            or not filecmp.cmp(home / name, origin / name, shallow=False)
        ]
        if wrong:
            raise SystemExit(f"{len(wrong)} of {len(names)} files are wrong, as {wrong[0]}")
        if self.is_large:
            for name in names:
                (home / name).unlink()


def in_turn(
    contest: Contest,
    names: Sequence[str],
    result: Result,
    scale: Scale,
    *,
    figure: Callable[[float], float] = lambda files_per_second: files_per_second,
    parts: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Have each tool fetch the files, round after round; keep the `figure` of its files a second.

    `parts`: tool -> the part of the files that it fetches, where all would take it minutes. In a
    smoke run 3.2.12 takes no part, and a tool that is not installed, or fails, is an error.
    """
    if not scale.is_smoke:
        for tool, part in parts.items():
            result.notes.append(f"{tool} with {round(part * len(names))} of the files")
    for _ in range(scale.runs):
        for tool, rate in _tools(contest, result, scale):
            part = 1 if scale.is_smoke else parts.get(tool, 1)
            try:
                result.add(tool, figure(rate(names[: round(len(names) * part)])))
            except (subprocess.SubprocessError, SystemExit) as error:
                if scale.is_smoke or tool == OURS:
                    raise
                result.lacking[tool] = reason(error)
                result.figures.pop(tool, None)


def _tools(
    contest: Contest, result: Result, scale: Scale
) -> Iterator[tuple[str, Callable[[Sequence[str]], float]]]:
    """Return who takes part, and what fetches files and tells how many a second."""
    yield OURS, lambda names: contest.ours(names).files_per_second
    if contest.shows_durability:
        undurable = replace(contest, is_durable=False)
        yield UNDURABLE, lambda names: undurable.ours(names).files_per_second
    if not scale.is_smoke and OLD not in result.lacking:
        yield OLD, lambda names: contest.old(names).files_per_second
    for peer in PEERS:
        if contest.protocol not in peer.protocols:
            result.lacking[peer.name] = f"speaks no {contest.protocol.upper()}"
        elif not peer.is_installed:
            result.lacking[peer.name] = "not installed"
            if scale.is_smoke and os.environ.get("CI"):
                raise SystemExit(f"{peer.program} is not installed")
        elif peer.name not in result.lacking:
            yield peer.name, partial(_peer_rate, contest, peer)


def _peer_rate(contest: Contest, peer: Peer, names: Sequence[str]) -> float:
    return len(names) / contest.peer(peer, names)


def reason(error: BaseException) -> str:
    """Say why a program, whose output was captured as bytes, brought nothing."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"more than {_GIVE_UP_SECONDS} s"
    if isinstance(error, subprocess.CalledProcessError):
        told = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return f"fails ({told[-1] if told else f'exit code {error.returncode}'})"
    return f"fails ({error})"
