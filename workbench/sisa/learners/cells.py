"""Rows as cells of the public domain, one per column: what is left to learn are counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from workbench.schema.column import Column
from workbench.sisa.shard import Floats

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """The cells of all columns side by side: a column's categories or bins, and one more for what is missing.

    Guarantees:
      - a row's cells are a function of the row and the public columns alone, one per column
      - a code outside the domain counts as missing
    """

    columns: tuple[Column, ...]

    @cached_property
    def sizes(self) -> Places:
        """Number of cells of each column."""
        return np.array([column.cells + 1 for column in self.columns], dtype=np.int64)

    @cached_property
    def starts(self) -> Places:
        """The place of each column's first cell."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def width(self) -> int:
        """Number of cells of all columns."""
        return int(self.starts[-1] + self.sizes[-1])

    @cached_property
    def _cuts(self) -> tuple[tuple[int, Floats], ...]:
        return tuple((place, np.array(c.cuts)) for place, c in enumerate(self.columns) if not c.is_coded)

    def places(self, features: Floats) -> Places:
        """Places int64 [n, d] of the cells of encoded features [n, d]."""
        codes = features.copy()
        for place, cuts in self._cuts:
            codes[:, place] = cuts.searchsorted(features[:, place], side="right")
        last = self.sizes - 1
        inside = (codes >= 0) & (codes < last) & (features == features)  # NaN equals nothing
        return np.where(inside, codes, last).astype(np.int64) + self.starts


@lru_cache(maxsize=16)
def cells_of(columns: tuple[Column, ...]) -> Cells:
    """The cells of columns; those of the last few tasks are at hand, because working them out takes longer than counting."""
    return Cells(columns)
