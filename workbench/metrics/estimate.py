"""A number with its doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
REPLICATES = 200
DOUBT = 0.025  # beyond either end of an interval


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, the ends of its 95 % interval, and the number of rows it rests on."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float]:
        """The estimate as JSON."""
        return asdict(self)


def bootstrap(
    statistic: Callable[[Floats], float],
    subjects: npt.NDArray[np.uint64],
    *,
    replicates: int = REPLICATES,
    doubt: float = DOUBT,
) -> Estimate:
    """A statistic of row weights with its percentile interval over subjects drawn with replacement (Efron 1979); seeded.

    `subjects` says whose each row is; `doubt` is the share of replicates beyond either end: 95 % where it is not given.
    """
    _, index = np.unique(subjects, return_inverse=True)
    drawn = index.max() + 1
    rng = np.random.default_rng(0)
    drawings = []
    for _ in range(replicates):
        counts = np.bincount(rng.integers(0, drawn, drawn), minlength=drawn)
        weights = counts[index].astype(float)
        drawings.append(statistic(weights) if weights.any() else float("nan"))
    low, high = np.nanpercentile(drawings, [100 * doubt, 100 * (1 - doubt)])
    return Estimate(value=statistic(np.ones(len(subjects))), low=float(low), high=float(high), n=len(subjects))
