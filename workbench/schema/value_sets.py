"""What a value of one column may be, and which share of each public cell that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.schema.column import Column
from workbench.schema.encode import Mask, Values


@dataclass(frozen=True, kw_only=True)
class Within:
    """What is allowed of one column: `codes` of a coded one, or encoded numbers from `low` to `high` (both inclusive).

    `missing` allows nulls beside these, or alone.
    """

    codes: frozenset[int] | None = None
    low: float | None = None
    high: float | None = None
    missing: bool = False

    def allows(self, values: Values) -> Mask:
        """The mask of encoded values that are allowed."""
        absent = np.isnan(values)
        if self.codes is not None:
            return np.isin(values, list(self.codes)) | (absent & self.missing)
        if self.low is None or self.high is None:
            return absent & self.missing
        return ((values >= self.low) & (values <= self.high)) | (absent & self.missing)

    def weights(self, column: Column) -> Values:
        """The share of each cell that is allowed, the missing cell included: integers by count, continuous by length."""
        gap = [float(self.missing)] if column.missing else []
        return np.append(self._inside(column), gap)

    def _inside(self, column: Column) -> Values:
        shares: Values = np.zeros(column.cells)
        if column.is_coded:
            shares[list(self.codes or ())] = 1.0
        elif self.low is not None and self.high is not None:
            lows, highs = (np.array(ends) for ends in column.cell_bounds)
            whole = column.is_whole
            first, last = (np.ceil(self.low), np.floor(self.high)) if whole else (self.low, self.high)
            overlap = np.minimum(last, highs) - np.maximum(first, lows) + whole
            length = highs - lows + whole
            # a continuous domain of one value has one cell of no length, which is allowed or not
            shares = np.where(length > 0, np.clip(overlap, 0, None) / np.where(length > 0, length, 1), overlap >= 0)
        return shares
