"""Scores that ought to be high for some rows and low for the others: how well they part them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Ranked:
    """Scores sorted once, so that each bootstrap replicate of a figure is one pass over weights."""

    def __init__(
        self, order: npt.NDArray[np.intp], ties: npt.NDArray[np.intp], positive: npt.NDArray[np.bool_]
    ) -> None:
        self._order, self._ties, self._positive = order, ties, positive

    @classmethod
    def of(cls, scores: Floats, positive: npt.NDArray[np.bool_]) -> Ranked:
        """The scores, with which of them ought to be high."""
        order = np.argsort(scores, kind="stable")
        ties = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
        return cls(order, ties, positive[order])

    def auc(self, weights: Floats) -> float:
        """Weighted Mann-Whitney statistic, ties counting half; NaN where a class has no weight."""
        positive, negative = self._sums(weights)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")

    def tpr(self, weights: Floats, *, fpr: float) -> float:
        """The largest weighted share of positives above a threshold that at most `fpr` of the negatives are above.

        NaN where a class has no weight. No threshold parts tied scores, so less than `fpr` of the negatives may be above it.
        """
        positive, negative = self._sums(weights)
        if not positive.sum() or not negative.sum():
            return float("nan")
        above = np.cumsum(negative[::-1]) <= fpr * negative.sum() * (1 + 1e-12)
        return float(positive[::-1][above].sum() / positive.sum())

    def roc(self) -> tuple[Floats, Floats]:
        """The false and the true positive rate at each threshold, from (0, 0) to (1, 1); both rise."""
        positive, negative = self._sums(np.ones(len(self._order)))
        false, true = (np.r_[0.0, np.cumsum(each[::-1])] for each in (negative, positive))
        return false / false[-1], true / true[-1]

    def _sums(self, weights: Floats) -> tuple[Floats, Floats]:
        """The weight of positives and of negatives at each score, lowest score first."""
        weights = weights[self._order]
        positive = np.add.reduceat(np.where(self._positive, weights, 0.0), self._ties)
        negative = np.add.reduceat(np.where(self._positive, 0.0, weights), self._ties)
        return positive, negative
