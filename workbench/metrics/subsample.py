"""A part of a large table that is like the whole: subjects at random, as many of each stratum as its share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.tables import Tables
from workbench.schema import Codec
from workbench.schema.codec import Values

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subsample(Generic[T]):
    """A part of a table; `factor` says how many times as many rows the whole has: 1 where it is the whole."""

    part: T
    factor: float


def subsample(dataset: Dataset, rows: int, *, rng: np.random.Generator) -> Subsample[Dataset]:
    """About `rows` records: all those of subjects drawn at random, stratified by the target's public cells if there is one.

    A subject is in the stratum of its first record. Every stratum keeps its share of subjects to the nearest one, and at least
    one. The whole where it has no more than `rows`.
    """
    if len(dataset) <= rows:
        return Subsample(part=dataset, factor=1.0)
    kept = _kept(_strata(dataset.codec, dataset.values), dataset.points, rows / len(dataset), rng)
    return Subsample(part=dataset.rows(kept), factor=len(dataset) / int(kept.sum()))


def subsample_values(codec: Codec, values: Values, rows: int, *, rng: np.random.Generator) -> Subsample[Values]:
    """About `rows` rows of a release, stratified in the same way; each row stands for itself."""
    if len(values) <= rows:
        return Subsample(part=values, factor=1.0)
    kept = _kept(_strata(codec, values), np.arange(len(values), dtype=np.uint64), rows / len(values), rng)
    return Subsample(part=values[kept], factor=len(values) / int(kept.sum()))


def subsampled(tables: Tables, rows: int) -> Subsample[Tables]:
    """About `rows` rows of each table; the factor is the largest of the three, `looked_at` is that of the release."""
    training, holdout = (subsample(t, rows, rng=tables.rng("subsample")) for t in (tables.training, tables.holdout))
    release = subsample_values(tables.codec, tables.synthetic, rows, rng=tables.rng("subsample"))
    part = Tables(
        training=training.part,
        holdout=holdout.part,
        synthetic=release.part,
        seed=tables.seed,
        looked_at=tables.looked_at * release.factor,
    )
    return Subsample(part=part, factor=max(training.factor, holdout.factor, release.factor))


def _strata(codec: Codec, values: Values) -> npt.NDArray[np.int64]:
    """The target's cell of each row; one stratum where there is no target."""
    target = codec.schema.target
    if target is None:
        return np.zeros(len(values), dtype=np.int64)
    return codec.bin(values)[:, codec.names.index(target)]


def _kept(
    strata: npt.NDArray[np.int64], subjects: npt.NDArray[np.uint64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """The mask of the rows of the subjects that are drawn."""
    _, first, whose = np.unique(subjects, return_index=True, return_inverse=True)
    stratum = strata[first]
    drawn = np.zeros(len(first), dtype=bool)
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        drawn[rng.permutation(members)[: max(1, round(share * len(members)))]] = True
    return np.asarray(drawn[whose])
