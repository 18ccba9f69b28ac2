"""The hash line of a population: whom each charge concerns, and what all of them come to at each place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.reports.charts.axis import Axis
from workbench.reports.charts.drawing import WIDTH, box, drawing, hue, image, label, line
from workbench.reports.charts.plane import BOTTOM, LEFT, RIGHT, Plane
from workbench.reports.formatting import figure

MOST = 30  # charges that are drawn
_PROFILE, _BAR, _GAP = 190.0, 9.0, 5.0


def hash_line(charges: Sequence[Mapping[str, Any]], along: Sequence[Sequence[float]], budget: float) -> str:
    """One SVG, as an image of its own: the composed spend at each place, the budget, and below them a bar for each charge.

    `along` are stretches [low, high, epsilon] of the line from 0 to 1; a charge has a `scope` of intervals and a `number`. The
    spend of the population is that of its highest place. Of very many charges the newest are drawn.
    """
    shown = list(charges)[-MOST:]
    plane = Plane(x=Axis(title="", low=0, high=1), y=_epsilons(along, budget), height=_PROFILE)
    parts = [*plane.frame(), *_profile(plane, along), *_limit(plane, budget)]
    top = _PROFILE - BOTTOM + 28
    for place, charge in enumerate(shown):
        parts += _bars(plane, charge, top + place * (_BAR + _GAP))
    height = top + len(shown) * (_BAR + _GAP) + 22
    parts.append(label(WIDTH - RIGHT, height - 4, "where a person's keyed hash lies", "dim end"))
    return image(drawing(told(charges, along, budget), height, parts), height)


def told(charges: Sequence[Mapping[str, Any]], along: Sequence[Sequence[float]], budget: float) -> str:
    """What the drawing shows, in a sentence."""
    most = max((epsilon for _, _, epsilon in along), default=0.0)
    least = min((epsilon for _, _, epsilon in along), default=0.0) if _covers_all(along) else 0.0
    spread = f"between {figure(least)} and {figure(most)}" if figure(least) != figure(most) else figure(most)
    count = "1 charge" if len(charges) == 1 else f"{len(charges)} charges"
    return f"The hash line with {count}: the composed epsilon is {spread}, of a budget of {budget:g}."


def _covers_all(along: Sequence[Sequence[float]]) -> bool:
    """Whether something was spent at every place: stretches that nobody was charged for are not among these."""
    reached = 0.0
    for low, high, _ in along:
        if low != reached:
            return False
        reached = high
    return reached == 1


def _epsilons(along: Sequence[Sequence[float]], budget: float) -> Axis:
    return Axis(title="spent ε", low=0, high=1.08 * max([budget, *(epsilon for _, _, epsilon in along)]))


def _profile(plane: Plane, along: Sequence[Sequence[float]]) -> list[str]:
    bottom = plane.up(0)
    parts = []
    for low, high, epsilon in along:
        left, right, top = plane.across(low), plane.across(high), plane.up(epsilon)
        said = f"{low:.1%} to {high:.1%}: ε {figure(epsilon)}"
        parts.append(box(left, top, right - left, bottom - top, "bar", told=said))
        parts.append(line(left, top, right, top, "line s1"))
    return parts


def _limit(plane: Plane, budget: float) -> list[str]:
    y = plane.up(budget)
    said = label(WIDTH - RIGHT - 4, y - 4, f"budget {budget:g}", "dim end")
    return [line(LEFT, y, WIDTH - RIGHT, y, "line s2"), said]


def _bars(plane: Plane, charge: Mapping[str, Any], y: float) -> list[str]:
    parts = [label(LEFT - 6, y + _BAR - 0.5, f"no. {charge['number']}", "dim end small")]
    for low, high in charge["scope"]:
        left, right = plane.across(low), plane.across(high)
        parts.append(
            box(left, y, max(right - left, 1.5), _BAR, f"f{hue(charge['number'] - 1)}", told=charge["purpose"])
        )
    return parts
