"""The tables that a release is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from workbench.data.dataset import Dataset
from workbench.schema import Codec
from workbench.schema.codec import Bins, Values


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """A release [m, d] beside the records it was fitted to and those it never saw, encoded alike.

    Equal seeds give equal measures. Nobody is in both `training` and `holdout`. `looked_at` says how many rows the release has
    for each one in `synthetic`: 1 where that is all of it.
    """

    training: Dataset
    holdout: Dataset
    synthetic: Values
    seed: int = 0
    looked_at: float = 1.0

    @property
    def codec(self) -> Codec:
        """The codec of all of them."""
        return self.training.codec

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of random numbers of its own for each purpose."""
        return np.random.default_rng([self.seed, crc32(purpose.encode())])

    @cached_property
    def independent(self) -> Values:
        """The naive release [n, d]: every column of the training records shuffled by itself."""
        rng = self.rng("independent columns")
        return np.column_stack([rng.permutation(column) for column in self.training.values.T])

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """Cell numbers of the `training`, `holdout`, `synthetic` and `independent` rows."""
        tables = {"training": self.training.values, "holdout": self.holdout.values}
        tables |= {"synthetic": self.synthetic, "independent": self.independent}
        return {name: self.codec.bin(values) for name, values in tables.items()}
