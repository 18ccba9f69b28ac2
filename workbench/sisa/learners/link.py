"""From a model's scores to class probabilities."""

from __future__ import annotations

import numpy as np

from workbench.sisa.shard import Floats


def probabilities(scores: Floats) -> Floats:
    """Return class probabilities [n, K]: softmax of scores [n, K], the logistic function of scores [n, 1] of two classes."""
    from scipy.special import expit, softmax  # half a second of start-up

    if scores.shape[1] == 1:
        return np.column_stack([expit(-scores), expit(scores)])
    return np.asarray(softmax(scores, axis=1))
