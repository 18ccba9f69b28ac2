"""Extremely randomised trees (Geurts et al. 2006) on public codes: scikit-learn's, with settings of the workbench's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.sisa.learners.sklearn_estimators import SklearnEstimator
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

_FEATURES_PER_SPLIT = 0.5  # docs/adr/0021


@dataclass(frozen=True, kw_only=True)
class ExtraTrees:
    """A forest is grown at once: each slice has one of its own, so that a shard is best left in one slice."""

    trees: int
    min_rows_per_leaf: int

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard, for every slice from the shard's start; see `Learner`."""
        return self._forest.train(shards, task=task)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        return self._forest.predict(model, features, task=task)

    @property
    def _forest(self) -> SklearnEstimator:
        return SklearnEstimator(
            estimator="ExtraTrees",
            parameters={
                "n_estimators": self.trees,
                "min_samples_leaf": self.min_rows_per_leaf,
                "max_features": _FEATURES_PER_SPLIT,
            },
        )
