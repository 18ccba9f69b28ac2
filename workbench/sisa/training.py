"""From a config to its learner and partition, and training a shard slice by slice (Bourtoule et al. 2021, §IV).

The checkpoint after slice r is a function of the config, the public schema, the placement and the records of slices 1..r
alone. Erasing a subject of slice r therefore leaves the checkpoints before r valid, and retraining from there onward gives
to the last bit what training from scratch on the remaining records gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workbench.config import TrainConfig
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.sisa.shard import Learner, shard_of
from workbench.sisa.task import Task, task_of


def _gradient_boosting(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.gradient_boosting import GradientBoosting

    return GradientBoosting(**settings)


def _logistic_regression(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.logistic_regression import LogisticRegression

    return LogisticRegression(**settings)


def _ridge(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.ridge import Ridge

    return Ridge(**settings)


def _naive_bayes(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.naive_bayes import NaiveBayes

    return NaiveBayes(**settings)


def _extra_trees(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.extra_trees import ExtraTrees

    return ExtraTrees(**settings)


def _sklearn(settings: Mapping[str, Any]) -> Learner:
    from workbench.sisa.learners.sklearn_estimators import SklearnEstimator

    return SklearnEstimator(**settings)


_LEARNERS: Mapping[str, Callable[[Mapping[str, Any]], Learner]] = {
    "gradient_boosting": _gradient_boosting,
    "logistic_regression": _logistic_regression,
    "ridge": _ridge,
    "naive_bayes": _naive_bayes,
    "extra_trees": _extra_trees,
    "sklearn": _sklearn,
}


# Learners that are another library's by name: whether they are deterministic is seen at their first use
DOUBTED = frozenset({"sklearn"})


def learner_of(config: TrainConfig) -> Learner:
    """The learner that a config names, with its settings."""
    return _LEARNERS[config.learner](config.settings)


def refuse_unsuited(config: TrainConfig, task: Task) -> None:
    """Raises InputError where a config asks for what its learner or its target can't give; no record is read."""
    for _ in learner_of(config).train([], task=task):
        pass
    if task.kind == "regression" and config.aggregation != "mean of probabilities":
        raise InputError(
            f"aggregation {config.aggregation!r} is of classes, and the target is a number: numbers are averaged",
            hint="leave out aggregation",
        )


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
