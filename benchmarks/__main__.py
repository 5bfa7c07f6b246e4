"""Run the benchmarks, and keep their table, plots and figures in benchmarks/results/."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import (
    archives,
    client,
    largefile,
    listing,
    memory,
    messages,
    oldpackage,
    smallfiles,
)
from benchmarks.ground import ground
from benchmarks.report import Report, line
from benchmarks.row import Row, Scale
from tests.servers.process import MissingServer

RESULTS = Path(__file__).parent / "results"
#: In the order of the table.
ROWS: tuple[Row, ...] = (
    *smallfiles.ROWS,
    *largefile.ROWS,
    *archives.ROWS,
    *listing.ROWS,
    *messages.ROWS,
    *memory.ROWS,
    *client.ROWS,
)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a moment each, nothing kept")
    parser.add_argument("--runs", type=int, default=3, help="rounds of each row (%(default)s)")
    parser.add_argument("--add", action="store_true", help="add the runs to those that are kept")
    parser.add_argument("--write", action="store_true", help="write what is kept anew, and no more")
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", choices=[row.name for row in ROWS], help="these rows"
    )
    arguments = parser.parse_args()
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            run(rows, Scale(1, is_smoke=True), Report(Path(folder)))
        return
    report = Report(RESULTS)
    if not arguments.write:
        run(rows, Scale(arguments.runs), report, with_earlier=arguments.add)
    report.write(ROWS)


def run(rows: list[Row], scale: Scale, report: Report, *, with_earlier: bool = False) -> None:
    """Measure the rows and keep each as it comes; say why one is left out."""
    if not scale.is_smoke:
        oldpackage.python()  # there is no way to an index of packages from inside the link
    with ground() as at:
        for row in rows:
            started = time.monotonic()
            try:
                at.go_to(row.network, scale)
            except MissingServer as reason:
                sys.stdout.write(f"{row.name}: skipped: {reason}\n")
                continue
            result = row.measure(at, scale)
            report.keep(row, result, with_earlier=with_earlier)
            seconds = time.monotonic() - started
            shown = "ran" if scale.is_smoke else line(row, result)
            sys.stdout.write(f"{row.name} ({seconds:.0f} s): {shown}\n")
            sys.stdout.flush()
    report.write(rows)


if __name__ == "__main__":
    main()
