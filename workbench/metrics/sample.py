"""The rows of one table, with the group that each is left out with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.metrics.jackknife import GROUPS, groups_of, without_each
from workbench.metrics.tables import Tables
from workbench.schema.codec import Bins, Values

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

# Marginals of more cells are counted by the cells that occur.
_MOST_CELLS = 2**15


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Values [n, d], their cells [n, d], and the group [n] of each row."""

    values: Values
    bins: Bins
    groups: Codes

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, which: npt.NDArray[np.intp]) -> Sample:
        """The rows at these positions."""
        return Sample(values=self.values[which], bins=self.bins[which], groups=self.groups[which])

    def sums(self, cells: Codes, size: int, weights: Floats | None = None) -> Floats:
        """The number or weight of rows in each of `size` cells [1 + GROUPS, size]: of all rows, then without each group."""
        counts = np.bincount(self.groups * size + cells, weights=weights, minlength=GROUPS * size)
        return without_each(counts.reshape(GROUPS, size).astype(np.float64))


def sample_of(tables: Tables, name: str) -> Sample:
    """The `training`, `holdout`, `synthetic` or `independent` rows; groups are of subjects where there are any."""
    values = {"training": tables.training.values, "holdout": tables.holdout.values, "synthetic": tables.synthetic}
    points = {"training": tables.training.points, "holdout": tables.holdout.points}
    rows = tables.independent if name == "independent" else values[name]
    subjects = points.get(name, np.arange(len(rows), dtype=np.uint64))
    return Sample(
        values=rows, bins=tables.bins[name], groups=groups_of(subjects, rng=tables.rng(f"jackknife groups, {name}"))
    )


def joint_cells(samples: Sequence[Sample], columns: Sequence[int], sizes: Sequence[int]) -> tuple[list[Codes], int]:
    """The cell of each sample's rows in the marginal of these columns, and how many cells there are.

    Where the marginal is large, cells that no row of any sample is in are left out.
    """
    shape = [sizes[column] for column in columns]
    found = [np.ravel_multi_index(tuple(s.bins[:, c] for c in columns), shape) for s in samples]
    if math.prod(shape) <= _MOST_CELLS:
        return found, math.prod(shape)
    occurring, places = np.unique(np.concatenate(found), return_inverse=True)
    return np.split(places, np.cumsum([len(s) for s in samples])[:-1]), len(occurring)
