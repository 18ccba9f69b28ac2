"""How well attacks tell members from non-members: true against false positives, both on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.metrics.measure import Measure
from workbench.reports.charts.axis import Axis
from workbench.reports.charts.drawing import chart, drawing, hue, key, legend, line
from workbench.reports.charts.plane import Plane
from workbench.reports.formatting import figure

_LOWEST = 1e-4


def attack_curves(measures: Sequence[Measure]) -> str:
    """A curve for each measure that has one; empty where none has.

    On logarithmic axes the few people whom an attacker is sure of are seen (Carlini et al. 2022), which an AUC hides.
    """
    drawn = [measure for measure in measures if len(measure.curve) > 1]
    if not drawn:
        return ""
    low = max(min([x for measure in drawn for x, _ in measure.curve if x > 0], default=1e-3), _LOWEST)
    low = min(low, 0.1)
    plane = Plane(
        x=Axis(title="false positives (share of non-members)", low=low, high=1, log=True),
        y=Axis(title="true positives (share of members)", low=low, high=1, log=True),
        height=330,
    )
    parts = [*plane.frame(), plane.path([(low, low), (1, 1)], "guess")]
    parts += [plane.path(measure.curve, f"s{hue(number)}") for number, measure in enumerate(drawn)]
    entries = [(key(line(0, 6, 28, 6, f"line s{hue(n)}")), _told(measure)) for n, measure in enumerate(drawn)]
    entries.append((key(line(0, 6, 28, 6, "guess")), "guessing"))
    told = f"True against false positive rates of {len(drawn)} attacks: {'; '.join(map(_told, drawn))}."
    note = "On the dotted line an attacker guesses; above it, members are told. Both axes are logarithmic."
    return chart("Attacks", note, drawing(told, plane.height, parts) + legend(entries))


def _told(measure: Measure) -> str:
    value = "" if measure.estimate is None else f" {figure(measure.estimate.value)}"
    return f"{measure.definition.title}{value}"
