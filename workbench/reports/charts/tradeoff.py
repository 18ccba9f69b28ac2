"""What is gained against what it costs, one point per artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.metrics.estimate import Estimate
from workbench.reports.charts.axis import Axis, around
from workbench.reports.charts.drawing import WIDTH, chart, drawing, hue, key, label, line
from workbench.reports.charts.plane import BOTTOM, RIGHT, TOP, Plane
from workbench.reports.formatting import figure, finite_ends
from workbench.reports.page import escaped

_NONE = 34.0  # the room at the right for what has no x
_APART = 6.0  # points of several groups at one x are drawn beside each other


@dataclass(frozen=True, kw_only=True)
class Point:
    """An artifact: `x` is None where it has none, as a generator without differential privacy has no epsilon."""

    name: str
    group: str
    x: float | None
    y: Estimate
    emphasised: bool = False


def tradeoff(points: Sequence[Point], *, title: str, note: str, x: str, y: str, log: bool, none: str = "") -> str:
    """The points, numbered and listed below, with the intervals of y; empty where there is none."""
    if not points:
        return ""
    plane = _plane(points, x=x, y=y, log=log)
    groups = sorted({point.group for point in points})
    parts = plane.frame()
    if any(point.x is None for point in points):
        parts.append(label(WIDTH - RIGHT, plane.height - BOTTOM + 15, none, "dim end"))
    for number, point in enumerate(points, 1):
        parts += _drawn(plane, number, point, groups)
    said = [f"{point.name}: {_place(point, none)}, {figure(point.y.value)}" for point in points]
    told = f"{y} against {x} of {len(points)} artifacts: {'; '.join(said)}."
    return chart(title, note, drawing(told, plane.height, parts) + _list(points, groups))


def _plane(points: Sequence[Point], *, x: str, y: str, log: bool) -> Plane:
    across = around(x, [point.x for point in points if point.x is not None], log=log)
    if any(point.x is None for point in points):
        across = _with_room(across)
    ends = [end for point in points for end in (*finite_ends(point.y), point.y.value)]
    return Plane(x=across, y=around(y, ends))


def _with_room(axis: Axis) -> Axis:
    """The axis, longer by what is drawn at its end for points without x."""
    longer = axis.high * (axis.high / axis.low) ** 0.25 if axis.log else axis.high + 0.25 * (axis.high - axis.low)
    return replace(axis, high=longer, unmarked=0.2)


def _drawn(plane: Plane, number: int, point: Point, groups: Sequence[str]) -> list[str]:
    group = groups.index(point.group)
    aside = (group - (len(groups) - 1) / 2) * _APART
    x = (WIDTH - RIGHT - _NONE / 2 if point.x is None else plane.across(point.x)) + aside
    y, style = plane.up(point.y.value), f"s{hue(group)}"
    ends = [plane.up(end) for end in finite_ends(point.y)]
    parts = [line(x, ends[0], x, ends[1], f"whisker {style}")] if ends else []
    fill = f"dot {style} f{hue(group)}" if point.emphasised else f"dot {style}"
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if point.emphasised else 4}" class="{fill}"/>')
    return [*parts, label(x + 7, max(y - 5, TOP), str(number), "small bold" if point.emphasised else "small")]


def _list(points: Sequence[Point], groups: Sequence[str]) -> str:
    rows = []
    for number, point in enumerate(points, 1):
        style = f"s{hue(groups.index(point.group))}"
        fill = f" f{hue(groups.index(point.group))}" if point.emphasised else ""
        mark = key(f'<circle cx="14" cy="6" r="4.5" class="dot {style}{fill}"/>')
        name = f"{number} {escaped(point.name)}" + (f", {escaped(point.group)}" if point.group else "")
        rows.append(f"<li>{mark}{f'<strong>{name}</strong>' if point.emphasised else name}</li>")
    return f'<ul class="legend">{"".join(rows)}</ul>'


def _place(point: Point, none: str) -> str:
    return none if point.x is None else f"{point.x:g}"
