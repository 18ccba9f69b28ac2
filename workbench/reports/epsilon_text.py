"""What epsilon says to a person."""

from __future__ import annotations

import math


def odds(epsilon: float, delta: float | None) -> str:
    """The most that (epsilon, delta) differential privacy lets anybody's odds change, as the end of a sentence."""
    factor = math.exp(epsilon) if epsilon < 700 else math.inf
    times = f"{factor:,.2f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e6 else "over a million"
    but = f", except with a probability of at most 1 in {1 / delta:,.0f}" if delta and delta > 0 else ""
    weak = " This is weak protection." if epsilon > 10 else ""
    return (
        "whatever anybody concludes from it, the odds that the person was in the data move by a factor of at most "
        f"{times}{but}.{weak}"
    )
