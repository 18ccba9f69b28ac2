"""How close each pair of columns of a release is to the real pair."""

from __future__ import annotations

import numpy as np

from workbench.metrics.comparable import check_tables
from workbench.metrics.compare import BASELINE, CEILING, INTERVAL, compare
from workbench.metrics.fidelity.associations import or_nothing, pearson, told
from workbench.metrics.fidelity.marginals import MOST_MARGINALS, drawn_marginals, tvd
from workbench.metrics.jackknife import Floats
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Sample, sample_of
from workbench.metrics.tables import Tables
from workbench.schema import Codec

PAIR_TRENDS = Definition(
    name="fidelity/pair_trends",
    title="Pair trends",
    formula="mean over pairs of columns of 1 - |r - s| / 2 of two numbers (Pearson), else 1 - ½ Σ|p - q|",
    range=(0.0, 1.0),
    better="higher",
    source="SDMetrics, Column Pair Trends: CorrelationSimilarity and ContingencySimilarity",
    baseline=BASELINE,
    ceiling=CEILING,
    note=(
        "Beside a category, numbers are cut at the schema's public cells, not at those of the rows' own range. Missing values "
        "are a cell of their own, and left out of correlations. In the release a number that does not vary goes with nothing: "
        f"s is 0. Of more than {MOST_MARGINALS[2]} pairs, so many are drawn. {INTERVAL}"
    ),
)


def similarity(training: Sample, other: Sample, codec: Codec, one: int, two: int) -> Floats:
    """The similarity of a pair of columns in two samples [1 + GROUPS]; a number that does not vary goes with nothing."""
    columns = list(codec.schema.encoded.values())
    if columns[one].is_coded or columns[two].is_coded:
        return 1 - tvd(training, other, columns=(one, two), sizes=codec.sizes)
    r, s = (or_nothing(pearson(sample, one, two)) for sample in (training, other))
    return 1 - np.abs(r - s) / 2


def _pair_trends(tables: Tables) -> list[Measure]:
    check_tables(tables)
    codec, training = tables.codec, sample_of(tables, "training")
    columns = list(codec.schema.encoded.values())
    drawn = drawn_marginals(tables, 2, MOST_MARGINALS[2])
    numbers = [pair for pair in drawn if not any(columns[place].is_coded for place in pair)]
    constant = [pair for pair in numbers if np.isnan(pearson(training, *pair)[0])]
    pairs = [pair for pair in drawn if pair not in constant]
    if not pairs:
        raise NotComputableError("not computable because no two columns vary in the training rows")

    def mean(training: Sample, other: Sample) -> Floats:
        return np.asarray(np.mean([similarity(training, other, codec, *pair) for pair in pairs], axis=0))

    return [compare(PAIR_TRENDS, tables, mean, note=told(codec, constant))]


PAIRS: Metric[Tables] = Metric(title=PAIR_TRENDS.title, definitions=(PAIR_TRENDS,), compute=_pair_trends)

SPEC = MetricSpec(name="pair_trends", metrics=(PAIRS,), rank=2)
