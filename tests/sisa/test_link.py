"""Scores become probabilities, whatever the number of classes."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.sisa.link import logistic, softmax


def test_a_class_alone_is_certain() -> None:
    assert softmax(np.array([[-3.0], [800.0]])).tolist() == [[1.0], [1.0]]


def test_two_classes_are_told_apart_by_one_score_as_by_two() -> None:
    scores = np.array([-800.0, -2.0, 0.0, 2.0, 800.0])
    assert logistic(scores) == pytest.approx(softmax(np.stack([np.zeros(5), scores], axis=1)))
