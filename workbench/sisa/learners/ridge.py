"""Ridge regression from exact sums: a model is whole numbers, so that order, threads and slices change no bit of it.

A row's vector (`Design`) is rounded to 1/65,536, and its target to as much of 1/65,536 of the public bounds; the sums of all
products are integers. Matrix products in float64 are exact here: each block's sums stay below 2**53. Records can be unlearnt
by subtracting them, as from naive Bayes, and the pair of versions tells them just as well (docs/adr/0021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import DamagedError, InputError
from workbench.sisa.learners.design import Design
from workbench.sisa.learners.one_thread import one_thread
from workbench.sisa.learners.tensors import from_bytes, to_bytes
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

Sums = npt.NDArray[np.int64]

_UNIT = 2**16
_MOST_PLACES = 4096
_BLOCK_ROWS = 2**18  # products of two numbers up to 2**16: 2**32 * 2**18 < 2**53


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """Least squares with an L2 `penalty` on all weights but the intercept.

    The model's sums [w + 3, w + 3] are those of the products of the vectors' places, of one, and of the target's two parts.
    It holds the penalty too, since its answers follow from both: equal bytes, equal answers.
    """

    penalty: float

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Sums up each shard slice by slice; see `Learner`."""
        task.require("regression", learner="ridge")
        design = Design(task.columns)
        if design.width > _MOST_PLACES:
            raise InputError(
                f"ridge keeps the square of {design.width} places, which is too much: at most {_MOST_PLACES}",
                hint="declare fewer categories, or take another learner",
            )
        for shard in shards:
            sums = _nothing(design) if shard.checkpoint is None else self._sums(shard.checkpoint, design)
            for slice_number in range(shard.first, shard.n_slices):
                own = shard.slices == slice_number
                sums = sums + _sum(shard.features[own], shard.target[own], design, task)
                yield shard.number, slice_number, self._model(sums)

    def forget(self, model: bytes, features: Floats, target: Floats, *, task: Task) -> bytes | None:
        """The model of the rows but these, to the last bit; None where none is left. They must be among its rows."""
        design = Design(task.columns)
        sums = self._sums(model, design) - _sum(features, target, design, task)
        if (sums.diagonal() < 0).any():
            raise InputError("rows to forget are not among those that the model was trained on")
        return self._model(sums)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Predicted values [n, 1]."""
        weights, rows = self.weights(model, task=task), self.rows(features, task=task)
        with one_thread():
            scaled = rows[:, 1:] @ weights[1:] + weights[0]
        middle, half = _scale(task)
        return np.asarray(scaled * half + middle)[:, None]

    def rows(self, features: Floats, *, task: Task) -> Floats:
        """The rows [n, w + 1] as the equations see them: a one, then the places."""
        vectors = _whole(Design(task.columns).matrix(features)) / _UNIT
        return np.column_stack([np.ones(len(vectors)), vectors])

    def weights(self, model: bytes, *, task: Task) -> Floats:
        """The intercept and the weight of each place [w + 1], of a target that is scaled to [-1, 1]."""
        design = Design(task.columns)
        sums = self._sums(model, design) / _UNIT**2
        squares, products = sums[:-2, :-2], sums[:-2, -2] + sums[:-2, -1] / _UNIT
        penalties = np.append(np.full(design.width, self.penalty), 0.0)
        with one_thread():  # equations are solved with other last bits by two threads
            solved = np.linalg.solve(squares + np.diag(penalties), products)
        return np.roll(solved, 1)

    def _sums(self, model: bytes, design: Design) -> Sums:
        arrays = from_bytes(model, "ridge model", sums=_nothing(design), penalty=np.zeros(1))
        if arrays["penalty"][0] != self.penalty:
            raise DamagedError("a checkpoint is of a ridge model with another penalty", hint="train the ensemble again")
        return arrays["sums"]

    def _model(self, sums: Sums) -> bytes | None:
        return to_bytes(sums=sums, penalty=np.array([self.penalty])) if sums[-3, -3] else None


def _scale(task: Task) -> tuple[float, float]:
    """The middle of the target's bounds and half their distance: targets are measured by them."""
    low, high = task.target.low, task.target.high
    return low + (high - low) / 2, (high - low) / 2 or 1.0


def _whole(numbers: npt.NDArray[np.floating]) -> Floats:
    """Numbers from -1 to 1 in units: whole numbers, as floats."""
    return np.asarray(np.rint(numbers * float(_UNIT)), dtype=np.float64)


def _sum(features: Floats, target: Floats, design: Design, task: Task) -> Sums:
    middle, half = _scale(task)
    total = np.zeros((design.width + 3, design.width + 3), dtype=np.int64)
    for start in range(0, len(features), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        vectors = _whole(design.matrix(features[block]))
        ones = np.full(len(vectors), float(_UNIT))
        scaled = np.clip((target[block] - middle) / half, -1, 1)
        high = _whole(scaled)
        rows = np.column_stack([vectors, ones, high, _whole(scaled * _UNIT - high)])
        total += (rows.T @ rows).astype(np.int64)
    return total


def _nothing(design: Design) -> Sums:
    return np.zeros((design.width + 3, design.width + 3), dtype=np.int64)
