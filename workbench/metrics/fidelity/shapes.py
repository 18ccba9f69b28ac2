"""How close each column of a release is to the real one, by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.metrics.comparable import check_tables
from workbench.metrics.compare import BASELINE, CEILING, INTERVAL, compare
from workbench.metrics.jackknife import Floats
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Codes, Sample
from workbench.metrics.tables import Tables
from workbench.schema import Column

COLUMN_SHAPES = Definition(
    name="fidelity/column_shapes",
    title="Column shapes",
    formula="mean over columns of 1 - ½ Σ|p - q| of categories, 1 - max|F - G| of numbers and dates (Kolmogorov-Smirnov)",
    range=(0.0, 1.0),
    better="higher",
    source="SDMetrics, Column Shapes: TVComplement and KSComplement",
    baseline=BASELINE,
    ceiling=CEILING,
    note=(
        "Of the values that are there; missing ones are counted by the missingness patterns. The baseline has the training "
        f"rows' very columns: 1 by construction. {INTERVAL}"
    ),
)


def shape(training: Sample, other: Sample, *, place: int, column: Column) -> Floats:
    """The similarity of one column in two samples [1 + GROUPS], of values that are there; 0 where one has none."""
    samples = [sample.rows(np.flatnonzero(~np.isnan(sample.values[:, place]))) for sample in (training, other)]
    if column.is_coded:
        cells, size = [sample.bins[:, place] for sample in samples], column.cells
    else:
        cells, size = _ranks(samples, place)
    if not size:
        return np.zeros(len(training.sums(np.zeros(len(training), dtype=np.int64), 1)))
    p, q = (sample.sums(c, size) for sample, c in zip(samples, cells, strict=True))
    both = (p.sum(axis=1) > 0) & (q.sum(axis=1) > 0)
    apart = p / np.maximum(p.sum(axis=1, keepdims=True), 1) - q / np.maximum(q.sum(axis=1, keepdims=True), 1)
    distance = np.abs(apart).sum(axis=1) / 2 if column.is_coded else np.abs(np.cumsum(apart, axis=1)).max(axis=1)
    return np.where(both, 1 - distance, 0.0)


def _ranks(samples: Sequence[Sample], place: int) -> tuple[list[Codes], int]:
    """The place of each value among the distinct values of all samples, and how many these are."""
    values = [sample.values[:, place] for sample in samples]
    distinct, ranks = np.unique(np.concatenate(values), return_inverse=True)
    return np.split(ranks, [len(values[0])]), len(distinct)


def _column_shapes(tables: Tables) -> list[Measure]:
    check_tables(tables)
    columns = list(tables.codec.schema.encoded.items())
    tables_of_interest = (tables.training.values, tables.synthetic)
    empty = [all(np.isnan(values[:, i]).all() for values in tables_of_interest) for i in range(len(columns))]
    if all(empty):
        raise NotComputableError("not computable because no column has a value")

    def mean(training: Sample, other: Sample) -> Floats:
        shapes = [
            shape(training, other, place=i, column=column) for i, (_, column) in enumerate(columns) if not empty[i]
        ]
        return np.asarray(np.mean(shapes, axis=0))

    left_out = ", ".join(name for (name, _), nothing in zip(columns, empty, strict=True) if nothing)
    note = f"Left out, having no value in training rows and release: {left_out}." if left_out else ""
    return [compare(COLUMN_SHAPES, tables, mean, note=note)]


SHAPES: Metric[Tables] = Metric(title=COLUMN_SHAPES.title, definitions=(COLUMN_SHAPES,), compute=_column_shapes)

SPEC = MetricSpec(name="column_shapes", metrics=(SHAPES,), rank=1)
