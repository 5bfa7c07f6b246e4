"""A row of the table: what is measured, on which network, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.link import LinkKind

if TYPE_CHECKING:
    from benchmarks.ground import Ground

OURS, OLD = "ours", "3.2.12"
#: Ours, as durable as 3.2.12 and the peers are: files survive its own end, but not a power cut.
UNDURABLE = "ours without fsync"


class Network(Enum):
    """Where the origin stands; the value is the link to it, None on loopback."""

    LOOPBACK = None
    WIDE = LinkKind(rtt_ms=50, rate_mbit=1000, buffer_ms=100)
    FAR = LinkKind(rtt_ms=150, rate_mbit=1000, buffer_ms=100, loss=0.001)


@dataclass(frozen=True)
class Scale:
    """How much is done: `runs` of each, or a moment each (`is_smoke`)."""

    runs: int
    is_smoke: bool = False

    def of(self, full: int, smoke: int) -> int:
        """Return how many of something there are."""
        return smoke if self.is_smoke else full


@dataclass(kw_only=True)
class Result:
    """The figures of one row.

    `figures`: tool -> its runs; `lacking`: tool -> why it has none.
    """

    figures: dict[str, list[float]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, tool: str, figure: float) -> None:
        """Keep the figure of one run."""
        self.figures.setdefault(tool, []).append(figure)

    def median(self, tool: str) -> float:
        """Return a tool's median; it must have one."""
        return median(self.figures[tool])

    def best(self, tools: Sequence[str], *, is_more_better: bool = True) -> str | None:
        """Return which of the tools is best; None where none of them has a figure."""
        known = [tool for tool in tools if tool in self.figures]
        choose = max if is_more_better else min
        return choose(known, key=self.median) if known else None

    def is_ahead_of(self, *tools: str) -> bool:
        """Say whether ours does more than each of the tools that has a figure."""
        best = self.best(tools)
        return best is None or self.median(OURS) > self.median(best)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Something to measure; `name` is what `--only` takes.

    `text`: what stands in our column where a median in `unit` does not say it. `is_reached` None:
    there is no goal.
    """

    name: str
    work: str
    network: Network
    measure: Callable[[Ground, Scale], Result]
    unit: str
    is_more_better: bool = True
    goal: str = ""
    is_reached: Callable[[Result], bool] | None = None
    text: Callable[[Result], str] | None = None
