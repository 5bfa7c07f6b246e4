r"""A wide-area link of the benchmark's own: origin and site in a network namespace each.

In: what the link is like (`LinkKind`). Out: a `Link` whose `origin` and `site` run commands,
servers of `tests.servers`, or the calling thread itself. It needs root, `ip` (iproute2),
`nsenter` (util-linux), gcc and /dev/net/tun; the kernel needs no netem.

    from benchmarks.link import LinkKind, wide_area
    from tests.servers.nginx import NginxServer

    with wide_area(LinkKind(rtt_ms=50)) as link, link.site.entered():
        with link.origin.serving():
            nginx = NginxServer()          # will run at the origin, and listen on its address
        with nginx:
            subprocess.run(["curl", nginx.url])    # at the site; so is a thread begun here

By hand, with an origin's servers in `$ORIGIN` and their address in `$ORIGIN_ADDRESS`:

    python -m benchmarks.link --rtt-ms 50 --rate-mbit 1000 --buffer-ms 100 --loss 0.001 -- \
        sh -c '$ORIGIN python3 -m http.server & sleep 1; curl http://$ORIGIN_ADDRESS:8000/'
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import MissingServer, Place, find_program, serving_at

SOURCE = Path(__file__).parent / "link.c"
#: Addresses that no network has (RFC 5737).
ORIGIN_ADDRESS, SITE_ADDRESS = "192.0.2.1", "192.0.2.2"
#: How both ends send: as Linux does unless its owner says otherwise, whatever this machine's owner
#: said. (BBR paces a connection's first packets: a file of 10 KiB takes 11 ms longer.)
CONGESTION_CONTROL = "cubic"
_CLONE_NEWNET = 0x40000000  # setns(2)


@dataclass(frozen=True, kw_only=True)
class LinkKind:
    """What a link is like, in each direction; `loss`: the share of packets that is lost.

    `buffer_ms`: how long a packet may wait for its turn at the router before the wire.
    """

    rtt_ms: float = 50
    rate_mbit: float = 1000
    buffer_ms: float = 100
    loss: float = 0


@dataclass(frozen=True)
class Namespace:
    """One end of a link."""

    name: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return what a command begins with that shall run here."""
        return ("nsenter", f"--net={self._path}", "--")

    def run(self, command: Sequence[str]) -> None:
        """Run a command here; it must succeed."""
        subprocess.run([*self.prefix, *command], check=True)

    def serving(self) -> AbstractContextManager[None]:
        """Have the servers that are made within run here, and listen on this end's address."""
        return serving_at(Place(host=self.address, prefix=self.prefix))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have the calling thread here, and all processes and threads that it begins meanwhile."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, self._path.open("rb") as here:
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    @property
    def _path(self) -> Path:
        return Path("/run/netns") / self.name


class Link:
    """Two ends, joined by a process that carries packets between them."""

    def __init__(self, origin: Namespace, site: Namespace, carrier: subprocess.Popen[str]) -> None:
        self.origin = origin
        self.site = site
        self._carrier = carrier

    def become(self, kind: LinkKind) -> None:
        """Make the link such a one, from now on."""
        numbers = (
            kind.rtt_ms * 1e3 / 2,
            kind.rate_mbit * 1e6,
            kind.buffer_ms * 1e3,
            kind.loss * 1e6,
        )
        if self._carrier.stdin is None or self._carrier.stdout is None:
            raise ValueError("the carrier has no pipes")
        self._carrier.stdin.write(" ".join(str(round(number)) for number in numbers) + "\n")
        self._carrier.stdin.flush()
        if self._carrier.stdout.readline() != "ready\n":
            raise MissingServer("a link cannot be made here; its reason stands above")


@contextmanager
def wide_area(kind: LinkKind) -> Iterator[Link]:
    """Join two new namespaces; they are gone at the end, and what still runs in them is cut off.

    Raises:
        MissingServer: this machine cannot; the text says what it lacks.
    """
    if os.geteuid() != 0:
        raise MissingServer("a link of two namespaces must be made by root")
    if not Path("/dev/net/tun").exists():
        raise MissingServer("a link needs /dev/net/tun, which this machine does not have")
    find_program("ip", "iproute2")
    find_program("nsenter", "util-linux")
    find_program("gcc", "gcc libc6-dev")
    with ExitStack() as stack:
        ends = []
        for end, address in (("origin", ORIGIN_ADDRESS), ("site", SITE_ADDRESS)):
            name = f"biomaj-{end}-{os.getpid()}"
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            ends.append(Namespace(name, address))
        origin, site = ends
        carrier = stack.enter_context(_carrier(origin, site))
        link = Link(origin, site, carrier)
        link.become(kind)
        for here, there in ((origin, site), (site, origin)):
            _ip("-n", here.name, "link", "set", "lo", "up")
            _ip(
                "-n",
                here.name,
                "address",
                "add",
                here.address,
                "peer",
                there.address,
                "dev",
                "wan0",
            )
            # The buffer is the link's: the device itself must drop nothing.
            _ip("-n", here.name, "link", "set", "wan0", "mtu", "1500", "txqueuelen", "20000", "up")
            way = ("route", "replace", there.address, "dev", "wan0")
            _ip("-n", here.name, *way, "congctl", CONGESTION_CONTROL)
        yield link


@contextmanager
def _carrier(origin: Namespace, site: Namespace) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryDirectory(prefix="biomaj-link-") as folder:
        program = f"{folder}/link"
        subprocess.run(["gcc", "-O2", "-Wall", "-o", program, SOURCE], check=True)
        # It ends with its standard input, however this process ends.
        with subprocess.Popen(
            [program, origin.name, site.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as carrier:
            yield carrier


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
