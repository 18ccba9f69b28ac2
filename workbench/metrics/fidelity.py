"""How close a synthetic table's marginals are to the real ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bins = npt.NDArray[np.int64]


def mean_tvd(real: Bins, synthetic: Bins, sizes: Sequence[int], *, way: int) -> float:
    """Mean total variation distance of all `way`-column marginals: ½ Σ|p - q|, in [0, 1], lower is better.

    `real` and `synthetic` are cell numbers [n, d] and [m, d] of the same public bins with `sizes` cells per column.
    """
    distances = []
    for columns in itertools.combinations(range(len(sizes)), way):
        shape = tuple(sizes[c] for c in columns)
        p = np.bincount(np.ravel_multi_index(real[:, columns].T, shape), minlength=int(np.prod(shape))) / len(real)
        q = np.bincount(np.ravel_multi_index(synthetic[:, columns].T, shape), minlength=int(np.prod(shape)))
        distances.append(float(np.abs(p - q / len(synthetic)).sum() / 2))
    return float(np.mean(distances))
