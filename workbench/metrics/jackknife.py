"""Intervals by leaving out one group of subjects after the other: cheap where a figure is made of sums over rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import DOUBT, Estimate
from workbench.metrics.measure import NotComputableError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

GROUPS = 20


def groups_of(subjects: npt.NDArray[np.uint64], *, rng: np.random.Generator) -> Codes:
    """The group [n] that each row is left out with: all rows of a subject in one, subjects spread at random and evenly."""
    _, whose = np.unique(subjects, return_inverse=True)
    n = int(whose.max()) + 1 if len(whose) else 0
    return np.asarray(rng.permutation(np.arange(n) % GROUPS)[whose], dtype=np.int64)


def without_each(sums: Floats) -> Floats:
    """Of sums over the rows of each group [GROUPS, ...]: the sums over all rows, then over all but each group's."""
    total = sums.sum(axis=0, keepdims=True)
    return np.concatenate([total, total - sums])


def jackknife(replicates: Floats, *, n: int, within: tuple[float, float]) -> Estimate:
    """A figure of all rows with its 95 % interval, from [1 + GROUPS] values: of all rows, then of all but each group's.

    value ± t · √((G - 1)/G · Σ(replicate - their mean)²), with Student's t of G - 1 degrees and its ends inside `within`
    (Kott 2001, The Delete-a-Group Jackknife). A G-th of every table is left out at once, so that the interval is about
    all of them. Leaving out many subjects at a time, not one, is right for figures that have kinks too (Shao & Wu 1989), and
    the mean that is taken off is theirs: a bias that all replicates share does not move the interval, as it would move the
    percentiles of a bootstrap. It covers the mean of the figure over tables of these sizes, a
    bias and all; of distances of marginals with few rows in a cell it is wider than it need be. Raises NotComputableError where
    the figure has no value without some group.
    """
    if not np.isfinite(replicates).all():
        raise NotComputableError("not computable because the figure has no value without some of the subjects")
    value, left = float(replicates[0]), replicates[1:]
    error = np.sqrt((GROUPS - 1) / GROUPS * ((left - left.mean()) ** 2).sum())
    from scipy.stats import t  # a second of start-up, which commands without an interval need not wait for

    reach = float(t.ppf(1 - DOUBT, GROUPS - 1) * error)
    low, high = within
    return Estimate(
        value=value, low=max(value - reach, min(low, value)), high=min(value + reach, max(high, value)), n=n
    )
