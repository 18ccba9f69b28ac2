"""How close a synthetic table's marginals are to the real ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bins = npt.NDArray[np.int64]


def mean_tvd(real: Bins, synthetic: Bins, sizes: Sequence[int], *, way: int) -> float:
    """Mean total variation distance of all `way`-column marginals: ½ Σ|p - q|, in [0, 1], lower is better.

    `real` and `synthetic` are cell numbers [n, d] and [m, d] of the same public bins with `sizes` cells per column.
    """
    columns = [(np.ascontiguousarray(table.T), len(table)) for table in (real, synthetic)]
    distances = []
    for chosen in itertools.combinations(range(len(sizes)), way):
        p, q = (_shares(table[list(chosen)], [sizes[c] for c in chosen], n) for table, n in columns)
        distances.append(float(np.abs(p - q).sum() / 2))
    return float(np.mean(distances))


def _shares(columns: Bins, sizes: Sequence[int], n: int) -> npt.NDArray[np.float64]:
    """The share of rows in each cell of the marginal of these columns [way, n]."""
    cell = np.zeros(n, dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        cell *= size
        cell += column
    return np.bincount(cell, minlength=math.prod(sizes)) / n
