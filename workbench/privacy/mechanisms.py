"""Differentially private mechanisms: the only room where noise is drawn, and all of it is OpenDP's.

Both mechanisms take integers and sample exactly (no floating-point noise), so the price OpenDP's own privacy map states
holds for what is computed, not for a real-number idealisation of it. OpenDP draws from the system's secure generator:
no seed exists that could be stored or leaked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from opendp import domains, measurements, measures, metrics  # not opendp.prelude, which takes seconds to import
from opendp.mod import Measurement, enable_features

from workbench.errors import InputError

enable_features("contrib")

Counts = npt.NDArray[np.int64]

# OpenDP rounds its privacy maps up. This much more noise than the formula asks keeps the mapped price at or under the
# rho that was charged, to the last bit.
_ROUNDING = 1 + 1e-12


def gaussian_sigma(*, rho: float, sensitivity: int) -> float:
    """The noise scale at which releasing counts of this L2 sensitivity costs at most `rho` (zCDP).

    sigma = sensitivity / sqrt(2 rho): Bun & Steinke 2016, Prop. 1.6; Canonne, Kamath & Steinke 2020, Thm. 14
    (discrete).
    """
    _require_positive(rho=rho, sensitivity=sensitivity)
    return sensitivity / math.sqrt(2 * rho) * _ROUNDING


def gaussian_counts(counts: Counts, *, sigma: float) -> Counts:
    """Counts plus independent discrete Gaussian noise of scale `sigma`; int64, same shape, negative values possible.

    Costs rho = s^2 / (2 sigma^2) (zCDP), where s is the L2 sensitivity of the whole array.
    """
    _require_positive(sigma=sigma)
    if counts.dtype != np.int64:
        raise InputError(f"noise is added to int64 counts, found {counts.dtype}", hint="count rows with numpy.bincount")
    if counts.size == 0:
        return counts.copy()
    space = domains.vector_domain(domains.atom_domain(T="i64")), metrics.l2_distance(T=float)
    noisy = measurements.make_gaussian(*space, scale=sigma)(np.ascontiguousarray(counts).ravel())
    return np.asarray(noisy, dtype=np.int64).reshape(counts.shape)


@lru_cache
def threshold_for(*, sigma: float, delta: float, per_subject: int) -> int:
    """Return a threshold that values of one subject alone reach with probability at most `delta`.

    It is at least twice `per_subject`, and by about 1 % higher than it need be, at most.
    """
    _require_positive(sigma=sigma, delta=delta, per_subject=per_subject)
    low, high = 2 * per_subject - 1, 2 * per_subject
    while _failure(sigma, high, per_subject) > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _failure(sigma, middle, per_subject) <= delta else (middle, high)
    return high


def common_counts(counts: Mapping[str, int], *, sigma: float, threshold: int) -> dict[str, int]:
    """Noisy counts of the values whose noisy count reaches the threshold; which others there are stays unknown.

    A noisy count of exactly the threshold is released. Where a subject has at most k rows, and each counts for one value, this
    is (k / sigma)^2 / 2-zCDP but for a failure of the probability that `threshold_for` bounds (Rogers 2023).
    """
    _require_positive(sigma=sigma)
    names = list(counts)  # OpenDP gets places in this list: a text may hold what its strings can't
    noisy = _threshold(sigma, threshold)({place: int(counts[name]) for place, name in enumerate(names)})
    # in alphabetical order: that of the rows is private
    return dict(sorted((names[place], int(count)) for place, count in noisy.items()))


def _threshold(sigma: float, threshold: int) -> Measurement:
    domain = domains.map_domain(domains.atom_domain(T="i64"), domains.atom_domain(T="i64"))
    metric = metrics.l02inf_distance(metrics.absolute_distance(T="i64"))
    return measurements.make_gaussian_threshold(domain, metric, scale=sigma, threshold=threshold)


def _failure(sigma: float, threshold: int, per_subject: int) -> float:
    """Bound the probability that a value which one subject's k rows alone hold reaches the threshold, which is at least 2 k.

    OpenDP's own map is no such bound: it takes the tail above the threshold, but counts at the threshold are released too
    (docs/adr/0033-what-mechanisms-cost.md). The rows may be spread over values in any way. A value of c rows fails with at
    most t(c) = _tail(sigma, threshold - c). As c (log t)'(c) grows with c up to half the threshold, t(c) / c is largest at
    c = 1 or at c = k, so the sum over all values is at most k times the larger of the two.
    """
    return max(per_subject * _tail(sigma, threshold - 1), _tail(sigma, threshold - per_subject))


def _tail(sigma: float, least: int) -> float:
    """Bound P[X >= least] of the discrete Gaussian from above, for least >= 1; by a factor of about 1 + (sigma / least)^2.

    The weights beyond `least` fall at least as fast as a geometric series, and all weights sum to at least 1 and at least
    sigma sqrt(2 pi) (Canonne, Kamath & Steinke 2020, Fact 18).
    """
    first = math.exp(-(least**2) / (2 * sigma**2))
    return _ROUNDING * first / (-math.expm1(-least / sigma**2) * max(1.0, sigma * math.sqrt(2 * math.pi)))


def selection_epsilon(*, rho: float) -> float:
    """The parameter of the exponential mechanism that costs `rho` (zCDP): sqrt(8 rho), Cesar & Rogers 2021, Lemma 3."""
    _require_positive(rho=rho)
    return math.sqrt(8 * rho)


def choose(scores: Counts, *, epsilon: float, sensitivity: int) -> int:
    """Index of a high score, drawn with probability proportional to exp(epsilon score / (2 sensitivity)).

    Gumbel report-noisy-max, which is the exponential mechanism; costs rho = epsilon^2 / 8 (zCDP), where `sensitivity`
    is the most that one subject changes any single score. Scores are integers so that this bound can hold exactly.
    """
    _require_positive(epsilon=epsilon, sensitivity=sensitivity)
    if scores.dtype != np.int64 or scores.ndim != 1 or scores.size == 0:
        raise InputError(
            f"choosing needs a non-empty int64 vector of scores, found {scores.dtype} of shape {scores.shape}"
        )
    space = domains.vector_domain(domains.atom_domain(T="i64")), metrics.linf_distance(T="i64")
    scale = 2 * sensitivity / epsilon * _ROUNDING
    select = measurements.make_noisy_max(*space, measures.zero_concentrated_divergence(), scale=scale)
    return int(select(np.ascontiguousarray(scores)))


def _require_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise InputError(f"{name} must be positive and finite, found {number}")
