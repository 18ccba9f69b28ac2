"""From a config to its learner and partition, and training a shard slice by slice (Bourtoule et al. 2021, §IV).

The checkpoint after slice r is a function of the config, the public schema, the placement and the records of slices 1..r
alone. Erasing a subject of slice r therefore leaves the checkpoints before r valid, and retraining from there onward gives
to the last bit what training from scratch on the remaining records gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.sisa.shard import Learner, PrivateLearner, shard_of
from workbench.sisa.task import Task, task_of
from workbench.sisa.train_config import TrainConfig

if TYPE_CHECKING:
    from workbench.privacy.events import Event


def learner_of(config: TrainConfig) -> Learner:
    """Return the learner that a config names, with its settings."""
    return config.spec.make(**config.settings)


def refuse_unsuited(config: TrainConfig, task: Task) -> None:
    """Raises InputError where a config asks for what its learner or its target can't give; no record is read."""
    for _ in learner_of(config).train([], task=task):
        pass
    if task.kind == "regression" and config.aggregation != "mean of probabilities":
        raise InputError(
            f"aggregation {config.aggregation!r} is of classes, and the target is a number: numbers are averaged",
            hint="leave out aggregation",
        )


def event_of(config: TrainConfig) -> Event:
    """What training one shard costs its subjects, where the config names a private learner."""
    return cast(PrivateLearner, learner_of(config)).event


def partition_of(config: TrainConfig) -> Partition:
    """The partition that a config asks for."""
    return Partition(n_shards=config.shards, n_slices=config.slices)


def train_shard(
    records: Dataset, config: TrainConfig, *, shard: int, first_slice: int = 0, checkpoint: bytes | None = None
) -> Iterator[bytes | None]:
    """Trains slices `first_slice`.. of a shard on its `records`, going on from `checkpoint`; yields each slice's model.

    `records` are all records of the shard. A model is None while slices so far hold no record. A slice without records of
    its own still gets its rounds on those before it.
    """
    whole = shard_of(
        records, partition_of(config), number=shard, seed=config.seed, first=first_slice, checkpoint=checkpoint
    )
    for _, _, model in learner_of(config).train([whole], task=task_of(records.schema)):
        yield model
