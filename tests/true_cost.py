"""What a person has truly paid, for tests of the ledger: textbook formulas, and no code of the workbench.

Sources: Mironov 2017 (Gaussian and Laplace, Table II), Bun & Steinke 2016 (zCDP, and failures), Canonne, Kamath & Steinke 2020,
Prop. 12 (from Rényi divergences to epsilon).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ORDERS = 1 + np.geomspace(0.02, 4000, 250)
TOLERANCE = 2e-3  # neighbouring orders are 5 % apart, which is far less in epsilon
Floats = npt.NDArray[np.float64]


def divergence(event: Mapping[str, Any]) -> tuple[Floats, float]:
    """The Rényi divergence of an event, as the ledger writes it, at each order; and the most probable a failure is."""
    match event["kind"]:
        case "zcdp":
            return event["rho"] * ORDERS, 0.0
        case "gaussian":
            return ORDERS / (2 * event["noise_multiplier"] ** 2), 0.0
        case "laplace":
            b = event["noise_multiplier"]
            lower = np.log(ORDERS / (2 * ORDERS - 1)) + (ORDERS - 1) / b
            upper = np.log((ORDERS - 1) / (2 * ORDERS - 1)) - ORDERS / b
            return np.logaddexp(lower, upper) / (ORDERS - 1), 0.0
        case "approximate":
            inner, failure = divergence(event["event"])
            return inner, failure + event["delta"]
        case "repeat":
            inner, failure = divergence(event["event"])
            return event["count"] * inner, event["count"] * failure
        case "compose":
            return bill(event["events"])
    raise AssertionError(event)


def bill(events: Sequence[Mapping[str, Any]]) -> tuple[Floats, float]:
    """The same of all that a person paid."""
    parts = [divergence(event) for event in events]
    return sum((r for r, _ in parts), np.zeros(len(ORDERS))), sum(failure for _, failure in parts)


def epsilon(paid: Floats, failure: float, delta: float) -> float:
    """What divergences come to at `delta`, at the best order; of the last axis, and of the worst of all others."""
    left = delta - failure
    if left <= 0:
        return float("inf")
    return max(0.0, float(np.min(paid + _CONVERSION - np.log(left) / (ORDERS - 1), axis=-1).max()))


_CONVERSION = np.log1p(-1 / ORDERS) - np.log(ORDERS) / (ORDERS - 1)
