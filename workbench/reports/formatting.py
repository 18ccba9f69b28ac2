"""How numbers, and what stands in their place, are written for people."""

from __future__ import annotations

import math

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Measure


def figure(value: float) -> str:
    """Three decimals below 10, fewer above, and a power of ten where those would show nothing."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "unlimited"
    size = abs(value)
    if 0 < size < 0.0005 or size >= 1e9:
        return f"{value:.1e}"
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value + 0.0:,.{decimals}f}"


def interval(estimate: Estimate) -> str:
    """The ends of the interval; nothing where it has none."""
    return f"{figure(estimate.low)} to {figure(estimate.high)}" if math.isfinite(estimate.low + estimate.high) else ""


def percent(share: float) -> str:
    """A share in percent, of one piece."""
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"


def absence(measure: Measure) -> str:
    """What stands where a measure has no number."""
    word = "failed" if measure.failed else "not computable"
    return measure.reason if measure.reason.startswith(word) else f"{word}: {measure.reason}"


def written(fact: bool | int | float | str) -> str:
    """A fact: yes or no, a number, or its text."""
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, float):
        return f"{fact:g}"
    return f"{fact:,}" if isinstance(fact, int) else fact


def finite_ends(estimate: Estimate) -> tuple[float, ...]:
    """Both ends of the interval, or none where one is not known."""
    ends = (estimate.low, estimate.high)
    return ends if all(map(math.isfinite, ends)) else ()
