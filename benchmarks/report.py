"""What was measured, kept as figures, and shown as one table of all rows and as plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mode

from benchmarks.peers import PEERS
from benchmarks.plots import PLOTS, plot
from benchmarks.row import OLD, OURS, UNDURABLE, Result, Row

_HEADER = """\
# Side by side

Ours takes each file's request off RabbitMQ, verifies the file, writes it through to the disk and
counts it in Redis; so does 3.2.12 (biomaj-download), without writing through. The others copy
files directly, told of the same number of connections, and write nothing through. All run in turn,
on one machine, which also runs the servers ({machine}).
Figures are medians of {runs} runs; "ratio" is how many times better ours is than the best of the
five. Rates of ours and of 3.2.12 go from the first file counted to the last; the others' from the
program's start to its end.

The wide area is a link in user space between two network namespaces: round trip 50 ms, 1 Gbit/s of
IP packets (965 Mbit/s of payload: "the line"), a buffer of 100 ms; far: 150 ms, 0.1 % loss.
Made by `make bench`; the runs themselves stand in [results.json](results.json).

"""
_PEER_NAMES = [peer.name for peer in PEERS]


class Report:
    """A folder with the results of the last run of each row."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._path = folder / "results.json"
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._results = {name: Result(**values) for name, values in kept.items()}

    def keep(self, row: Row, result: Result, *, with_earlier: bool = False) -> None:
        """Keep a result in place of the row's last one, or with its runs added to it."""
        earlier = self._results.get(row.name)
        if with_earlier and earlier is not None:
            for tool, runs in earlier.figures.items():
                result.figures[tool] = runs + result.figures.get(tool, [])
        self._results[row.name] = result
        values = {name: asdict(result) for name, result in sorted(self._results.items())}
        self._path.write_text(json.dumps(values, indent=1) + "\n")

    def known(self, rows: Sequence[Row]) -> list[tuple[Row, Result]]:
        """Return the rows that have a result, each with it."""
        return [(row, self._results[row.name]) for row in rows if row.name in self._results]

    def write(self, rows: Sequence[Row]) -> None:
        """Write the table and the plots of all rows that have a result."""
        known = self.known(rows)
        (self._folder / "results.md").write_text(_document(known))
        by_name = {row.name: (row, result) for row, result in known}
        for name in PLOTS:
            panels = [by_name[row] for row in PLOTS[name].rows if row in by_name]
            if panels:
                plot(self._folder / f"{name}.png", PLOTS[name].title, panels)


def short_table(rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """Return README's table of the results that a folder keeps, line by line."""
    yield "| work | ours | 3.2.12 | best of the others | goal | reached |"
    yield "|---|---|---|---|---|---|"
    for row, result in Report(folder).known(rows):
        best = result.best(_PEER_NAMES, is_more_better=row.is_more_better)
        peer = f"{_cell(row, result, best)} ({best})" if best else ""
        old = _cell(row, result, OLD) if OLD in result.figures else ""
        cells = [row.work, _ours(row, result), old, peer, row.goal, _reached(row, result)]
        yield f"| {' | '.join(cells)} |"


def line(row: Row, result: Result) -> str:
    """Return a row of the table."""
    cells = [row.work, row.goal, _ours(row, result)]
    cells += [_cell(row, result, tool) for tool in (OLD, *_PEER_NAMES)]
    cells += [_ratio(row, result), _reached(row, result)]
    return f"| {' | '.join(cells)} |"


def _document(known: Sequence[tuple[Row, Result]]) -> str:
    runs = mode(len(result.figures[OURS]) for _, result in known)
    text = _HEADER.format(machine=_machine(), runs=runs)
    heads = ["work", "goal", OURS, OLD, *_PEER_NAMES, "ratio", "reached"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [line(row, result) for row, result in known]
    lines += [""]
    lines += [f"![{PLOTS[name].title}]({name}.png)\n" for name in PLOTS]
    lines += [
        f"- {row.name}: {'; '.join(sorted(told))}"
        for row, result in known
        if (told := _remarks(result, runs))
    ]
    return text + "\n".join(lines) + "\n"


def _remarks(result: Result, usual_runs: int) -> set[str]:
    """Return what one must know of a row besides its figures."""
    told = set(result.notes)
    told |= {f"{tool}: {why}" for tool, why in result.lacking.items()}
    told |= {
        f"{tool}: {len(runs)} run{'s' * (len(runs) > 1)}"
        for tool, runs in result.figures.items()
        if len(runs) != usual_runs
    }
    return told


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def _ours(row: Row, result: Result) -> str:
    told = row.text(result) if row.text else _cell(row, result, OURS)
    if UNDURABLE in result.figures:
        told += f"; {_cell(row, result, UNDURABLE)} without fsync"
    return told


def _cell(row: Row, result: Result, tool: str) -> str:
    if tool in result.figures:
        return f"{shown(result.median(tool))} {row.unit}"
    why = result.lacking.get(tool, "")
    return "fails" if why.startswith(("fails", "more than")) else "-"


def shown(figure: float) -> str:
    """Return a figure with as many digits as it is worth."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _ratio(row: Row, result: Result) -> str:
    best = result.best(_PEER_NAMES, is_more_better=row.is_more_better)
    if best is None:
        return ""
    ratio = result.median(OURS) / result.median(best)
    return f"{ratio if row.is_more_better else 1 / ratio:.2f} ({best})"


def _reached(row: Row, result: Result) -> str:
    if row.is_reached is None:
        return ""
    return "yes" if row.is_reached(result) else "**no**"
