"""From a model's scores to class probabilities; SciPy's functions are imported by need, half a second of start-up."""

from __future__ import annotations

import numpy as np

from workbench.sisa.shard import Floats


def logistic(scores: Floats) -> Floats:
    """Return the probabilities [n, 2] of two classes, by the scores [n] of the second."""
    from scipy.special import expit

    return np.column_stack([expit(-scores), expit(scores)])


def softmax(scores: Floats) -> Floats:
    """Return the probabilities [n, K] of classes by their scores [n, K]."""
    from scipy.special import softmax as probabilities

    return np.asarray(probabilities(scores, axis=1))
