"""The classifier two-sample test: how well a learner tells rows of a release from real ones it has not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.metrics.compare import BASELINE, CEILING, compare
from workbench.metrics.fidelity.real_vs_synthetic import MOST_ROWS, Mixed, mix, rows_of_each
from workbench.metrics.jackknife import GROUPS, Floats
from workbench.metrics.measure import Definition, Measure, Metric
from workbench.metrics.registry import MetricSpec
from workbench.metrics.roc_ranking import Ranked
from workbench.metrics.sample import Sample
from workbench.metrics.tables import Tables
from workbench.schema import Codec

_MOST_CATEGORIES = 255  # that the learner can take for categories

C2ST = Definition(
    name="fidelity/c2st_auc",
    title="Rows told from real ones (AUC)",
    formula="chance that gradient boosting, fitted on one half of the subjects, ranks a released row of the other half higher",
    range=(0.0, 1.0),
    better="lower",
    source="Lopez-Paz & Oquab 2017, sect. 3, with the AUC for a statistic",
    baseline=BASELINE,
    ceiling=CEILING,
    note=(
        f"Of at most {MOST_ROWS:,} rows of either table. 0.5: not to be told apart. Clearly below 0.5: rows of one half come "
        "again in the other under the other label, which is what copies do. The interval is about other rows before the same "
        "two fitted learners; the AUC is the mean over the two halves."
    ),
)


def _scores(mixed: Mixed, fit: npt.NDArray[np.bool_], codec: Codec, seed: int) -> Floats:
    """How likely each row is of the release, by a learner fitted on some of them."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    nominal = [wanted and size <= _MOST_CATEGORIES for wanted, size in zip(codec.categorical, codec.sizes, strict=True)]
    learner = HistGradientBoostingClassifier(
        max_iter=50, early_stopping=False, categorical_features=nominal, random_state=seed
    )
    # boosting has no bin for a column of NaN
    values = np.where(np.isnan(mixed.values[fit]).all(axis=0), 0.0, mixed.values)
    with threadpool_limits(1):
        learner.fit(values[fit], mixed.released[fit])
        return np.asarray(learner.predict_proba(values[~fit])[:, 1])


def _aucs(mixed: Mixed, codec: Codec, seed: int) -> Floats:
    """The mean of the two halves' AUCs [1 + GROUPS]."""
    found = []
    for half in (0, 1):
        fit = mixed.groups % 2 == half
        ranked = Ranked.of(_scores(mixed, fit, codec, seed), mixed.released[~fit])
        groups = mixed.groups[~fit]
        found.append([ranked.auc((groups != group).astype(np.float64)) for group in range(-1, GROUPS)])
    return np.asarray(np.mean(found, axis=0))


def _discrimination(tables: Tables) -> list[Measure]:
    n, codec = rows_of_each(tables), tables.codec

    def auc(training: Sample, other: Sample) -> Floats:
        return _aucs(mix(training, other, n, rng=tables.rng("c2st")), codec, tables.seed)

    return [compare(C2ST, tables, auc)]


DISCRIMINATION: Metric[Tables] = Metric(title=C2ST.title, definitions=(C2ST,), compute=_discrimination)

SPEC = MetricSpec(name="discrimination", metrics=(DISCRIMINATION,), rank=7)
