"""Run a command at the site of a wide-area link; see `benchmarks.link`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from benchmarks.link import LinkKind, wide_area


def main() -> None:
    """Read the arguments, run the command, and end as it did."""
    usual = LinkKind()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link", description=__doc__)
    parser.add_argument("--rtt-ms", type=float, default=usual.rtt_ms)
    parser.add_argument("--rate-mbit", type=float, default=usual.rate_mbit)
    parser.add_argument("--buffer-ms", type=float, default=usual.buffer_ms)
    parser.add_argument("--loss", type=float, default=usual.loss, help="share of packets, as 0.001")
    parser.add_argument("command", nargs="+", help="with $ORIGIN before it, it runs at the origin")
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    with wide_area(LinkKind(**arguments)) as link:
        told = {"ORIGIN": " ".join(link.origin.prefix), "ORIGIN_ADDRESS": link.origin.address}
        done = subprocess.run(
            [*link.site.prefix, *command], env={**os.environ, **told}, check=False
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
