"""Whether a model of the release rests on the same features as a model of the training rows."""

from __future__ import annotations

import numpy as np

from workbench.metrics.compare import beside
from workbench.metrics.estimate import Estimate, bootstrap_together
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import UtilitySpec
from workbench.metrics.tables import Tables
from workbench.metrics.utility.models import Floats, Models, Predict, check_trainable, is_regression
from workbench.metrics.utility.predictions import brier_losses, correlation
from workbench.metrics.utility.scores import BASELINE, INTERVAL

MOST_ROWS = 2_000  # of the holdout
REPEATS = 3
_MOST_NUMBERS = 2**22  # that a model is asked about at a time
_FEWEST_FEATURES = 3


def importance_agreement(models: Models, learner: str) -> Metric[Tables]:
    """The agreement of one learner's importances."""
    definition = Definition(
        name=f"utility/importance_agreement_{learner}",
        title=f"Agreement of feature importances, {learner}",
        formula="Spearman's rank correlation of the features' permutation importances: trained on release, on training rows",
        range=(-1.0, 1.0),
        better="higher",
        source="Breiman 2001, sect. 10; Fisher, Rudin & Dominici 2019 (model reliance); by the Brier score or squared error",
        baseline=BASELINE,
        note=(
            f"Over {REPEATS} shufflings of at most {MOST_ROWS:,} rows of the holdout, the same for every model. There is no "
            f"ceiling: the model of the training rows agrees with itself. {INTERVAL}"
        ),
    )

    def compute(tables: Tables) -> list[Measure]:
        return [_agreement(definition, models, learner, tables)]

    return Metric(title=definition.title, definitions=(definition,), compute=compute)


def _agreement(definition: Definition, models: Models, learner: str, tables: Tables) -> Measure:
    check_trainable(tables, "synthetic")
    if len(tables.codec.names) - 1 < _FEWEST_FEATURES:
        raise NotComputableError(f"not computable because there are fewer than {_FEWEST_FEATURES} features")
    n = len(tables.holdout)
    rows = tables.rng("rows for importances").permutation(n)[:MOST_ROWS]
    own = _increases(models.fitted(tables, learner, "training"), tables, rows)

    def estimate(name: str) -> Estimate:
        its = _increases(models.fitted(tables, learner, name), tables, rows)
        if np.ptp(its.sum(axis=0)) == 0 or np.ptp(own.sum(axis=0)) == 0:
            raise NotComputableError(f"not computable because to {learner} all features are of the same importance")
        return bootstrap_together(lambda w: _spearman(w @ own, w @ its), tables.holdout.points[rows])

    return beside(definition, tables, estimate, ceiling=None)


def _increases(predict: Predict, tables: Tables, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """How much each row's loss grows [n, features] where a feature is shuffled among the rows."""
    features, truth = tables.holdout.features[rows], tables.holdout.target[rows]
    rng, d = tables.rng("shufflings for importances"), features.shape[1]
    before, grown = _losses(predict(features), truth, tables), np.zeros((len(rows), d))
    together = max(1, _MOST_NUMBERS // features.size)
    for _ in range(REPEATS):
        for start in range(0, d, together):
            places = range(start, min(start + together, d))
            shuffled = np.repeat(features[None], len(places), axis=0)
            for copy, place in zip(shuffled, places, strict=True):
                copy[:, place] = rng.permutation(features[:, place])
            after = _losses(predict(shuffled.reshape(-1, d)), np.tile(truth, len(places)), tables)
            grown[:, places] += after.reshape(len(places), -1).T - before[:, None]
    return grown / REPEATS


def _losses(predicted: Floats, truth: Floats, tables: Tables) -> Floats:
    return (truth - predicted[:, 0]) ** 2 if is_regression(tables) else brier_losses(truth, predicted)


def _spearman(one: Floats, other: Floats) -> Floats:
    """Spearman's rank correlation of each row of two tables [k, features]; NaN where a row is constant."""
    from scipy.stats import rankdata  # a second of start-up, which predictions need not wait for

    ranks = [rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2 for rows in (one, other)]
    return correlation(*ranks)


SPEC = UtilitySpec(
    name="importance_agreement",
    metrics=lambda models, _: tuple(importance_agreement(models, learner) for learner in models.names),
    rank=2,
)
