"""What a thing cost: known without doubt, or not recorded."""

from __future__ import annotations

import math

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Definition, Measure


def cost(name: str, title: str, value: float | None, *, source: str, why: str = "it was not recorded") -> Measure:
    """A cost as a measure; `why` it is not there where the value is None. Range [0, ∞), lower is better."""
    definition = Definition(
        name=f"cost/{name}", title=title, formula=title, range=(0.0, math.inf), better="lower", source=source
    )
    if value is None:
        return Measure(definition=definition, reason=why)
    return Measure(definition=definition, estimate=Estimate(value=value, low=value, high=value, n=1))
