"""Public thresholds: features as small codes, cut where the schema's domain says and nowhere else.

Trees that split between codes need no bins found in the rows: nothing of later slices or erased rows can be in them, and a
shard is never binned again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.schema.column import Column
from workbench.sisa.shard import Floats

Codes = npt.NDArray[np.float32]

# Codes of a column of numbers, at most, where its declared bins are not more: what one byte holds beside "missing".
MOST_CODES = 254


@dataclass(frozen=True)
class Thresholds:
    """How the features' columns become codes 0, 1, ...; NaN stays NaN."""

    columns: tuple[Column, ...]

    @cached_property
    def edges(self) -> tuple[Floats | None, ...]:
        """Per column the least values of codes 1, 2, ...; None where the encoded values are codes already."""
        return tuple(None if column.is_coded else _edges(column) for column in self.columns)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column has, without NaN."""
        pairs = zip(self.columns, self.edges, strict=True)
        return tuple(column.cells if edges is None else len(edges) + 1 for column, edges in pairs)

    def codes(self, features: Floats) -> Codes:
        """Codes float32 [n, d] of encoded features [n, d]."""
        codes = np.empty(features.shape, dtype=np.float32)
        for place, edges in enumerate(self.edges):
            values = np.ascontiguousarray(features[:, place])
            known = values if edges is None else np.searchsorted(edges, values, side="right")
            codes[:, place] = np.where(np.isnan(values), np.nan, known)
        return codes


def _edges(column: Column) -> Floats:
    """Every whole number where they are few; else the declared cuts, and as many equal parts of each bin as there is room."""
    whole = column.is_whole
    if whole and column.high - column.low < MOST_CODES:
        return np.arange(column.low + 1, column.high + 1)
    lows, highs = (column.low, *column.cuts), (*column.cuts, column.high)
    parts = max(1, MOST_CODES // len(lows))
    inner = np.concatenate(
        [np.linspace(low, high, parts, endpoint=False) for low, high in zip(lows, highs, strict=True)]
    )
    return np.unique(np.ceil(inner) if whole else inner)[1:]
