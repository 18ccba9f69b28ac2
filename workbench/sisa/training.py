"""From a config to its learner and partition, and training a shard slice by slice (Bourtoule et al. 2021, §IV).

The checkpoint after slice r is a function of the config, the public schema, the placement and the records of slices 1..r
alone. Erasing a subject of slice r therefore leaves the checkpoints before r valid, and retraining from there onward gives
to the last bit what training from scratch on the remaining records gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from workbench.config import TrainConfig
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.privacy.events import Event
from workbench.sisa.shard import Learner, shard_of
from workbench.sisa.task import Task, task_of

if TYPE_CHECKING:
    from workbench.sisa.learners.dp_mlp import DpMlp


# The learners' classes, imported when they are needed: torch alone takes seconds
_LEARNERS: Mapping[str, str] = {
    "gradient_boosting": "GradientBoosting",
    "mlp": "Mlp",
    "logistic_regression": "LogisticRegression",
    "ridge": "Ridge",
    "naive_bayes": "NaiveBayes",
    "extra_trees": "ExtraTrees",
    "sklearn": "SklearnEstimator",
    "dp_mlp": "DpMlp",
}
# Learners that are another library's by name: whether they are deterministic is seen at their first use
DOUBTED = frozenset({"sklearn"})


def learner_of(config: TrainConfig) -> Learner:
    """The learner that a config names, with its settings."""
    file = "sklearn_estimators" if config.learner == "sklearn" else config.learner
    learner: Learner = getattr(import_module(f"workbench.sisa.learners.{file}"), _LEARNERS[config.learner])(
        **config.settings
    )
    return learner


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
    return cast("DpMlp", learner_of(config)).event


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
