"""The public shape of a table of codes: column names and how many cells each has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError

Clique = tuple[str, ...]

# Rows that are counted at a time: what is computed of them stays in the processor's cache.
_BLOCK_ROWS = 2**15


@dataclass(frozen=True)
class Domain:
    """Names and sizes of the columns of a table of codes; column i holds integers in [0, sizes[i]).

    Raises InputError where names repeat or are empty, or a size is not a positive integer.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.sizes):
            raise InputError(
                f"a domain needs one size per column, found {len(self.names)} names, {len(self.sizes)} sizes"
            )
        if len(set(self.names)) != len(self.names):
            raise InputError(f"column names of a domain repeat: {list(self.names)}")
        if any(not isinstance(size, int) or size < 1 for size in self.sizes):
            raise InputError(f"sizes of a domain must be positive integers, found {list(self.sizes)}")

    @cached_property
    def position(self) -> dict[str, int]:
        """Column number of each name."""
        return {name: i for i, name in enumerate(self.names)}

    def shape(self, clique: Sequence[str]) -> tuple[int, ...]:
        """Cells along each axis of the marginal of `clique`; raises InputError for an unknown or repeated column."""
        unknown = [name for name in clique if name not in self.position]
        if unknown or len(set(clique)) != len(clique):
            raise InputError(f"a clique lists distinct columns of {list(self.names)}, found {list(clique)}")
        return tuple(self.sizes[self.position[name]] for name in clique)

    def cells(self, clique: Sequence[str]) -> int:
        """Number of cells of the marginal of `clique`."""
        return math.prod(self.shape(clique))

    def check(self, records: npt.NDArray[np.int64]) -> None:
        """Raises InputError unless `records` is an int64 table [n, d] of codes of this domain."""
        if records.dtype != np.int64 or records.ndim != 2 or records.shape[1] != len(self.names):
            raise InputError(
                f"records must be int64 codes [n, {len(self.names)}], found {records.dtype} of shape {records.shape}"
            )
        outside = [
            name
            for name, size, codes in zip(self.names, self.sizes, records.T, strict=True)
            if len(codes) and (codes.min() < 0 or codes.max() >= size)
        ]
        if outside:
            raise InputError(
                f"codes lie outside the domain in columns {outside}", hint="encode with the schema's codec"
            )

    def count(self, records: npt.NDArray[np.int64], clique: Sequence[str]) -> npt.NDArray[np.int64]:
        """How many records fall in each cell of the marginal of `clique`; int64, shape `shape(clique)`."""
        return next(self.counts(records, [clique]))

    def counts(
        self, records: npt.NDArray[np.int64], cliques: Iterable[Sequence[str]]
    ) -> Iterator[npt.NDArray[np.int64]]:
        """`count` of each clique; neighbours that differ in their last column only share most of the work."""
        for prefix, group in groupby(map(tuple, cliques), key=lambda clique: clique[:-1]):
            yield from self._counts(records, prefix, list(group))

    def _counts(
        self, records: npt.NDArray[np.int64], prefix: Clique, cliques: list[Clique]
    ) -> list[npt.NDArray[np.int64]]:
        """`count` of cliques that share all columns but the last, block by block of what the processor's cache holds."""
        shapes = [self.shape(clique) for clique in cliques]
        counts = [np.zeros(math.prod(shape), dtype=np.int64) for shape in shapes]
        rows = max(_BLOCK_ROWS, *(len(count) for count in counts))  # each block costs a pass over the table too
        for start in range(0, len(records), rows):
            block = records[start : start + rows]
            before = self._cells(block, prefix)
            for clique, shape, count in zip(cliques, shapes, counts, strict=True):
                cell = before * shape[-1] + block[:, self.position[clique[-1]]] if clique else before
                count += np.bincount(cell, minlength=len(count))
        return [count.reshape(shape) for count, shape in zip(counts, shapes, strict=True)]

    def _cells(self, records: npt.NDArray[np.int64], clique: Sequence[str]) -> npt.NDArray[np.int64]:
        """The cell of the marginal of `clique` that each record is in."""
        cell = np.zeros(len(records), dtype=np.int64)
        for name in clique:
            cell *= self.sizes[self.position[name]]
            cell += records[:, self.position[name]]
        return cell
