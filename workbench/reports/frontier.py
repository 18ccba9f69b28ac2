"""Accuracy of ensembles against what an erasure costs them, as one SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.reports.charts.axis import around
from workbench.reports.charts.drawing import drawing, hue, image, label, line
from workbench.reports.charts.plane import LEFT, TOP, Plane
from workbench.reports.formatting import figure

_ROW = 16.0  # of the legend
_RING = "line axis"


def draw(choices: Sequence[Mapping[str, Any]], recommended: Mapping[str, int], metric: str) -> bytes:
    """A point for each number of shards and slices, the recommended one ringed; equal figures give equal bytes."""
    ends = [choice[end] for choice in choices for end in ("low", metric, "high")]
    plane = Plane(
        x=around("retraining for one erasure (s)", [choice["one_request_s"] for choice in choices], log=True),
        y=around(f"{metric} of the ensemble (95 % interval)", ends),
    )
    parts = plane.frame()
    slices = sorted({choice["slices"] for choice in choices})
    for number, count in enumerate(slices):
        parts += _series(plane, [choice for choice in choices if choice["slices"] == count], number, metric)
    for choice in choices:
        if _named(choice) == _named(recommended):
            parts.append(_circle(plane.across(choice["one_request_s"]), plane.up(choice[metric]), 9, _RING))
    parts += _legend(slices, plane.height + 8)
    height = plane.height + 8 + _ROW * (len(slices) + 1)
    return image(drawing(_told(choices, recommended, metric), height, parts), height).encode()


def _named(choice: Mapping[str, Any]) -> str:
    return f"S={choice['shards']}, R={choice['slices']}"


def _series(plane: Plane, choices: Sequence[Mapping[str, Any]], number: int, metric: str) -> Iterator[str]:
    """Draw the choices of one number of slices: a line through them, their intervals, points and numbers of shards."""
    style = f"s{hue(number)}"
    yield plane.path([(choice["one_request_s"], choice[metric]) for choice in choices], style)
    for choice in choices:
        x, y = plane.across(choice["one_request_s"]), plane.up(choice[metric])
        yield line(x, plane.up(choice["low"]), x, plane.up(choice["high"]), f"whisker {style}")
        yield _circle(x, y, 4, f"dot {style}")
        yield label(x + 7, max(y - 5, TOP), f"S={choice['shards']}", "small")


def _circle(x: float, y: float, radius: float, style: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{style}"/>'


def _legend(slices: Sequence[int], top: float) -> Iterator[str]:
    keys = [
        (4, f"dot s{hue(number)}", f"{count} slice{'s' if count > 1 else ''}") for number, count in enumerate(slices)
    ]
    for row, (radius, style, text) in enumerate([*keys, (6, _RING, "recommended")]):
        y = top + _ROW * row
        yield _circle(LEFT + 6, y, radius, style)
        yield label(LEFT + 20, y + 4, text)


def _told(choices: Sequence[Mapping[str, Any]], recommended: Mapping[str, int], metric: str) -> str:
    said = [f"{_named(choice)}: {choice['one_request_s']:g} s, {figure(choice[metric])}" for choice in choices]
    return f"{metric} against the seconds of retraining for one erasure: {'; '.join(said)}. Recommended: {_named(recommended)}."
