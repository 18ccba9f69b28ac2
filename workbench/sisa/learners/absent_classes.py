"""Classes that a shard's rows lack: the label space is the schema's, whatever a shard happens to hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.sisa.shard import Floats
from workbench.sisa.task import Task


def with_absent_classes(target: Floats, task: Task) -> tuple[Any, Floats, Floats | None]:
    """Which rows to learn from, their labels and weights: copies of the rows, of weight 1 in all, for each class they lack.

    A learner would otherwise find such a class impossible (LightGBM gives it a log-odds of -34, which later slices cannot
    undo; logistic regression never comes to its end); with them it has the smoothed probability 1 / (n + 1) everywhere.
    Several such classes share out the rows, so that these at most double. What is added depends on the rows given alone, so
    erasures stay exact.
    """
    absent = [k for k in range(len(task.labels)) if not (target == k).any()]
    if not absent:
        return slice(None), target, None
    n = len(target)
    copied = [np.arange(place % n, n, len(absent)) for place in range(len(absent))]
    rows = np.concatenate([np.arange(n), *copied])
    labels = [target, *(np.full(len(own), k, dtype=float) for own, k in zip(copied, absent, strict=True))]
    weights = [np.ones(n), *(np.full(len(own), 1 / len(own)) for own in copied)]
    return rows, np.concatenate(labels), np.concatenate(weights)
