"""As many rows of the records as of a release, at random, for whatever tells them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.metrics.comparable import has_holdout
from workbench.metrics.sample import Codes, Sample
from workbench.metrics.tables import Tables
from workbench.schema.codec import Values

MOST_ROWS = 10_000  # of either


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed:
    """n rows of either table: values [2n, d], the group [2n] of each row, and which [2n] are of the release."""

    values: Values
    groups: Codes
    released: npt.NDArray[np.bool_]


def rows_of_each(tables: Tables) -> int:
    """How many rows are taken of either table: the same for release, baseline and ceiling, or they could not be compared."""
    lengths = [len(tables.training), len(tables.synthetic)] + [len(tables.holdout)] * has_holdout(tables)
    return min(*lengths, MOST_ROWS)


def mix(training: Sample, other: Sample, n: int, *, rng: np.random.Generator) -> Mixed:
    """`n` rows of either sample, drawn without replacement."""
    chosen = [sample.rows(np.sort(rng.choice(len(sample), n, replace=False))) for sample in (training, other)]
    return Mixed(
        values=np.concatenate([sample.values for sample in chosen]),
        groups=np.concatenate([sample.groups for sample in chosen]),
        released=np.arange(2 * n) >= n,
    )
