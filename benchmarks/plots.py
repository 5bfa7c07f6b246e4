"""Plots of the rows: a panel a row, a bar a tool; ours stands out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.row import OLD, OURS, Result, Row

mpl.use("agg")

_COLOURS = {OURS: "#0072b2", OLD: "#d55e00"}
_OTHERS = "#b8bec4"
_INK, _PALE = "#22272b", "#7a848c"
_COLUMNS = 3


@dataclass(frozen=True)
class Plot:
    """A picture: its title, and the names of the rows that it shows."""

    title: str
    rows: tuple[str, ...]


PLOTS = {
    "small-files": Plot(
        "Files of 10 KiB: files a second, more is better",
        (
            "small-http",
            "small-ftp",
            "small-sftp",
            "small-http-wide",
            "small-http2-wide",
            "small-ftp-wide",
        ),
    ),
    "large-file": Plot(
        "One large file: MB a second, more is better",
        (
            "large-http",
            "large-ftp",
            "large-http-far",
            "large-http-wide",
            "large-ftp-wide",
            "large-sftp-wide",
        ),
    ),
    "seconds": Plot(
        "Compressed files that are tested, and listings: seconds, less is better",
        ("archives-small", "archives-large", "tree-ftp-wide"),
    ),
}


def plot(path: Path, title: str, panels: Sequence[tuple[Row, Result]]) -> None:
    """Draw the panels, three abreast, into a PNG file."""
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 0.7 + 2.9 * lines), layout="constrained", dpi=110)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=_INK)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    axes = figure.subplots(lines, _COLUMNS, squeeze=False).flatten()
    for place, (row, result) in zip(axes, panels, strict=False):
        _draw(place, row, result)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    figure.savefig(path)


def _draw(place: Axes, row: Row, result: Result) -> None:
    tools = [tool for tool in result.figures if not tool.startswith("memory")]
    tools.sort(key=lambda tool: (tool != OURS, tool != OLD))
    medians = [result.median(tool) for tool in tools]
    low = [median - min(result.figures[tool]) for tool, median in zip(tools, medians, strict=True)]
    high = [max(result.figures[tool]) - median for tool, median in zip(tools, medians, strict=True)]
    place.barh(
        tools,
        medians,
        xerr=(low, high),
        error_kw={"ecolor": _PALE, "elinewidth": 0.8},
        color=[_COLOURS.get(tool, _OTHERS) for tool in tools],
        height=0.72,
    )
    most = max(median + more for median, more in zip(medians, high, strict=True))
    for number, (median, more) in enumerate(zip(medians, high, strict=True)):
        text = f"{median:,.0f}" if median >= 100 else f"{median:.3g}"
        place.text(median + more + most * 0.02, number, text, va="center", fontsize=9, color=_INK)
    place.invert_yaxis()
    place.set_xlim(0, most * 1.18)
    place.set_title(textwrap.fill(row.work, 46), loc="left", fontsize=9.5, color=_INK)
    place.xaxis.set_visible(False)
    place.tick_params(axis="y", length=0, labelsize=9, labelcolor=_INK)
    for side in place.spines.values():
        side.set_visible(False)
