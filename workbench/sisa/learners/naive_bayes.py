"""Naive Bayes over public cells: a model is whole numbers, so that a record is unlearnt by subtracting it.

A pair of versions, before and after an erasure, tells the row that was erased: the difference *is* the row. A version that
was superseded is purged at once and never answers again; this is what `forget` relies on (docs/adr/0021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import DamagedError, InputError
from workbench.sisa.learners.cells import Cells, cells_of
from workbench.sisa.learners.tensors import from_bytes, to_bytes
from workbench.sisa.link import softmax
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class NaiveBayes:
    """Counts of classes, and in each class of every column's cells; `smoothing` is added to each (Laplace).

    The counts [K, 1 + cells] have each class's number of rows first. A model holds `smoothing` too, since its answers follow
    from both: equal bytes, equal answers.
    """

    smoothing: float

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Counts each shard slice by slice; see `Learner`."""
        task.require("binary", "multiclass", learner="naive_bayes")
        for shard in shards:
            cells = cells_of(task.columns)
            counts = _nothing(cells, task) if shard.checkpoint is None else self._counts(shard.checkpoint, cells, task)
            for slice_number in range(shard.first, shard.n_slices):
                own = shard.slices == slice_number
                counts = counts + _count(shard.features[own], shard.target[own], cells, task)
                yield shard.number, slice_number, self._model(counts)

    def forget(self, model: bytes, features: Floats, target: Floats, *, task: Task) -> bytes | None:
        """The model of the rows but these, to the last bit; None where none is left. They must be among its rows."""
        cells = cells_of(task.columns)
        counts = self._counts(model, cells, task) - _count(features, target, cells, task)
        if (counts < 0).any():
            raise InputError("rows to forget are not among those that the model was trained on")
        return self._model(counts)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K]."""
        cells = cells_of(task.columns)
        counts = self._counts(model, cells, task)
        of_class, of_cell = counts[:, :1], counts[:, 1:]
        prior = np.log(of_class + self.smoothing) - np.log(of_class.sum() + self.smoothing * len(counts))
        sizes = np.repeat(cells.sizes, cells.sizes)
        logs = np.log(of_cell + self.smoothing) - np.log(of_class + self.smoothing * sizes)
        joint = np.repeat(prior, len(features), axis=1)
        for places in cells.places(features).T:
            joint += logs[:, places]
        return softmax(joint.T)

    def _counts(self, model: bytes, cells: Cells, task: Task) -> Counts:
        forms = {"counts": _nothing(cells, task), "smoothing": np.zeros(1)}
        arrays = from_bytes(model, "naive Bayes model", **forms)
        if arrays["smoothing"][0] != self.smoothing:
            raise DamagedError(
                "a checkpoint is of a naive Bayes model with another smoothing", hint="train the ensemble again"
            )
        return arrays["counts"]

    def _model(self, counts: Counts) -> bytes | None:
        return to_bytes(counts=counts, smoothing=np.array([self.smoothing])) if counts[:, 0].any() else None


def _nothing(cells: Cells, task: Task) -> Counts:
    return np.zeros((task.n_classes, 1 + cells.width), dtype=np.int64)


def _count(features: Floats, target: Floats, cells: Cells, task: Task) -> Counts:
    classes = target.astype(np.int64)[:, None] * (1 + cells.width)
    places = np.concatenate([classes, classes + 1 + cells.places(features)], axis=1)
    return np.bincount(places.ravel(), minlength=task.n_classes * (1 + cells.width)).reshape(task.n_classes, -1)
