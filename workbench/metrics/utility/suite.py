"""All that is asked of learners trained on a release."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import UTILITY
from workbench.metrics.tables import Tables
from workbench.metrics.utility.models import Fit, Models
from workbench.schema import Schema


def utility_metrics(schema: Schema, learners: Mapping[str, Fit]) -> tuple[Metric[Tables], ...]:
    """The metrics of these learners on tables of a schema; each is trained once per table, whatever is asked of it.

    Scores and importances of every learner, the order of the learners, and by the first of them the groups of each column
    with role sensitive. What was learnt is kept as long as the metrics are, so use them for one evaluation.
    """
    if schema.target is None or not learners:
        return (_NOTHING,)
    models = Models(learners)
    return tuple(metric for spec in UTILITY for metric in spec.metrics(models, schema))


def _nothing_to_learn(_: Tables) -> list[Measure]:
    raise NotComputableError("not computable because the schema declares no target that can be predicted")


_NOTHING: Metric[Tables] = Metric(
    title="Train on synthetic, test on real",
    definitions=(
        Definition(
            name="utility/tstr",
            title="Train on synthetic, test on real",
            formula="scores of models trained on the release and tested on the holdout",
            range=(0.0, 1.0),
            better="higher",
            source="Esteban, Hyland & Rätsch 2017",
        ),
    ),
    compute=_nothing_to_learn,
)
