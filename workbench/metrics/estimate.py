"""A number with its doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
REPLICATES = 200
DOUBT = 0.025  # beyond either end of an interval
_MOST_WEIGHTS = 2**20  # at a time


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
    each = lambda weights: np.array([statistic(row) for row in weights])  # noqa: E731
    return bootstrap_together(each, subjects, replicates=replicates, doubt=doubt)


def bootstrap_together(
    statistics: Callable[[Floats], Floats],
    subjects: npt.NDArray[np.uint64],
    *,
    replicates: int = REPLICATES,
    doubt: float = DOUBT,
) -> Estimate:
    """Bootstrap a statistic [k] of the row weights of k replicates at a time [k, rows]."""
    _, index = np.unique(subjects, return_inverse=True)
    drawn = index.max() + 1
    rng = np.random.default_rng(0)
    together = max(1, _MOST_WEIGHTS // len(subjects))
    drawings = []
    for start in range(0, replicates, together):
        draws = (rng.integers(0, drawn, drawn) for _ in range(start, min(start + together, replicates)))
        drawings.append(
            statistics(np.array([np.bincount(draw, minlength=drawn)[index] for draw in draws], dtype=float))
        )
    low, high = np.nanpercentile(np.concatenate(drawings), [100 * doubt, 100 * (1 - doubt)])
    (value,) = statistics(np.ones((1, len(subjects))))
    return Estimate(value=float(value), low=float(low), high=float(high), n=len(subjects))
