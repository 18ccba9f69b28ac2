"""How strongly two columns go together, whatever their kinds, and how far a release is from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from workbench.metrics.comparable import check_tables
from workbench.metrics.compare import BASELINE, CEILING, INTERVAL, compare
from workbench.metrics.fidelity.marginals import MOST_MARGINALS, Columns, drawn_marginals
from workbench.metrics.jackknife import Floats
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Sample, joint_cells, sample_of
from workbench.metrics.tables import Tables
from workbench.schema import Codec

_NOTHING = 1e-9  # a variance, or a share of it, that is rounding

CORRELATION_DIFFERENCE = Definition(
    name="fidelity/correlation_difference",
    title="Difference of associations",
    formula=(
        "mean over pairs of columns of |a - b|: Cramér's V of two coded columns, Pearson's r of two numbers, the correlation "
        "ratio η of a number by a coded column"
    ),
    range=(0.0, 2.0),
    better="lower",
    source="Cramér 1946; Pearson 1895; Pearson 1905 (η)",
    baseline=BASELINE,
    ceiling=CEILING,
    note=(
        "Missing codes are a category of their own, missing numbers are left out pair by pair. In the release a column that "
        f"does not vary goes with nothing: 0. Of more than {MOST_MARGINALS[2]} pairs, so many are drawn. V and η of few "
        f"rows are too large, also in the ceiling. {INTERVAL}"
    ),
)


def association(sample: Sample, codec: Codec, one: int, other: int) -> Floats:
    """Cramér's V, Pearson's r or the correlation ratio of two columns [1 + GROUPS]; NaN where one does not vary."""
    columns = list(codec.schema.encoded.values())
    coded = columns[one].is_coded, columns[other].is_coded
    if all(coded):
        return _cramers_v(sample, codec, one, other)
    if not any(coded):
        return pearson(sample, one, other)
    return _correlation_ratio(sample, codec, *((one, other) if coded[0] else (other, one)))


def pearson(sample: Sample, one: int, other: int) -> Floats:
    """Pearson's correlation of two numbers [1 + GROUPS], of rows that have both; NaN where one does not vary."""
    rows = sample.rows(np.flatnonzero(~np.isnan(sample.values[:, [one, other]]).any(axis=1)))
    x, y = (_standardised(rows.values[:, place]) for place in (one, other))
    n, sx, sy, sxx, syy, sxy = (_total(rows, w) for w in (np.ones(len(rows)), x, y, x * x, y * y, x * y))
    with np.errstate(invalid="ignore", divide="ignore"):
        varies = np.minimum(sxx / n - (sx / n) ** 2, syy / n - (sy / n) ** 2) > _NOTHING
        r = (n * sxy - sx * sy) / np.sqrt((n * sxx - sx**2) * (n * syy - sy**2))
    return np.where(varies, np.clip(r, -1, 1), np.nan)


def association_matrix(tables: Tables, name: str, *, most: int) -> Floats:
    """The associations of the first `most` columns [d, d] of one of the tables: symmetric, 1 on the diagonal, or NaN."""
    sample, codec = sample_of(tables, name), tables.codec
    matrix = np.eye(min(most, len(codec.names)))
    for one, other in itertools.combinations(range(len(matrix)), 2):
        matrix[one, other] = matrix[other, one] = association(sample, codec, one, other)[0]
    return matrix


def or_nothing(associations: Floats) -> Floats:
    """What does not vary goes with nothing."""
    return np.nan_to_num(associations, nan=0.0)


def told(codec: Codec, pairs: Sequence[Columns]) -> str:
    """A note of pairs that are left out; empty where none is."""
    names = ", ".join(f"{codec.names[one]} with {codec.names[other]}" for one, other in pairs)
    return f"Left out, as a column does not vary in the training rows: {names}." if names else ""


def _correlation_difference(tables: Tables) -> list[Measure]:
    check_tables(tables)
    codec, training = tables.codec, sample_of(tables, "training")
    own = {pair: association(training, codec, *pair) for pair in drawn_marginals(tables, 2, MOST_MARGINALS[2])}
    constant = [pair for pair, found in own.items() if np.isnan(found[0])]
    if len(constant) == len(own):
        raise NotComputableError("not computable because no two columns vary in the training rows")

    def mean(_: Sample, other: Sample) -> Floats:
        apart = [
            np.abs(or_nothing(found) - or_nothing(association(other, codec, *pair)))
            for pair, found in own.items()
            if pair not in constant
        ]
        return np.asarray(np.mean(apart, axis=0))

    return [compare(CORRELATION_DIFFERENCE, tables, mean, note=told(codec, constant))]


def _cramers_v(sample: Sample, codec: Codec, one: int, other: int) -> Floats:
    """√(φ² / (min(r, c) - 1)), with φ² = Σ n_ij² / (n_i n_j) - 1 and r, c the categories that occur."""
    (cells,), size = joint_cells([sample], [one, other], codec.sizes)
    rows, columns = sample.bins[:, one], sample.bins[:, other]
    inside, of_rows, of_columns = (
        sample.sums(cells, size),
        sample.sums(rows, codec.sizes[one]),
        sample.sums(columns, codec.sizes[other]),
    )
    row_of, column_of = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    row_of[cells], column_of[cells] = rows, columns
    expected = of_rows[:, row_of] * of_columns[:, column_of]
    squares = np.divide(inside**2, expected, out=np.zeros_like(inside), where=inside > 0)
    freedom = np.minimum((of_rows > 0).sum(axis=1), (of_columns > 0).sum(axis=1)) - 1
    v = np.sqrt(np.clip(squares.sum(axis=1) - 1, 0, None) / np.maximum(freedom, 1))
    return np.where(freedom > 0, np.minimum(v, 1), np.nan)


def _correlation_ratio(sample: Sample, codec: Codec, coded: int, number: int) -> Floats:
    """√(Σ n_k (mean_k - mean)² / Σ (x - mean)²) of a number by the categories of a coded column."""
    rows = sample.rows(np.flatnonzero(~np.isnan(sample.values[:, number])))
    cells, size, x = rows.bins[:, coded], codec.sizes[coded], _standardised(rows.values[:, number])
    counts, sums = rows.sums(cells, size), rows.sums(cells, size, x)
    n, total, squares = counts.sum(axis=1), sums.sum(axis=1), _total(rows, x * x)
    within = np.divide(sums**2, counts, out=np.zeros_like(sums), where=counts > 0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - total**2 / n
        share = np.clip((within - total**2 / n) / spread, 0, 1)
    varies = (spread > _NOTHING * np.maximum(n, 1)) & ((counts > 0).sum(axis=1) > 1)
    return np.where(varies, np.sqrt(share), np.nan)


def _standardised(x: Floats) -> Floats:
    """Numbers less their mean, in units of their spread: what follows keeps its digits."""
    if not len(x) or np.ptp(x) == 0:
        return np.zeros(len(x))
    return np.asarray((x - x.mean()) / x.std())


def _total(rows: Sample, weights: Floats) -> Floats:
    return rows.sums(np.zeros(len(rows), dtype=np.int64), 1, weights)[:, 0]


ASSOCIATIONS: Metric[Tables] = Metric(
    title=CORRELATION_DIFFERENCE.title, definitions=(CORRELATION_DIFFERENCE,), compute=_correlation_difference
)

SPEC = MetricSpec(name="associations", metrics=(ASSOCIATIONS,), rank=4)
