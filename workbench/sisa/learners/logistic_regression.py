"""Logistic regression (scikit-learn) on vectors of the public schema, kept as safetensors.

A slice begins at the weights of the one before it. Training is a function of the rows so far and those weights; a slice that
adds little moves them little, so that it takes fewer steps than to start from nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression as Estimator

from workbench.sisa.learners.absent_classes import with_absent_classes
from workbench.sisa.learners.design import Design
from workbench.sisa.learners.one_thread import one_thread
from workbench.sisa.learners.tensors import Array, from_bytes, to_bytes
from workbench.sisa.link import logistic, softmax
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

_MOST_STEPS = 100
_MOST_WEIGHTS = 1000  # for Newton's method, which squares them


@dataclass(frozen=True, kw_only=True)
class LogisticRegression:
    """Multinomial logistic regression with an L2 `penalty` on the sum of the rows' losses."""

    penalty: float

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard slice by slice; see `Learner`."""
        task.require("binary", "multiclass", learner="logistic_regression")
        design = Design(task.columns)
        for shard in shards:
            vectors = design.matrix(shard.features).astype(np.float64)
            weights = None if shard.checkpoint is None else _weights(shard.checkpoint, design, task)
            for slice_number in range(shard.first, shard.n_slices):
                rows = shard.seen(slice_number)
                if len(rows):
                    weights = self._fit(vectors[rows], shard.target[rows], weights, task)
                yield shard.number, slice_number, None if weights is None else to_bytes(**weights)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K]."""
        design = Design(task.columns)
        weights = _weights(model, design, task)
        with one_thread():
            scores = design.matrix(features).astype(np.float64) @ weights["coefficients"].T + weights["intercepts"]
        return logistic(scores[:, 0]) if task.kind == "binary" else softmax(scores)

    def _fit(self, vectors: Floats, target: Floats, start: dict[str, Array] | None, task: Task) -> dict[str, Array]:
        rows, target, sample_weight = with_absent_classes(target, task)
        wide = vectors.shape[1] * task.n_classes > _MOST_WEIGHTS
        solver = "lbfgs" if wide else "newton-cholesky"
        estimator = Estimator(C=1 / self.penalty, solver=solver, max_iter=_MOST_STEPS, warm_start=True)
        if start is not None:
            estimator.coef_, estimator.intercept_ = start["coefficients"].copy(), start["intercepts"].copy()
        # Matrix products differ in their last bits by the number of threads
        with warnings.catch_warnings(action="ignore"), one_thread():
            estimator.fit(vectors[rows], target, sample_weight=sample_weight)
        return {"coefficients": estimator.coef_, "intercepts": estimator.intercept_}


def _weights(model: bytes, design: Design, task: Task) -> dict[str, Any]:
    rows = task.n_classes if task.kind == "multiclass" else 1
    forms = {"coefficients": np.zeros((rows, design.width)), "intercepts": np.zeros(rows)}
    return from_bytes(model, "logistic regression", **forms)
