"""A small network of linear layers (multi-layer perceptron), trained slice by slice; many shards in one pass.

A checkpoint holds the weights and Adam's averages (safetensors: no pickle). Predicting is numpy: it does not wait for torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.sisa.learners.layers import Layers, answer, inputs_of, layers_of
from workbench.sisa.learners.saved_network import load_network, save_network
from workbench.sisa.learners.visit_order import NOBODY, passes_of, visits
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

if TYPE_CHECKING:
    from workbench.sisa.learners.vectorised_training import Course, Lap, State

# Shards trained in one pass, at most: what they have in hand at once should fit into a processor's cache
_TOGETHER = 32
_VECTORS = ("weights", "mean", "square")


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Linear layers with ReLU between them, trained by Adam with decoupled weight decay."""

    hidden: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains all shards in one pass, each to the bits it has alone; see `Learner`."""
        for shard in shards:
            for slice_number in range(shard.first, shard.n_slices):
                if not len(shard.seen(slice_number)):
                    yield shard.number, slice_number, None
        filled = sorted((shard for shard in shards if len(shard)), key=len)
        for first in range(0, len(filled), _TOGETHER):
            yield from self._train(filled[first : first + _TOGETHER], task)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        layers = layers_of(task, self.hidden)
        vectors, _ = load_network(model, layers, _VECTORS)
        return answer(layers.outputs(vectors["weights"], inputs_of(features, task)), task)

    def _train(self, shards: Sequence[Shard], task: Task) -> Iterator[Step]:
        from workbench.sisa.learners.vectorised_training import run, table_of

        layers, table = layers_of(task, self.hidden), table_of(shards, task)
        starts = np.cumsum([0, *map(len, shards)])[:-1].tolist()
        courses = [self._course(shard, start, layers, task) for shard, start in zip(shards, starts, strict=True)]
        steps = run(courses, table, layers, rate=self.learning_rate, decay=self.weight_decay)
        for number, slice_number, state in steps:
            vectors = {name: getattr(state, name) for name in _VECTORS}
            yield number, slice_number, save_network(vectors, layers, steps=state.steps)

    def _course(self, shard: Shard, start: int, layers: Layers, task: Task) -> Course:
        """A shard's way, whose rows are in the table from `start` on."""
        from workbench.sisa.learners.vectorised_training import Course

        slices = range(shard.first, shard.n_slices)
        steps = sum(passes_of(self.epochs, r, shard.n_slices) * -(-len(shard.seen(r)) // self.batch) for r in slices)
        state = _begun(shard, layers, task) if shard.checkpoint is None else _resumed(shard.checkpoint, layers)
        return Course(number=shard.number, start=state, laps=self._laps(shard, start), steps=steps)

    def _laps(self, shard: Shard, start: int) -> Iterator[Lap]:
        from workbench.sisa.learners.vectorised_training import Lap

        for slice_number, batches in visits(shard, passes=self.epochs, size=self.batch):
            yield Lap(slice_number=slice_number, batches=np.where(batches == NOBODY, NOBODY, batches + start))


def _begun(shard: Shard, layers: Layers, task: Task) -> State:
    from workbench.sisa.learners.vectorised_training import State

    weights = layers.start(len(task.columns) + 1, shard.seed_of(0))
    return State(weights=weights, mean=np.zeros_like(weights), square=np.zeros_like(weights), steps=0)


def _resumed(checkpoint: bytes, layers: Layers) -> State:
    from workbench.sisa.learners.vectorised_training import State

    vectors, steps = load_network(checkpoint, layers, _VECTORS)
    return State(**vectors, steps=steps)
