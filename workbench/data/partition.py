"""Where a subject belongs: shards and slices as equal intervals of keyed-hash lines (Bourtoule et al. 2021, §IV)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError

LINE = 2**64  # points are integers in [0, LINE): the hash line [0, 1) without rounding


def _edges(parts: int) -> npt.NDArray[np.uint64]:
    """Left edges of parts 1..parts-1: the least integers >= i * LINE / parts."""
    return np.array([-(-i * LINE // parts) for i in range(1, parts)], dtype=np.uint64)


@dataclass(frozen=True, kw_only=True)
class Partition:
    """S shards of R slices over the hash lines.

    Guarantees:
      - a subject's place depends on its own points alone: nobody moves when others leave or join.
      - all rows of a subject share one shard and one slice.
    """

    n_shards: int
    n_slices: int

    def __post_init__(self) -> None:
        if not (1 <= self.n_shards <= 65536 and 1 <= self.n_slices <= 4096):
            raise InputError(
                f"cannot cut {self.n_shards} shards of {self.n_slices} slices",
                hint="shards from 1 to 65536, slices from 1 to 4096",
            )

    @cached_property
    def _shard_edges(self) -> npt.NDArray[np.uint64]:
        return _edges(self.n_shards)

    @cached_property
    def _slice_edges(self) -> npt.NDArray[np.uint64]:
        return _edges(self.n_slices)

    def shard_of(self, points: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Shard numbers, from 0, of shard points."""
        return np.searchsorted(self._shard_edges, points, side="right")

    def slice_of(self, slice_points: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Slice numbers, from 0, of slice points."""
        return np.searchsorted(self._slice_edges, slice_points, side="right")

    def interval(self, shard: int) -> tuple[int, int]:
        """The half-open interval [low, high) of shard points that shard `shard` covers."""
        edges = [0, *map(int, self._shard_edges), LINE]
        return edges[shard], edges[shard + 1]
