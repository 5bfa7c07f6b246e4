"""Run the benchmarks, print their tables, and keep them in benchmarks/results/."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import bigfile, client, listing, messages, protocols
from benchmarks.site import Site, site

RESULTS = Path(__file__).parent / "results" / "loopback.md"


def full(at: Site) -> list[str]:
    """Measure in earnest."""
    return [
        messages.measure(at, files=5000, runs=3),
        client.measure(at, files=500),
        protocols.measure(at, files=1000),
        bigfile.measure(at, size_bytes=2 << 30, runs=5),
        listing.measure(at, entries=100_000, runs=3),
    ]


def smoke(at: Site) -> list[str]:
    """Run each for a moment, to see that it works; 3.2.12 takes no part."""
    return [
        messages.measure(at, files=50, runs=1, with_old=False),
        client.measure(at, files=20),
        protocols.measure(at, files=20),
        bigfile.measure(at, size_bytes=8 << 20, runs=1),
        listing.measure(at, entries=1000, runs=1),
    ]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a moment each, nothing kept")
    arguments = parser.parse_args()
    with site() as at:
        text = "\n".join(smoke(at) if arguments.smoke else full(at))
    sys.stdout.write(text)
    if not arguments.smoke:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
