"""Rows as points whose L1 distance says how different they are: another category counts 1, a number its part of the range.

A place in an ordered list of categories is a number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.schema.codec import Codec, Values

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]

_BLOCK = 2**20  # distances that are held at a time: about what a processor's cache takes
_MOST_CELLS = (
    256  # of the categories that are multiplied, together: beyond, this takes more time and memory than comparing
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedVectors:
    """n rows: `categories` [n, c] has a 1 for each of `coded` columns of few categories, `codes` [w, n] are of all others.

    `numbers` [n, k] are in units of range; `sizes` [w] say how many codes there are.
    """

    categories: Singles
    codes: Codes
    numbers: Singles
    coded: int
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def points(self) -> Floats:
        """The rows as points [n, c + k] whose L1 distance is that of `distances`; c is the number of all categories."""
        others = [_ones(codes, size) for codes, size in zip(self.codes, self.sizes, strict=True)]
        halves = [categories / 2 for categories in (self.categories, *others)]
        return np.concatenate([*halves, self.numbers], axis=1).astype(np.float64)


def placed(values: Values, codec: Codec, *, without: Collection[int] = ()) -> MixedVectors:
    """The points of encoded values, the columns at `without` left out; a missing number lies one range below the lowest.

    Ranges and categories are those of the public domain: nothing is learnt from the rows.
    """
    cells, coded, numbers = codec.bin(values), [], []
    categorical = [p for p, is_so in enumerate(codec.categorical) if is_so and p not in without]
    multiplied = _small(categorical, codec.sizes)
    compared = [position for position in categorical if position not in multiplied]
    for position, column in enumerate(codec.schema.encoded.values()):
        if position in multiplied:
            coded.append(_ones(cells[:, position], codec.sizes[position]))
        elif position not in without and not column.is_categorical:
            low, high = (0.0, column.cells - 1.0) if column.is_coded else (column.low, column.high)
            number = (values[:, position] - low) / max(high - low, 1e-12)
            numbers.append(np.nan_to_num(number, nan=-1.0).astype(np.float32))
    nothing = np.empty((len(values), 0), dtype=np.float32)
    return MixedVectors(
        categories=np.concatenate([nothing, *coded], axis=1),
        codes=cells.T[compared].astype(np.int32),
        numbers=np.stack(numbers, axis=1) if numbers else nothing,
        coded=len(coded),
        sizes=tuple(codec.sizes[position] for position in compared),
    )


def _small(positions: Collection[int], sizes: Sequence[int]) -> set[int]:
    """Which columns are multiplied: the smallest, as many as have 256 categories together."""
    ordered = sorted(positions, key=lambda position: sizes[position])
    cells = np.cumsum([sizes[position] for position in ordered])
    return set(ordered[: int(np.searchsorted(cells, _MOST_CELLS, side="right"))])


def _ones(cells: npt.NDArray[np.integer], size: int) -> Singles:
    """A 1 in the place of each row's category [n, size]."""
    ones: Singles = np.eye(size, dtype=np.float32)[cells]
    return ones


def distances(queries: MixedVectors, rows: MixedVectors) -> Iterator[tuple[slice, Singles]]:
    """All distances, exact but for rounding: blocks of queries with their distances [b, m] to the rows.

    Common categories are counted by one product of matrices, which is several times faster than comparing columns; but for
    columns of many categories, which would make it large.
    """
    step = max(1, _BLOCK // max(1, len(rows)))
    columns = np.ascontiguousarray(rows.numbers.T)
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        apart = queries.coded - queries.categories[block] @ rows.categories.T
        for code, codes in zip(queries.codes[:, block], rows.codes, strict=True):
            apart += code[:, None] != codes
        for own, others in zip(queries.numbers[block].T, columns, strict=True):
            apart += np.abs(own[:, None] - others)
        yield block, apart
