"""Rows as points whose L1 distance says how different they are: another category counts 1, a number its part of the range.

A place in an ordered list of categories is a number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.schema.codec import Codec, Values

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_BLOCK = 2**20  # distances that are held at a time: about what a processor's cache takes


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """n rows: `categories` [n, c] has a 1 for each of the row's `coded` categories, `numbers` [n, k] are in units of range."""

    categories: Singles
    numbers: Singles
    coded: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def points(self) -> Floats:
        """The rows as points [n, c + k] whose L1 distance is that of `distances`."""
        return np.concatenate([self.categories / 2, self.numbers], axis=1).astype(np.float64)


def placed(values: Values, codec: Codec, *, without: Collection[int] = ()) -> Placed:
    """The points of encoded values, the columns at `without` left out; a missing number lies one range below the lowest.

    Ranges and categories are those of the public domain: nothing is learnt from the rows.
    """
    cells, coded, numbers = codec.bin(values), [], []
    for position, column in enumerate(codec.schema.encoded.values()):
        if position in without:
            continue
        if column.is_categorical:
            coded.append(np.eye(codec.sizes[position], dtype=np.float32)[cells[:, position]])
        else:
            low, high = (0.0, column.cells - 1.0) if column.is_coded else (column.low, column.high)
            number = (values[:, position] - low) / max(high - low, 1e-12)
            numbers.append(np.nan_to_num(number, nan=-1.0).astype(np.float32))
    nothing = np.empty((len(values), 0), dtype=np.float32)
    return Placed(
        categories=np.concatenate([nothing, *coded], axis=1),
        numbers=np.stack(numbers, axis=1) if numbers else nothing,
        coded=len(coded),
    )


def distances(queries: Placed, rows: Placed) -> Iterator[tuple[slice, Singles]]:
    """All distances, exact but for rounding: blocks of queries with their distances [b, m] to the rows.

    Common categories are counted by one product of matrices, which is several times faster than comparing columns.
    """
    step = max(1, _BLOCK // max(1, len(rows)))
    columns = np.ascontiguousarray(rows.numbers.T)
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        apart = queries.coded - queries.categories[block] @ rows.categories.T
        for own, others in zip(queries.numbers[block].T, columns, strict=True):
            apart += np.abs(own[:, None] - others)
        yield block, apart
