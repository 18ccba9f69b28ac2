"""What a learner is given of one shard, and what it gives back slice by slice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.data.identity import Points
from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.sisa.task import Task

if TYPE_CHECKING:  # for start-up: a second that only private learners need
    from workbench.privacy.events import Event

Floats = npt.NDArray[np.float64]
# A shard's number, a slice's number and the model of the slices up to it; None while those hold no record.
Step = tuple[int, int, bytes | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """All records of a shard in canonical order, the slice of each, and from where to train.

    `points` are the subjects' places: equal points, one subject. Training begins with slice `first` (from 0), where
    `checkpoint` is the model of the slices before it, None where those hold no record. `seed` is the ensemble's.
    """

    number: int
    features: Floats
    target: Floats
    points: Points
    slices: npt.NDArray[np.int64]
    n_slices: int
    seed: int
    first: int = 0
    checkpoint: bytes | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.target).all():  # a schema's bounds let none through; a table of another making could
            raise InputError(
                "a target is infinite or missing: nothing can be learnt from it", hint="leave those rows out"
            )

    def __len__(self) -> int:
        return len(self.features)

    def seen(self, slice_number: int) -> npt.NDArray[np.intp]:
        """The rows of slices 0..slice_number: all that the model after that slice may depend on."""
        return np.flatnonzero(self.slices <= slice_number)

    def seed_of(self, slice_number: int) -> int:
        """A seed below 2**31 for one slice: neighbouring seeds share nothing."""
        return slice_seed(self.seed, self.number, slice_number)


def shard_of(
    records: Dataset, partition: Partition, *, number: int, seed: int, first: int = 0, checkpoint: bytes | None = None
) -> Shard:
    """The shard whose records, all of them, are given."""
    return Shard(
        number=number,
        features=records.features,
        target=records.target,
        points=records.points,
        slices=partition.slice_of(records.slice_points),
        n_slices=partition.n_slices,
        seed=seed,
        first=first,
        checkpoint=checkpoint,
    )


def slice_seed(seed: int, shard: int, slice_number: int) -> int:
    """A seed below 2**31 for one slice of one shard: neighbouring seeds share nothing."""
    digest = hashlib.sha256(f"{seed}/{shard}/{slice_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class Learner(Protocol):
    """What trains constituents and predicts with them; its fields are public settings. What else it is says its spec.

    Guarantees of every learner that is not private:
      - the model after slice r is a function of the settings, the task, the shard's number and seed, and the rows of
        slices 0..r, to the last bit, on one platform and set of libraries: going on from any checkpoint gives the bytes
        that training from nothing gives, whichever other shards are trained beside it
      - a model is None while the slices so far hold no record; a slice without records of its own is trained on those
        before it
    """

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard from its first slice on; yields the model after each slice, a shard's in their order."""

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression; InputError for a damaged model."""


class PrivateLearner(Learner, Protocol):
    """A learner whose training is differentially private; what it promises holds in place of the sameness of models."""

    @property
    def event(self) -> Event:
        """What training one shard costs its subjects, to be charged before it."""


def fit_whole(learner: Learner, features: Floats, target: Floats, *, task: Task) -> bytes:
    """The model of rows that no shard and no slice divides; there must be one."""
    nowhere = np.zeros(len(features), dtype=np.uint64)
    shard = Shard(
        number=0,
        features=features,
        target=target,
        points=nowhere,
        slices=nowhere.astype(np.int64),
        n_slices=1,
        seed=0,
    )
    ((_, _, model),) = learner.train([shard], task=task)
    assert model is not None
    return model
