"""Where a figure lies between what would be naive and what would be best, as a small drawing in a table."""

from __future__ import annotations

from markupsafe import Markup

from workbench.metrics.measure import Measure
from workbench.reports.charts.axis import around
from workbench.reports.charts.drawing import line
from workbench.reports.formatting import figure, finite_ends
from workbench.reports.page import escaped

_WIDTH, _HEIGHT = 120.0, 18.0


def strip(measure: Measure) -> str:
    """The value and its interval, with the baseline (hollow) and the ceiling (filled); empty where it would stand alone."""
    estimate = measure.estimate
    beside = {"baseline": measure.baseline, "ceiling": measure.ceiling}
    known = {name: found.value for name, found in beside.items() if found is not None}
    if estimate is None or not known:
        return ""
    axis = around("", [estimate.value, *finite_ends(estimate), *known.values()])
    middle = _HEIGHT / 2
    parts = [line(0, middle, _WIDTH, middle, "grid")]
    for name, value in known.items():
        x = axis.at(value) * _WIDTH
        parts.append(f'<path d="M{x:.1f} {middle - 1:.1f}l-4 -7h8z" class="{name}"/>')
    low, high = (axis.at(end) * _WIDTH for end in finite_ends(estimate) or (estimate.value, estimate.value))
    x = axis.at(estimate.value) * _WIDTH
    parts.append(line(low, middle, high, middle, "whisker s1"))
    parts.append(f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="3.5" class="f1"/>')
    told = ", ".join([f"value {figure(estimate.value)}", *(f"{name} {figure(v)}" for name, v in known.items())])
    return Markup(
        f'<svg class="strip" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escaped(told)}">'
        f"{''.join(parts)}</svg>"
    )
