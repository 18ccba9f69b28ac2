"""Trial erasures: a subject's shard is trained without them in memory, and attacked before and after; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.config import TrainConfig, stored_config
from workbench.data.dataset import Dataset
from workbench.data.objects import Objects
from workbench.metrics.forgetting import Scores, lira, minus_squared_error, rmia, scaled_confidence, true_probability
from workbench.sisa.ensemble import Constituent, Manifest
from workbench.sisa.shard import Floats
from workbench.sisa.task import Task, task_of
from workbench.sisa.training import learner_of, train_shard
from workbench.state.atomic_files import sha256
from workbench.state.roles import internal

BEFORE, AFTER, SCRATCH = "before", "after", "from scratch"
FEWEST_POPULATION = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """Someone to be erased on trial: their rows, all in one place, with the home shard and slice.

    A living subject is among the records; a canary is not, and has to be learnt first.
    """

    living: bool
    rows: Dataset
    shard: int
    slice_number: int


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What models say of the true values of rows: confidences, and where they have any, the true labels' probabilities.

    Of one model [r], or of several [r, m].
    """

    confidence: Floats
    probability: Floats

    def __getitem__(self, part: slice) -> View:
        """The same of some of the rows."""
        return View(confidence=self.confidence[part], probability=self.probability[part])

    def by(self, models: Sequence[int]) -> View:
        """The same by some of the models."""
        return View(confidence=self.confidence[:, models], probability=self.probability[:, models])


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """What the constituents of some shards say of all subjects' rows, one subject after another, and of the population."""

    shards: tuple[int, ...]
    subjects: View
    population: View


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What a trial erasure showed: scores by moment and attack, and whether the retrained constituent is the exact one.

    `exact` is None where there was nothing to compare it with.
    """

    living: bool
    scores: Mapping[str, Mapping[str, Scores]]
    exact: bool | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Audited:
    """An ensemble's version, the records of its data set, and rows that none of its constituents saw.

    `stale` are shards that received rows since they were trained, or that other libraries trained.
    """

    manifest: Manifest
    stale: frozenset[int]
    objects: Objects
    records: Dataset
    population: Dataset

    @cached_property
    def config(self) -> TrainConfig:
        """What the constituents were trained by."""
        return stored_config(self.manifest.config, TrainConfig)

    @cached_property
    def task(self) -> Task:
        """What is predicted."""
        return task_of(self.records.schema)

    @cached_property
    def constituents(self) -> Mapping[int, Constituent]:
        """By shard, those that are not empty."""
        return {c.shard: c for c in self.manifest.constituents if c.digest is not None}

    @cached_property
    def homes(self) -> npt.NDArray[np.int64]:
        """The shard of each record."""
        return self.manifest.partition.shard_of(self.records.points)

    @property
    def no_rmia(self) -> str | None:
        """Why RMIA can't be computed, if it can't."""
        if self.task.kind == "regression":
            return "a regression gives no probability of the true value"
        few = len(self.population) < FEWEST_POPULATION
        return f"the holdout has fewer than {FEWEST_POPULATION} rows" if few else None

    def published(self, shard: int) -> bytes:
        """The constituent of a shard."""
        return self.objects.get(str(self.constituents[shard].digest))

    def trained(self, shard: int, records: Dataset, *, first: int) -> bytes:
        """The shard's model on `records`, going on from the last stored checkpoint before slice `first`."""
        first = self.manifest.restart(shard, first)
        checkpoint = self.constituents[shard].after(first - 1, self.objects.get) if first else None
        *_, model = train_shard(records, self.config, shard=shard, first_slice=first, checkpoint=checkpoint)
        assert model is not None  # somebody is left in the shard
        return model

    def view(self, model: bytes, rows: Dataset) -> View:
        """What a model says of rows; of a regression the probabilities are not a number."""
        if not len(rows):
            return View(confidence=np.empty(0), probability=np.empty(0))
        told = learner_of(self.config).predict(model, rows.features, task=self.task)
        if self.task.kind == "regression":
            return View(confidence=minus_squared_error(told, rows.target), probability=np.full(len(rows), np.nan))
        return View(confidence=scaled_confidence(told, rows.target), probability=true_probability(told, rows.target))


@internal
def references(audited: Audited, subjects: Sequence[Subject], shards: Sequence[int]) -> References:
    """What the published constituents of `shards` say."""
    everybody = Dataset(
        name=audited.records.name,
        schema=audited.records.schema,
        values=np.concatenate([subject.rows.values for subject in subjects]),
        points=np.concatenate([subject.rows.points for subject in subjects]),
        slice_points=np.concatenate([subject.rows.slice_points for subject in subjects]),
    )
    models = [audited.published(shard) for shard in shards]
    return References(
        shards=tuple(shards),
        subjects=_side_by_side([audited.view(model, everybody) for model in models]),
        population=_side_by_side([audited.view(model, audited.population) for model in models]),
    )


@internal
def trials(
    audited: Audited, subjects: Sequence[Subject], known: References, *, siblings: int, controls: frozenset[int]
) -> Iterator[Trial]:
    """Erases one subject after another, each from the whole ensemble; the `controls` (by place) also from scratch.

    Each is compared with `siblings` constituents other than that of the own shard.
    """
    end = 0
    for place, subject in enumerate(subjects):
        start, end = end, end + len(subject.rows)
        models = _models(audited, subject, control=place in controls)
        others = [m for m, shard in enumerate(known.shards) if shard != subject.shard][:siblings]
        own, population = known.subjects[start:end].by(others), known.population.by(others)
        yield Trial(
            living=subject.living,
            scores={
                moment: _attacked(audited, subject, model, own=own, population=population)
                for moment, model in models.items()
            },
            exact=_exact(audited, subject, models),
        )


def _models(audited: Audited, subject: Subject, *, control: bool) -> dict[str, bytes]:
    """The constituent of the subject's shard before the erasure and after it, and the one that never saw them."""
    shard, first = subject.shard, subject.slice_number
    inside = audited.records.rows(audited.homes == shard)
    left = inside.rows(inside.points != subject.rows.points[0])
    if subject.living:
        before = audited.published(shard)
    else:
        learnt = inside.joined(subject.rows.values, subject.rows.points, subject.rows.slice_points)
        before = audited.trained(shard, learnt, first=first)
    models = {BEFORE: before, AFTER: audited.trained(shard, left, first=first)}
    return models | ({SCRATCH: audited.trained(shard, left, first=0)} if control else {})


def _exact(audited: Audited, subject: Subject, models: Mapping[str, bytes]) -> bool | None:
    """Whether the retrained constituent is that of training from scratch; a canary's is the published one, too."""
    never = [sha256(models[SCRATCH])] if SCRATCH in models else []
    if not subject.living:
        never.append(str(audited.constituents[subject.shard].digest))
    return set(never) == {sha256(models[AFTER])} if never else None


def _attacked(audited: Audited, subject: Subject, model: bytes, *, own: View, population: View) -> dict[str, Scores]:
    """A subject's scores by each attack on a model of their shard, beside siblings that say `own` and `population`."""
    target = audited.view(model, subject.rows)
    scores = {"LiRA": lira(target.confidence, own.confidence)}
    if audited.no_rmia is None:
        seen = audited.view(model, audited.population)
        scores["RMIA"] = rmia(target.probability, own.probability, seen.probability, population.probability)
    return scores


def _side_by_side(views: Sequence[View]) -> View:
    return View(
        confidence=np.stack([view.confidence for view in views], axis=1),
        probability=np.stack([view.probability for view in views], axis=1),
    )
