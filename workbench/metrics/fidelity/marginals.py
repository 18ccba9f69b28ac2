"""How close a synthetic table's marginals are to the real ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from workbench.metrics.compare import BASELINE, CEILING, INTERVAL, compare
from workbench.metrics.jackknife import Floats
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Sample, joint_cells
from workbench.metrics.tables import Tables

Bins = npt.NDArray[np.int64]
Columns = tuple[int, ...]

MOST_MARGINALS = {1: 400, 2: 200, 3: 400}  # by their number of columns; of more, so many are drawn
K_MARGINALS = 100  # that the k-marginal score is made of

_BIASED = (
    "Sampling alone makes it larger than the distance of the populations, the more the more cells there are; the ceiling has "
    "the same bias at the holdout's size, the baseline in nothing but how columns go together. Missing values are a cell of "
    "their own."
)


def mean_tvd(real: Bins, synthetic: Bins, sizes: Sequence[int], *, way: int) -> float:
    """Mean total variation distance of all `way`-column marginals: ½ Σ|p - q|, in [0, 1], lower is better.

    `real` and `synthetic` are cell numbers [n, d] and [m, d] of the same public bins with `sizes` cells per column.
    Raises NotComputableError where there are fewer columns than `way`, or a table has no row.
    """
    _require_columns(len(sizes), way)
    if not (len(real) and len(synthetic)):
        raise NotComputableError("not computable because there is no row to compare")
    columns = [(np.ascontiguousarray(table.T), len(table)) for table in (real, synthetic)]
    distances = []
    for chosen in itertools.combinations(range(len(sizes)), way):
        p, q = (_shares(table[list(chosen)], [sizes[c] for c in chosen], n) for table, n in columns)
        distances.append(float(np.abs(p - q).sum() / 2))
    return float(np.mean(distances))


def tvd(training: Sample, other: Sample, *, columns: Sequence[int], sizes: Sequence[int]) -> Floats:
    """Total variation distance ½ Σ|p - q| of one marginal [1 + GROUPS]; 0: equal, 1: nothing in common."""
    (own, its), size = joint_cells([training, other], columns, sizes)
    p, q = training.sums(own, size), other.sums(its, size)
    apart = p / p.sum(axis=1, keepdims=True) - q / q.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(apart).sum(axis=1) / 2)


def _mean_of(marginals: Sequence[Columns], sizes: Sequence[int], training: Sample, other: Sample) -> Floats:
    distances = [tvd(training, other, columns=columns, sizes=sizes) for columns in marginals]
    return np.asarray(np.mean(distances, axis=0))


def drawn_marginals(tables: Tables, way: int, most: int) -> list[Columns]:
    """All sets of `way` columns, or `most` of them, drawn at random."""
    d = len(tables.codec.names)
    _require_columns(d, way)
    if math.comb(d, way) <= most:
        return list(itertools.combinations(range(d), way))
    drawn = tables.rng(f"{most} marginals of {way} columns").choice(math.comb(d, way), most, replace=False)
    return [_at(int(place), d, way) for place in np.sort(drawn)]


def _require_columns(d: int, way: int) -> None:
    if d < way:
        raise NotComputableError(f"not computable because the table has fewer than {way} columns")


def _at(place: int, d: int, way: int) -> Columns:
    """The set of `way` of d columns at a place in the order of all: of a wide table there are too many to list."""
    columns: list[int] = []
    for left in range(way - 1, -1, -1):
        column = columns[-1] + 1 if columns else 0
        while place >= (begin_with_it := math.comb(d - column - 1, left)):
            place -= begin_with_it
            column += 1
        columns.append(column)
    return tuple(columns)


def _mean_distance(definition: Definition, way: int, tables: Tables) -> list[Measure]:
    return [
        compare(
            definition, tables, partial(_mean_of, drawn_marginals(tables, way, MOST_MARGINALS[way]), tables.codec.sizes)
        )
    ]


def _k_marginal(definition: Definition, tables: Tables) -> list[Measure]:
    marginals = drawn_marginals(tables, 3, K_MARGINALS)

    def score(training: Sample, other: Sample) -> Floats:
        return 1000 * (1 - _mean_of(marginals, tables.codec.sizes, training, other))

    return [compare(definition, tables, score)]


def _shares(columns: Bins, sizes: Sequence[int], n: int) -> npt.NDArray[np.float64]:
    """The share of rows in each cell of the marginal of these columns [way, n]."""
    cell = np.zeros(n, dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        cell *= size
        cell += column
    return np.bincount(cell, minlength=math.prod(sizes)) / n


def _distance(way: int) -> Metric[Tables]:
    definition = Definition(
        name=f"fidelity/tvd{way}",
        title=f"Distance of {way}-way marginals",
        formula=f"mean of ½ Σ|p - q| over the marginals of {way} columns, on the schema's public cells",
        range=(0.0, 1.0),
        better="lower",
        source="total variation distance; marginals as in McKenna, Miklau & Sheldon 2021, sect. 2",
        baseline=BASELINE,
        ceiling=CEILING,
        note=f"Of more than {MOST_MARGINALS[way]} marginals, so many are drawn. {_BIASED} {INTERVAL}",
    )
    return Metric(title=definition.title, definitions=(definition,), compute=partial(_mean_distance, definition, way))


_K_MARGINAL = Definition(
    name="fidelity/k_marginal",
    title="k-marginal score",
    formula=f"1000 · (1 - mean of ½ Σ|p - q|) over {K_MARGINALS} marginals of 3 columns, drawn at random",
    range=(0.0, 1000.0),
    better="higher",
    source="Ridgeway et al. 2021, NIST Technical Note 2151, first measure of the 2018 challenge",
    baseline=BASELINE,
    ceiling=CEILING,
    note=f"On the schema's public cells. {_BIASED} {INTERVAL}",
)

MARGINALS: tuple[Metric[Tables], ...] = (
    *(_distance(way) for way in (1, 2, 3)),
    Metric(title=_K_MARGINAL.title, definitions=(_K_MARGINAL,), compute=partial(_k_marginal, _K_MARGINAL)),
)

SPEC = MetricSpec(name="marginals", metrics=MARGINALS, rank=3)
