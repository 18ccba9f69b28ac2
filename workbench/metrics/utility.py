"""How well predictions fit a holdout, with intervals that resample subjects (not rows: a person's rows are not independent)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import Estimate

Floats = npt.NDArray[np.float64]
REPLICATES = 200


def predictive(kind: str, truth: Floats, predicted: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """The metrics of a kind of task, for class probabilities [n, K], or values [n, 1] where it is `regression`."""
    if kind == "regression":
        return regression(truth, predicted[:, 0], subjects)
    return classification(truth, predicted, subjects)


def classification(truth: Floats, probabilities: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """AUC (two classes; more: mean of one-against-rest) and accuracy of `probabilities` [n, K] against codes `truth` [n].

    AUC is left out where the holdout lacks a class. Range [0, 1], higher is better.
    """
    labels = truth.astype(np.int64)
    correct = (probabilities.argmax(axis=1) == labels).astype(float)
    estimates = {"accuracy": _bootstrap(lambda w: float(np.average(correct, weights=w)), subjects)}
    classes = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    if all(0 < (labels == k).sum() < len(labels) for k in classes):
        ranked = [_Ranked.of(probabilities[:, k], labels == k) for k in classes]
        estimates["auc"] = _bootstrap(lambda w: float(np.mean([r.auc(w) for r in ranked])), subjects)
    return estimates


def regression(truth: Floats, predictions: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """R² and root mean squared error of `predictions` [n] against `truth` [n]. R²: at most 1, higher is better.

    R² is left out where the holdout's target is constant.
    """
    squared = (truth - predictions) ** 2

    def r2(weights: Floats) -> float:
        mean = np.average(truth, weights=weights)
        variance = np.average((truth - mean) ** 2, weights=weights)
        return float(1 - np.average(squared, weights=weights) / variance) if variance else float("nan")

    estimates = {"rmse": _bootstrap(lambda w: float(np.sqrt(np.average(squared, weights=w))), subjects)}
    return ({"r2": _bootstrap(r2, subjects)} if np.ptp(truth) else {}) | estimates


class _Ranked:
    """Scores sorted once, so that each bootstrap replicate of the AUC is one pass over weights."""

    def __init__(
        self, order: npt.NDArray[np.intp], ties: npt.NDArray[np.intp], positive: npt.NDArray[np.bool_]
    ) -> None:
        self._order, self._ties, self._positive = order, ties, positive

    @classmethod
    def of(cls, scores: Floats, positive: npt.NDArray[np.bool_]) -> _Ranked:
        order = np.argsort(scores, kind="stable")
        ties = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
        return cls(order, ties, positive[order])

    def auc(self, weights: Floats) -> float:
        """Weighted Mann-Whitney statistic, ties counting half; NaN where a class has no weight."""
        weights = weights[self._order]
        positive = np.add.reduceat(np.where(self._positive, weights, 0.0), self._ties)
        negative = np.add.reduceat(np.where(self._positive, 0.0, weights), self._ties)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def _bootstrap(statistic: Callable[[Floats], float], subjects: npt.NDArray[np.uint64]) -> Estimate:
    """The statistic with its 95 % percentile interval over subjects drawn with replacement (Efron 1979); seeded."""
    _, index = np.unique(subjects, return_inverse=True)
    drawn = index.max() + 1
    rng = np.random.default_rng(0)
    replicates = []
    for _ in range(REPLICATES):
        counts = np.bincount(rng.integers(0, drawn, drawn), minlength=drawn)
        weights = counts[index].astype(float)
        replicates.append(statistic(weights) if weights.any() else float("nan"))
    low, high = np.nanpercentile(replicates, [2.5, 97.5])
    return Estimate(value=statistic(np.ones(len(subjects))), low=float(low), high=float(high), n=len(subjects))
