"""What the workflows of training and prediction return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from workbench.config import TrainConfig
from workbench.metrics.estimate import Estimate
from workbench.workflows.result import Result


@dataclass(frozen=True, kw_only=True)
class TrainedShard(Result):
    """A shard and the digest of its model, None where it has none."""

    shard: int
    digest: str | None


@dataclass(frozen=True, kw_only=True)
class TrainResult(Result):
    """The first version of an ensemble; `metrics` are those on the holdout, `training_seconds` the sum over all slices."""

    ensemble: str
    version: int
    constituents: tuple[TrainedShard, ...]
    metrics: Mapping[str, Estimate]
    mlflow_run: str
    training_seconds: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ShardProgress(Result):
    """How far a training is: by shard, and in `total`, how many slices are learnt and how many there are to learn."""

    shards: int
    slices: Mapping[int, tuple[int, int]]
    total: tuple[int, int]
    at_work: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PredictResult(Result):
    """A file of predictions, with one row for each row of the table."""

    ensemble: str
    path: Path
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PredictedRows(Result):
    """A record of predictions for each record of features, by the columns that `predict_frame` gives."""

    ensemble: str
    predictions: tuple[Mapping[str, str | float], ...]


@dataclass(frozen=True, kw_only=True)
class PartitionFigures(Result):
    """What an ensemble of so many shards and slices achieves on the holdout, and what it costs.

    `achieved` is the value of the advice's metric, with its interval; `lost` the difference to one shard of one slice. Seconds
    are those of training all, of one erasure and of a day's erasures; `cheaper` is how many times less one erasure takes.
    """

    shards: int
    slices: int
    metric: str
    achieved: float
    low: float
    high: float
    lost: float
    training_s: float
    one_request_s: float
    cheaper: float | None
    a_day_s: float
    stored_mb: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures, with what is achieved under the name of the metric."""
        names = {"achieved": self.metric}
        return {names.get(key, key): value for key, value in super().to_json().items() if key != "metric"}

    @classmethod
    def from_json(cls, figures: Mapping[str, Any], metric: str) -> PartitionFigures:
        """Return figures that were kept."""
        others = {key: value for key, value in figures.items() if key != metric}
        return cls(metric=metric, achieved=figures[metric], **others)


@dataclass(frozen=True, kw_only=True)
class RecommendedPartition(Result):
    """A number of shards, and of slices of each."""

    shards: int
    slices: int


@dataclass(frozen=True, kw_only=True)
class AdviceResult(Result):
    """What each number of shards and slices costs and loses, the recommended one and the config that has it.

    `made` is when the advice was kept, None where it was not.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"made"})

    dataset: str
    learner: str
    metric: str
    requests_a_day: float
    most_lost: float
    choices: tuple[PartitionFigures, ...]
    recommended: RecommendedPartition
    config: TrainConfig
    note: str
    made: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the advice as plain JSON values."""
        return super().to_json() | {"config": self.config.model_dump(mode="json", exclude_none=True)}

    @classmethod
    def from_json(cls, advice: Mapping[str, Any], *, made: str) -> AdviceResult:
        """Return an advice that was kept."""
        nested = {
            "choices": tuple(PartitionFigures.from_json(one, advice["metric"]) for one in advice["choices"]),
            "recommended": RecommendedPartition(**advice["recommended"]),
            "config": TrainConfig.model_validate(advice["config"]),
        }
        return cls(**{**advice, **nested}, made=made)
