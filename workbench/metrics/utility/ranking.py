"""Whether learners compared on a release come in the order that they have on the training rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from workbench.metrics.compare import beside
from workbench.metrics.estimate import Estimate, bootstrap_together
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import UtilitySpec
from workbench.metrics.tables import Tables
from workbench.metrics.utility.models import Floats, Models, check_trainable
from workbench.metrics.utility.predictions import Statistic, correlation
from workbench.metrics.utility.scores import INTERVAL, Score, scores_of

FEWEST_LEARNERS = 3


def ranking_agreement(models: Models, score: Score) -> Metric[Tables]:
    """The agreement of the learners' order by a score."""
    definition = Definition(
        name="utility/ranking_agreement",
        title="Agreement of the learners' ranking",
        formula=f"Kendall's τ-b of the learners' {score.title} on the holdout: trained on release, on training rows",
        range=(-1.0, 1.0),
        better="higher",
        source="Kendall 1945; ranking agreement as in Jordon, Yoon & van der Schaar 2018 (synthetic ranking agreement)",
        baseline="the same learners, trained on the training rows with every column shuffled by itself",
        note=f"Of {len(models.names)} learners. There is no ceiling: the order of the training rows is its own. {INTERVAL}",
    )
    return Metric(
        title=definition.title, definitions=(definition,), compute=partial(_agreement, definition, models, score)
    )


def _agreement(definition: Definition, models: Models, score: Score, tables: Tables) -> list[Measure]:
    check_trainable(tables, "synthetic")
    if len(models.names) < FEWEST_LEARNERS:
        raise NotComputableError(f"not computable because there are fewer than {FEWEST_LEARNERS} learners")
    own = _figures(models, score, tables, "training")

    def estimate(name: str) -> Estimate:
        its = _figures(models, score, tables, name)

        def tau(weights: Floats) -> Floats:
            return _kendall(*(np.array([[f(row) for f in learners] for row in weights]) for learners in (own, its)))

        if np.isnan(tau(np.ones((1, len(tables.holdout))))).all():
            raise NotComputableError(f"not computable because all learners have the same {score.title}")
        return bootstrap_together(tau, tables.holdout.points)

    return [beside(definition, tables, estimate, ceiling=None)]


def _kendall(one: Floats, other: Floats) -> Floats:
    """Kendall's tau-b of each row of two tables [k, learners]; NaN where a row is constant."""
    first, second = np.triu_indices(one.shape[1], k=1)
    return correlation(*(np.sign(rows[:, first] - rows[:, second]) for rows in (one, other)))


def _figures(models: Models, score: Score, tables: Tables, name: str) -> list[Statistic]:
    figures = [score.of(tables.holdout.target, models.predicted(tables, learner, name)) for learner in models.names]
    if any(figure is None for figure in figures):
        raise NotComputableError("not computable because the holdout lacks a class of the target")
    return [figure for figure in figures if figure is not None]


SPEC = UtilitySpec(
    name="ranking_agreement",
    metrics=lambda models, schema: (ranking_agreement(models, scores_of(schema)[0]),),
    rank=3,
)
