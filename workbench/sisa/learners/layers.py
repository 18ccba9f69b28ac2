"""The layers of a small network whose weights lie in one vector, so that many networks are one matrix.

A layer is a matrix [inputs, units] and no more: the last input of the first one, and the first unit of every hidden one, is
always 1, so that its weights are the next layer's offsets. This file does not need torch: predicting is numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from workbench.sisa.learners.design import Design, Vectors
from workbench.sisa.link import logistic, softmax
from workbench.sisa.shard import Floats
from workbench.sisa.task import Task

# Weights are padded to a multiple of it: where one network's end is never depends on how many others lie beside it.
_STRIDE = 64


@dataclass(frozen=True)
class Layers:
    """How many inputs there are, how many units each layer has, and where its weights lie in the vector.

    There are at least two outputs: a matrix of one column is multiplied by other kernels, to other bits, where it is alone.
    """

    widths: tuple[int, ...]

    @cached_property
    def parts(self) -> tuple[tuple[int, int, int, int], ...]:
        """Per layer: from where to where its weights lie, its inputs and its units."""
        ends = np.cumsum([inputs * units for inputs, units in pairwise(self.widths)]).tolist()
        return tuple(
            (end - inputs * units, end, inputs, units)
            for end, (inputs, units) in zip(ends, pairwise(self.widths), strict=True)
        )

    @property
    def size(self) -> int:
        """The length of the vector."""
        return -(-self.parts[-1][1] // _STRIDE) * _STRIDE

    def matrices(self, weights: Any) -> list[Any]:
        """Each layer's matrices [k, inputs, units] of weights [k, size]: views, of an array or of a tensor."""
        return [weights[:, start:end].reshape(-1, inputs, units) for start, end, inputs, units in self.parts]

    def start(self, active: int, seed: int) -> Vectors:
        """Random weights [size] to begin with; of a row's inputs about `active` are not 0."""
        rng, weights = np.random.default_rng(seed), np.zeros((1, self.size), dtype=np.float32)
        matrices = self.matrices(weights)
        for matrix in matrices[:-1]:
            fan = active if matrix is matrices[0] else matrix.shape[1]
            matrix[:] = rng.uniform(-1, 1, matrix.shape) * np.sqrt(3 / fan)
        return np.asarray(weights[0])

    def outputs(self, weights: Vectors, inputs: Vectors) -> Floats:
        """Outputs [n, outputs] of inputs [n, width]."""
        (*hidden, last) = (matrix[0] for matrix in self.matrices(weights[None]))
        values = inputs
        for matrix in hidden:
            values = np.maximum(values @ matrix, 0)
            values[:, 0] = 1
        return np.asarray(values @ last, dtype=np.float64)


def layers_of(task: Task, hidden: tuple[int, ...]) -> Layers:
    """The layers for a task: one output per class; of two classes or a number the first output tells, the second is unused."""
    return Layers((inputs_width(task), *hidden, max(2, task.n_classes)))


def inputs_width(task: Task) -> int:
    """How many inputs a row gives: its vector, and the last one."""
    return Design(task.columns).width + 1


def inputs_of(features: Floats, task: Task) -> Vectors:
    """The inputs [n, width] of encoded features: their vectors, and the last one, which is always 1."""
    inputs = np.zeros((len(features), inputs_width(task)), dtype=np.float32)
    write_inputs(features, task, inputs)
    return inputs


def write_inputs(features: Floats, task: Task, inputs: Vectors) -> None:
    """Writes the inputs into zeros [n, width]."""
    Design(task.columns).write(features, inputs)
    inputs[:, -1] = 1


def targets_of(target: Floats, task: Task) -> Vectors:
    """What the outputs [n, outputs] should mean: chances 1 and 0, or a number between -1 and 1; the unused one nothing."""
    targets = np.zeros((len(target), max(2, task.n_classes)), dtype=np.float32)
    if task.kind == "multiclass":
        targets[np.arange(len(target)), target.astype(np.int64)] = 1
    elif task.kind == "binary":
        targets[:] = np.column_stack([target, np.full(len(target), 0.5)])
    else:
        low, high = task.target.low, task.target.high
        targets[:, 0] = (np.clip(target, low, high) - low) * 2 / _span(task) - 1
    return targets


def answer(outputs: Floats, task: Task) -> Floats:
    """What the outputs [n, outputs] mean: class probabilities [n, K], or values [n, 1] within the public bounds."""
    if task.kind == "regression":
        return task.target.low + (np.clip(outputs[:, :1], -1, 1) + 1) / 2 * _span(task)
    return logistic(outputs[:, 0]) if task.kind == "binary" else softmax(outputs)


def _span(task: Task) -> float:
    return (task.target.high - task.target.low) or 1.0
