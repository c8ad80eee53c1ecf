"""What was measured, how it compares, and whether that meets the aim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

HEADINGS = ("what", "unit", "ours", "bare", "compared", "aim", "")


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on ours / bare or on ours - bare."""

    compares: Literal["ratio", "difference"]
    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a ratio or difference is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return (
            f"{sign} {self.bound:g}" if self.compares == "difference" else f"{sign} {self.bound:g}x"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing: medians, and the single samples in the order they were taken.

    paired: sample i of ours and of bare belong to one round, so that the machine's influence on
        both cancels out: the comparison is then the median of the rounds' comparisons.
    """

    benchmark: str
    what: str
    unit: str
    ours: Sequence[float]
    bare: Sequence[float] = ()
    paired: bool = True
    aim: Aim | None = None

    @property
    def compares(self) -> Literal["ratio", "difference"]:
        """How it is compared."""
        return self.aim.compares if self.aim else "ratio"

    @property
    def compared(self) -> float | None:
        """Ours / bare or ours - bare; None when there is nothing to compare with."""
        if not self.bare:
            return None
        pairs = [(statistics.median(self.ours), statistics.median(self.bare))]
        if self.paired:
            pairs = list(zip(self.ours, self.bare, strict=True))
        if self.compares == "difference":
            return statistics.median(ours - bare for ours, bare in pairs)
        return statistics.median(ours / bare for ours, bare in pairs)

    @property
    def verdict(self) -> str:
        """Whether the aim is met; empty without one."""
        if self.aim is None or self.compared is None:
            return ""
        return "ok" if self.aim.met(self.compared) else "MISSED"

    def row(self) -> tuple[str, ...]:
        """The cells of its line in the table."""
        compared = ""
        if self.compared is not None:
            ratio = self.compares == "ratio"
            compared = f"{self.compared:.2f}x" if ratio else f"{self.compared:+.1f}"
        return (
            self.what,
            self.unit,
            number(statistics.median(self.ours)),
            number(statistics.median(self.bare)) if self.bare else "",
            compared,
            str(self.aim or ""),
            self.verdict,
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "benchmark": self.benchmark,
            "what": self.what,
            "unit": self.unit,
            "ours": statistics.median(self.ours),
            "bare": statistics.median(self.bare) if self.bare else None,
            "compares": self.compares,
            "compared": self.compared,
            "aim": str(self.aim) if self.aim else None,
            "verdict": self.verdict or None,
            "samples": {"ours": list(self.ours), "bare": list(self.bare)},
        }


def number(value: float) -> str:
    """A figure with as many digits as are significant."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def table(figures: Sequence[Figure]) -> str:
    """All figures, one line each, in columns."""
    rows = [HEADINGS, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 or column > 4 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths).rstrip())
    return "\n".join(lines)
