"""Rows as vectors for learners that add and multiply, by the public schema alone: nothing is learnt from a row.

A coded column has one place per public category. A number has one place, on which each of its public bins has equal room
between -1 and 1; where the bins are of equal width that is plain scaling by the bounds. A column that may be missing has a
place more, which says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.schema.column import Column
from workbench.sisa.shard import Floats

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """How the features' columns become vectors.

    Guarantees:
      - a row's vector is a function of the row and the public columns alone; all of it lies between -1 and 1
      - codes outside the domain, and missing values where none are declared, take no place: zeros
    """

    columns: tuple[Column, ...]

    @cached_property
    def places(self) -> tuple[int, ...]:
        """How many places each column takes."""
        return tuple((column.cells if column.is_coded else 1) + column.missing for column in self.columns)

    @property
    def width(self) -> int:
        """How many places a row takes."""
        return sum(self.places)

    def matrix(self, features: Floats) -> Vectors:
        """Vectors float32 [n, width] of encoded features [n, d]."""
        matrix = np.zeros((len(features), self.width), dtype=np.float32)
        self.write(features, matrix)
        return matrix

    def write(self, features: Floats, matrix: Vectors) -> None:
        """Writes the vectors into the first columns of zeros [n, width or more]."""
        start = 0
        for position, (column, places) in enumerate(zip(self.columns, self.places, strict=True)):
            values = np.ascontiguousarray(features[:, position])
            absent = np.isnan(values)
            if column.is_coded:
                known = np.flatnonzero((values >= 0) & (values < column.cells))
                matrix[known, start + values[known].astype(np.int64)] = 1
            else:
                matrix[:, start] = np.where(absent, 0, _scaled(column, values))
            start += places
            if column.missing:
                matrix[absent, start - 1] = 1


def _scaled(column: Column, values: Floats) -> Floats:
    """Values between -1 and 1: every public bin as wide as the next, values in a bin in proportion."""
    edges = np.array([column.low, *column.cuts, column.high])
    edges, places = np.unique(edges, return_index=True)  # a cut may lie on the upper bound
    if len(edges) == 1:
        return np.zeros(len(values))
    return np.asarray(np.interp(values, edges, places) / places[-1] * 2 - 1)
