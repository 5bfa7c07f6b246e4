"""Where rows are measured: a site, an origin beside it, and one at the far end of a link.

All of the site, this process included, is in the site's network namespace; where none can be made
there is no far origin, and `why_no_link` says why.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from benchmarks.link import Link, wide_area
from benchmarks.origin import Origin
from benchmarks.row import Network, Scale
from benchmarks.site import Site
from tests.servers.process import MissingServer

#: The room of files that were removed goes on being discarded for a moment.
_REST_SECONDS = 1


class Ground:
    """What a row needs; `origin` is the one that the row's network leads to."""

    def __init__(self, stack: ExitStack) -> None:
        """Start everything, to be stopped by the stack."""
        self.why_no_link = ""
        self._link = self._make_link(stack)
        self.site = Site(stack)
        self.near = Origin(stack)
        self._far = self._make_far_origin(stack)
        self.origin = self.near
        self._rest_seconds = 0

    def go_to(self, network: Network, scale: Scale) -> None:
        """Have the origin at the end of this network, which is nearer in a smoke run.

        Raises:
            MissingServer: there is no such network here; the text says why.
        """
        self._rest_seconds = scale.of(_REST_SECONDS, 0)
        self.origin = self.near
        kind = network.value
        if kind is None:
            return
        if self._link is None or self._far is None:
            raise MissingServer(self.why_no_link)
        self.origin = self._far
        self._link.become(replace(kind, rtt_ms=kind.rtt_ms / scale.of(1, 10)))

    def let_disk_rest(self) -> None:
        """Have the disk done with what others wrote and removed: who writes through would wait."""
        os.sync()
        time.sleep(self._rest_seconds)

    def _make_link(self, stack: ExitStack) -> Link | None:
        try:
            link = stack.enter_context(wide_area(Network.WIDE.value))
        except MissingServer as reason:
            self.why_no_link = str(reason)
            sys.stderr.write(f"no wide-area rows: {reason}\n")
            return None
        stack.enter_context(link.site.entered())
        return link

    def _make_far_origin(self, stack: ExitStack) -> Origin | None:
        if self._link is None:
            return None
        with self._link.origin.serving():
            return Origin(stack)


@contextmanager
def ground() -> Iterator[Ground]:
    """Start everything; stop it at the end."""
    with ExitStack() as stack:
        yield Ground(stack)
