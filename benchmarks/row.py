"""A row of the table: what is measured, on which network, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.link import LinkKind

if TYPE_CHECKING:
    from benchmarks.ground import Ground

OURS, OLD = "ours", "3.2.12"


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

    `figures`: tool -> its runs, in `unit`; `lacking`: tool -> why it has none. `text`: what stands
    in our column where a median does not say it. `is_reached` None: there is no goal.
    """

    unit: str
    is_more_better: bool = True
    figures: dict[str, list[float]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    text: str = ""
    notes: list[str] = field(default_factory=list)
    is_reached: bool | None = None

    def add(self, tool: str, figure: float) -> None:
        """Keep the figure of one run."""
        self.figures.setdefault(tool, []).append(figure)

    def median(self, tool: str) -> float:
        """Return a tool's median; it must have one."""
        return median(self.figures[tool])

    def beats(self, *tools: str) -> bool:
        """Say whether ours is better than each of the tools that has a figure."""
        ours = self.median(OURS)
        theirs = [self.median(tool) for tool in tools if tool in self.figures]
        return all(ours > other if self.is_more_better else ours < other for other in theirs)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Something to measure; `name` is what `--only` takes."""

    name: str
    work: str
    network: Network
    goal: str
    measure: Callable[[Ground, Scale], Result]
