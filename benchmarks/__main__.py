"""Run the benchmarks, and keep their table, plots and figures in benchmarks/results/."""

from __future__ import annotations

import argparse
import sys

from benchmarks import smallfiles
from benchmarks.ground import Ground, ground
from benchmarks.row import Row, Scale

ROWS = (*smallfiles.ROWS,)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a moment each, nothing kept")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS])
    a = parser.parse_args()
    rows = [row for row in ROWS if not a.only or row.name in a.only]
    scale = Scale(1, True) if a.smoke else Scale(a.runs)
    import time

    t = time.monotonic()
    with ground() as at:
        print("ground", time.monotonic() - t)
        for row in rows:
            t = time.monotonic()
            at.go_to(row.network)
            print(row.name, row.measure(at, scale), "%.1f s" % (time.monotonic() - t), flush=True)


if __name__ == "__main__":
    main()
