"""Privacy auditing with one training run (Steinke, Nasr & Jagielski 2023): how much a fit tells of planted subjects.

Artificial subjects, the canaries, are each put among the rows by a toss of a fair coin. Whoever sees the fitted model and
guesses many coins right has shown that its epsilon is not small. The bound is one-sided: it can refute a claim, not prove it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

from workbench.metrics.estimate import Estimate

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Coins = npt.NDArray[np.bool_]

# Of all canaries, the share whose coins are guessed: those of the highest and the lowest scores. Fixed beforehand.
GUESSED = 0.5
_DOUBT = 0.025  # either end of the interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """A marginal as a model knows it, beside what it would be without canaries; flat.

    `cells` are the canaries' places in it, `sigma` the noise of its values.
    """

    values: Floats
    without: Floats
    cells: Codes
    sigma: float


def rare_rows(sizes: Sequence[int], n: int, *, rng: np.random.Generator) -> Codes:
    """`n` different rows of codes, uniform over the public domain: nearly all are combinations that nobody has.

    Fewer where the domain has fewer.
    """
    cells = math.prod(sizes)
    if cells <= 4 * n:
        places = rng.permutation(cells)[:n]
        return np.stack(np.unravel_index(places, tuple(sizes)), axis=1).astype(np.int64)
    rows: dict[tuple[int, ...], None] = {}
    while len(rows) < n:
        rows |= dict.fromkeys(map(tuple, rng.integers(0, sizes, size=(n, len(sizes))).tolist()))
    return np.array(list(rows)[:n], dtype=np.int64)


def count_scores(marginals: Sequence[Counted], *, rows_each: int) -> Floats:
    """How far each canary's coin is likely to be heads, all noisy counts taken together; higher: more likely in.

    The mean of the coins given the counts, where coins are taken for normal with the mean and the variance of a fair one:
    canaries that share a cell are told apart by the cells they do not share.
    """
    n = len(marginals[0].cells)
    precision: Floats = 4.0 * np.eye(n)
    evidence: Floats = np.zeros(n)
    for m in marginals:
        sharing = np.bincount(m.cells, minlength=m.values.size).astype(np.float64)
        excess = np.asarray(m.values - m.without - rows_each * sharing / 2, dtype=np.float64)
        together: Floats = np.equal.outer(m.cells, m.cells).astype(np.float64)
        precision += together * (rows_each / m.sigma) ** 2
        evidence += excess[m.cells] * (rows_each / m.sigma**2)
    scores: Floats = np.linalg.solve(precision, evidence)
    return scores


def distance_scores(canaries: Floats, synthetic: Floats) -> Floats:
    """Minus the distance of each canary to the nearest synthetic row; higher: more likely in."""
    from sklearn.neighbors import NearestNeighbors

    nearest, _ = NearestNeighbors(n_neighbors=1, metric="manhattan").fit(synthetic).kneighbors(canaries)
    scores: Floats = -nearest[:, 0]
    return scores


def epsilon_bound(scores: Floats, coins: Coins, *, delta: float) -> Estimate:
    """What the guesses say about epsilon: `low` is a lower bound of it at 97.5 % confidence, `n` the number of guesses.

    `value` is the epsilon at which this many right guesses are to be expected, if guessing is as good as can be, and `high` the
    most that fits them (Jeffreys). Neither is an upper bound of the fit's epsilon: a better attack may exist.
    """
    order = np.argsort(scores, kind="stable")
    each = max(1, round(GUESSED * len(scores) / 2))
    right = int(coins[order[-each:]].sum() + (~coins[order[:each]]).sum())
    n, share = 2 * each, (right + 0.5) / (2 * each + 1)
    most = float(beta.ppf(1 - _DOUBT, right + 0.5, n - right + 0.5))
    return Estimate(
        value=max(0.0, math.log(share / (1 - share))),
        low=_lower_bound(right, n, len(scores), delta),
        high=max(0.0, math.log(most / (1 - most))),
        n=n,
    )


def _lower_bound(right: int, guesses: int, canaries: int, delta: float) -> float:
    """The largest epsilon that so many right guesses refute, to 1e-6; 0 where they refute none."""
    low, high = 0.0, 1.0
    while _chance(right, guesses, canaries, high, delta) <= _DOUBT:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _chance(right, guesses, canaries, middle, delta) <= _DOUBT:
            low = middle
        else:
            high = middle
    return low


def _chance(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """The most, over (epsilon, delta)-DP fits and guessers, of the chance of so many right guesses (Theorem 5.2)."""
    fair = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, fair))
    fewer = np.cumsum(binom.pmf(right - np.arange(1, right + 1), guesses, fair))
    excess = float((fewer / np.arange(1, right + 1)).max()) if right else 0.0
    return min(1.0, tail + 2 * canaries * delta * excess)
