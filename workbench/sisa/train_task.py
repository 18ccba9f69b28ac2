"""Shards of one ensemble that are trained by one process: read, trained, handed back slice by slice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.data.store import Store
from workbench.sisa.shard import Step, shard_of
from workbench.sisa.task import task_of
from workbench.sisa.train_config import TrainConfig
from workbench.sisa.training import learner_of, partition_of


@dataclass(frozen=True, kw_only=True)
class Start:
    """From where a shard is trained: its first slice, and the model of the slices before it."""

    shard: int
    first: int
    checkpoint: bytes | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a process needs to know to train some shards."""

    store: Store
    config: TrainConfig
    starts: tuple[Start, ...]


def train_part(part: Part) -> Iterator[tuple[Step, float]]:
    """Reads the part's records and trains its shards; yields each slice's step and the seconds since the one before."""
    partition, learner, began = partition_of(part.config), learner_of(part.config), time.perf_counter()
    shards = [
        shard_of(
            part.store.read("train", partition.interval(start.shard)),
            partition,
            number=start.shard,
            seed=part.config.seed,
            first=start.first,
            checkpoint=start.checkpoint,
        )
        for start in part.starts
    ]
    for step in learner.train(shards, task=task_of(part.store.schema)):
        now = time.perf_counter()
        yield step, now - began
        began = now
