"""Train on synthetic, test on real: how well a learner fitted to the release does on the holdout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from workbench.metrics.compare import beside
from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.jackknife import GROUPS, groups_of, jackknife
from workbench.metrics.measure import Better, Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import UtilitySpec
from workbench.metrics.tables import Tables
from workbench.metrics.utility import predictions
from workbench.metrics.utility.models import Floats, Models, check_trainable
from workbench.metrics.utility.predictions import Statistic
from workbench.schema import Schema

BASELINE = "the same learner, trained on the training rows with every column shuffled by itself"
CEILING = "the same learner, trained on the training rows"
INTERVAL = (
    "The interval is about other subjects in the holdout before the same fitted model; not about fitting it again."
)

_BIASED = "Sampling alone makes it larger, also the ceiling's."
_CHANCE = "The baseline has learnt the chance patterns of one shuffling: its AUC may lie on either side of 0.5."
_TSTR = "Esteban, Hyland & Rätsch 2017 (train on synthetic, test on real)"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure of predictions. `biased`: sampling alone makes it larger, so that its interval is a jackknife's."""

    word: str
    title: str
    formula: str
    range: tuple[float, float]
    better: Better
    of: Callable[[Floats, Floats], Statistic | None]
    biased: bool = False


def _value(figure: Callable[[Floats, Floats], Statistic | None]) -> Callable[[Floats, Floats], Statistic | None]:
    return lambda truth, predicted: figure(truth, predicted[:, 0])


CLASSIFICATION = (
    Score(
        word="auc",
        title="AUC",
        formula="area under the ROC curve; of more than two classes, the mean of one against the rest",
        range=(0.0, 1.0),
        better="higher",
        of=predictions.auc,
    ),
    Score(
        word="f1",
        title="F1",
        formula="2 TP / (2 TP + FP + FN) of the second of two classes, of more the mean over those in the holdout",
        range=(0.0, 1.0),
        better="higher",
        of=predictions.f1,
    ),
    Score(
        word="accuracy",
        title="Accuracy",
        formula="share of rows whose likeliest class is theirs",
        range=(0.0, 1.0),
        better="higher",
        of=predictions.accuracy,
    ),
    Score(
        word="calibration_error",
        title="Calibration error",
        formula="Σ share of rows · |accuracy - mean confidence| over 15 equal bins of confidence (Guo et al. 2017, eq. 3)",
        range=(0.0, 1.0),
        better="lower",
        of=predictions.calibration_error,
        biased=True,
    ),
    Score(
        word="brier",
        title="Brier score",
        formula="mean of (p - y)² of the second of two classes, of more the mean of Σ (p_k - y_k)² (Brier 1950)",
        range=(0.0, 2.0),
        better="lower",
        of=predictions.brier,
    ),
)
REGRESSION = (
    Score(
        word="r2",
        title="R²",
        formula="1 - Σ(y - p)² / Σ(y - mean)²",
        range=(float("-inf"), 1.0),
        better="higher",
        of=_value(predictions.r2),
    ),
    Score(
        word="rmse",
        title="Root mean squared error",
        formula="√ mean of (y - p)², in the target's units",
        range=(0.0, float("inf")),
        better="lower",
        of=_value(predictions.rmse),
    ),
)


def estimated(score: Score, tables: Tables, predicted: Floats) -> Estimate:
    """A score of predictions of the holdout; raises NotComputableError where it is not defined."""
    truth, subjects = tables.holdout.target, tables.holdout.points
    figure = score.of(truth, predicted)
    if figure is None:
        raise NotComputableError("not computable because the holdout lacks a class of the target")
    if not score.biased:
        return bootstrap(figure, subjects)
    groups = groups_of(subjects, rng=tables.rng("jackknife groups, holdout"))
    replicates = [figure((groups != group).astype(np.float64)) for group in range(-1, GROUPS)]
    return jackknife(np.array(replicates), n=len(truth), within=score.range)


def tstr(models: Models, learner: str, scores: tuple[Score, ...]) -> Metric[Tables]:
    """The scores of one learner."""
    definitions = tuple(
        Definition(
            name=f"utility/tstr_{score.word}_{learner}",
            title=f"{score.title}, {learner}",
            formula=f"{score.formula}; trained on the release, tested on the holdout",
            range=score.range,
            better=score.better,
            source=_TSTR,
            baseline=BASELINE,
            ceiling=CEILING,
            note=" ".join([_BIASED] * score.biased + [_CHANCE, INTERVAL]),
        )
        for score in scores
    )

    def compute(tables: Tables) -> list[Measure]:
        check_trainable(tables, "synthetic")
        return [_measure(models, learner, tables, *pair) for pair in zip(definitions, scores, strict=True)]

    return Metric(title=f"Train on synthetic, test on real: {learner}", definitions=definitions, compute=compute)


def _measure(models: Models, learner: str, tables: Tables, definition: Definition, score: Score) -> Measure:
    estimate = partial(_estimate, models, learner, tables, score)
    try:
        return beside(definition, tables, estimate, ceiling="training")
    except NotComputableError as why:  # the other scores may be computable
        return Measure(definition=definition, reason=str(why))


def _estimate(models: Models, learner: str, tables: Tables, score: Score, name: str) -> Estimate:
    return estimated(score, tables, models.predicted(tables, learner, name))


def scores_of(schema: Schema) -> tuple[Score, ...]:
    """Return what is asked of predictions of a schema's target, the first score first."""
    assert schema.target is not None
    return CLASSIFICATION if schema.encoded[schema.target].is_coded else REGRESSION


SPEC = UtilitySpec(
    name="scores",
    metrics=lambda models, schema: tuple(tstr(models, learner, scores_of(schema)) for learner in models.names),
    rank=1,
)
