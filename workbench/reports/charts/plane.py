"""Two axes, and what is drawn between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.reports.charts.axis import Axis
from workbench.reports.charts.drawing import WIDTH, label, line

LEFT, RIGHT, TOP, BOTTOM = 48.0, 10.0, 22.0, 40.0


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An area of 340 by `height` with its axes at the left and below."""

    x: Axis
    y: Axis
    height: float = 300.0

    def across(self, value: float) -> float:
        """Where a value of x is drawn."""
        return LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        """Where a value of y is drawn."""
        return self.height - BOTTOM - self.y.at(value) * (self.height - TOP - BOTTOM)

    def frame(self) -> list[str]:
        """The axes with their grid, ticks and titles."""
        left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, self.height - BOTTOM
        parts = [label(2, 12, self.y.title, "dim"), label(right, self.height - 6, self.x.title, "dim end")]
        for tick in self.x.ticks:
            x = self.across(tick)
            parts += [line(x, top, x, bottom, "grid"), label(x, bottom + 15, f"{tick:g}", "dim middle")]
        for tick in self.y.ticks:
            y = self.up(tick)
            parts += [line(left, y, right, y, "grid"), label(left - 5, y + 4, f"{tick:.6g}", "dim end")]
        return [*parts, line(left, bottom, right, bottom, "axis"), line(left, top, left, bottom, "axis")]

    def path(self, points: Sequence[tuple[float, float]], style: str) -> str:
        """A line through the points."""
        drawn = " ".join(f"{self.across(x):.1f},{self.up(y):.1f}" for x, y in points)
        return f'<polyline points="{drawn}" class="line {style}"/>'
