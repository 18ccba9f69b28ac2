"""How well predictions fit a holdout, with intervals that resample subjects (not rows: a person's rows are not independent)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.roc_ranking import Ranked

Floats = npt.NDArray[np.float64]
# A figure of the weights [n] of rows.
Statistic = Callable[[Floats], float]

CALIBRATION_BINS = 15


def predictive(kind: str, truth: Floats, predicted: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """The metrics of a kind of task, for class probabilities [n, K], or values [n, 1] where it is `regression`."""
    if kind == "regression":
        return regression(truth, predicted[:, 0], subjects)
    return classification(truth, predicted, subjects)


def classification(truth: Floats, probabilities: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """AUC (two classes; more: mean of one-against-rest) and accuracy of `probabilities` [n, K] against codes `truth` [n].

    AUC is left out where the holdout lacks a class. Range [0, 1], higher is better.
    """
    figures = {"accuracy": accuracy(truth, probabilities), "auc": auc(truth, probabilities)}
    return {name: bootstrap(figure, subjects) for name, figure in figures.items() if figure is not None}


def regression(truth: Floats, predictions: Floats, subjects: npt.NDArray[np.uint64]) -> dict[str, Estimate]:
    """R² and root mean squared error of `predictions` [n] against `truth` [n]. R²: at most 1, higher is better.

    R² is left out where the holdout's target is constant.
    """
    figures = {"r2": r2(truth, predictions), "rmse": rmse(truth, predictions)}
    return {name: bootstrap(figure, subjects) for name, figure in figures.items() if figure is not None}


def correlation(one: Floats, other: Floats) -> Floats:
    """The cosine of each row of two tables [k, n], which is the correlation of centred rows; NaN where a row is all 0."""
    products = [np.einsum("ij,ij->i", *pair) for pair in ((one, other), (one, one), (other, other))]
    with np.errstate(invalid="ignore"):
        return np.asarray(products[0] / np.sqrt(products[1] * products[2]))


def accuracy(truth: Floats, probabilities: Floats) -> Statistic:
    """The share of rows whose likeliest class is theirs. Range [0, 1], higher is better."""
    correct = (probabilities.argmax(axis=1) == truth.astype(np.int64)).astype(float)
    return lambda weights: float(np.average(correct, weights=weights))


def auc(truth: Floats, probabilities: Floats) -> Statistic | None:
    """The area under the ROC curve, for more than two classes the mean of one-against-rest; None where a class is absent.

    Range [0, 1], higher is better, 0.5 is guessing.
    """
    labels = truth.astype(np.int64)
    classes = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    if not all(0 < (labels == k).sum() < len(labels) for k in classes):
        return None
    ranked = [Ranked.of(probabilities[:, k], labels == k) for k in classes]
    return lambda weights: float(np.mean([r.auc(weights) for r in ranked]))


def f1(truth: Floats, probabilities: Floats) -> Statistic:
    """2 TP / (2 TP + FP + FN) of the second of two classes, for more the mean over those that are there.

    Range [0, 1], higher is better. What is likeliest is what is predicted. A class that no row with weight is of has nothing to
    hit: it is left out of the mean; of two classes it is NaN.
    """
    labels, guesses, k = truth.astype(np.int64), probabilities.argmax(axis=1), probabilities.shape[1]

    def figure(weights: Floats) -> float:
        counts = [np.bincount(codes, weights=w, minlength=k) for codes, w in _hits(labels, guesses, weights)]
        hits, there, guessed = counts
        each = np.divide(2 * hits, there + guessed, out=np.full(k, np.nan), where=there > 0)
        return float(each[1] if k == 2 else np.nanmean(each))

    return figure


def _hits(
    labels: npt.NDArray[np.int64], guesses: npt.NDArray[np.int64], weights: Floats
) -> tuple[tuple[npt.NDArray[np.int64], Floats], ...]:
    return (labels, weights * (labels == guesses)), (labels, weights), (guesses, weights)


def brier(truth: Floats, probabilities: Floats) -> Statistic:
    """The mean of (p - y)² of the second of two classes, for more the mean of Σ (p_k - y_k)² (Brier 1950). Lower is better.

    Range [0, 1], for more than two classes [0, 2].
    """
    squares = brier_losses(truth, probabilities)
    return lambda weights: float(np.average(squares, weights=weights))


def brier_losses(truth: Floats, probabilities: Floats) -> Floats:
    """The Brier score of each row [n]; of two classes that of the second alone."""
    squares = (probabilities - np.eye(probabilities.shape[1])[truth.astype(np.int64)]) ** 2
    return np.asarray(squares[:, 1] if probabilities.shape[1] == 2 else squares.sum(axis=1))


def calibration_error(truth: Floats, probabilities: Floats) -> Statistic:
    """Σ share of rows · |accuracy - mean confidence| over 15 equal bins of the likeliest class's probability.

    The expected calibration error (Guo et al. 2017, eq. 3). Range [0, 1], lower is better. Sampling alone makes it larger.
    """
    confidence, bins = probabilities.max(axis=1), CALIBRATION_BINS
    excess = confidence - (probabilities.argmax(axis=1) == truth.astype(np.int64))
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)  # a bin has its upper end
    return lambda weights: float(
        np.abs(np.bincount(places, weights=weights * excess, minlength=bins)).sum() / weights.sum()
    )


def r2(truth: Floats, predictions: Floats) -> Statistic | None:
    """1 - Σ(y - p)² / Σ(y - mean)²: at most 1, higher is better, 0 is the mean's; None where the truth is constant."""
    if not np.ptp(truth):
        return None
    squared = (truth - predictions) ** 2

    def figure(weights: Floats) -> float:
        mean = np.average(truth, weights=weights)
        variance = np.average((truth - mean) ** 2, weights=weights)
        return float(1 - np.average(squared, weights=weights) / variance) if variance else float("nan")

    return figure


def rmse(truth: Floats, predictions: Floats) -> Statistic:
    """The root mean squared error, in the target's units; lower is better."""
    squared = (truth - predictions) ** 2
    return lambda weights: float(np.sqrt(np.average(squared, weights=weights)))
