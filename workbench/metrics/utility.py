"""How well predictions fit a holdout, with intervals that resample subjects (not rows: a person's rows are not independent)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.ranked import Ranked

Floats = npt.NDArray[np.float64]


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
    estimates = {"accuracy": bootstrap(lambda w: float(np.average(correct, weights=w)), subjects)}
    classes = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    if all(0 < (labels == k).sum() < len(labels) for k in classes):
        ranked = [Ranked.of(probabilities[:, k], labels == k) for k in classes]
        estimates["auc"] = bootstrap(lambda w: float(np.mean([r.auc(w) for r in ranked])), subjects)
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

    estimates = {"rmse": bootstrap(lambda w: float(np.sqrt(np.average(squared, weights=w))), subjects)}
    return ({"r2": bootstrap(r2, subjects)} if np.ptp(truth) else {}) | estimates
