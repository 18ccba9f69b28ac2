"""Training a shard slice by slice, from the start or from any of its checkpoints (Bourtoule et al. 2021, §IV).

The checkpoint after slice r is a function of the config, the public schema, the placement and the records of slices 1..r
alone. Erasing a subject of slice r therefore leaves the checkpoints before r valid, and retraining from there onward gives
to the last bit what training from scratch on the remaining records gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from workbench.config import TrainConfig
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.sisa.task import Task, task_of

ReadObject = Callable[[str], bytes]


def learner_of(config: TrainConfig) -> GradientBoosting:
    """The learner that a config names."""
    return GradientBoosting(
        rounds=config.rounds,
        learning_rate=config.learning_rate,
        leaves=config.leaves,
        min_rows_per_leaf=config.min_rows_per_leaf,
    )


def partition_of(config: TrainConfig) -> Partition:
    """The partition that a config asks for."""
    return Partition(n_shards=config.shards, n_slices=config.slices)


def slice_seed(seed: int, shard: int, slice_number: int) -> int:
    """A seed below 2**31 for one slice of one shard: neighbouring seeds share nothing."""
    digest = hashlib.sha256(f"{seed}/{shard}/{slice_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def train_shard(
    records: Dataset, config: TrainConfig, *, shard: int, first_slice: int = 0, checkpoint: bytes | None = None
) -> Iterator[bytes | None]:
    """Trains slices `first_slice`.. of a shard on its `records`, going on from `checkpoint`; yields each slice's model.

    `records` are all records of the shard. A model is None while slices so far hold no record. A slice without records of
    its own still gets its rounds on those before it.
    """
    task, learner = task_of(records.schema), learner_of(config)
    slices = partition_of(config).slice_of(records.slice_points)
    model = checkpoint
    for slice_number in range(first_slice, config.slices):
        seen = records.rows(slices <= slice_number)
        rounds = learner.rounds_of_slice(slice_number, config.slices)
        if len(seen) and rounds:
            model = _fit(learner, seen, task, model, rounds, slice_seed(config.seed, shard, slice_number))
        yield model


def _fit(learner: GradientBoosting, seen: Dataset, task: Task, model: bytes | None, rounds: int, seed: int) -> bytes:
    return learner.fit(seen.features, seen.target, task=task, resume=model, rounds=rounds, seed=seed)
