"""What `workbench train` reads: a partition, a learner by name, and the settings that the learners of the registry take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, FiniteFloat, StrictInt, model_validator

from workbench.described import Described
from workbench.sisa.learners.registry import LEARNERS, LearnerSpec
from workbench.specs import SpecFields

_FEW_ROWS = 10_000


class TrainConfig(Described):
    """What `workbench train` reads: a SISA ensemble's partition, its learner and the learner's settings.

    Every field is public and independent of the data, so that erasures never change what a shard's training depends on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    learner: str
    """What each shard's model is. `gradient_boosting` is the first choice, `naive_bayes` erases in no time,
    `dp_mlp` is private.
    """
    dataset: str
    """The data set to learn from, by the name it was taken in under; its schema names the target."""
    shards: Annotated[StrictInt, Field(ge=1, le=65536)]
    """Parts that people are spread over, each with a model of its own. An erasure trains one part again: more of
    them make it cheaper, and cost some accuracy. `workbench train --advise` compares.
    """
    slices: Annotated[StrictInt, Field(ge=1, le=4096)]
    """Steps that a shard is learnt in, with a checkpoint after each, so that an erasure can begin at the person's
    slice. 1 where the learner can't go on from a checkpoint.
    """
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    """Equal seeds give equal models, to the bit."""
    rows: Annotated[StrictInt, Field(ge=1)] | None = None
    """About how many records there are to train on: a declared number, never a count. Settings that are not given
    follow from it: small shards get settings of their own. `dp_mlp` needs it, for its steps follow from it.
    """
    keep_every: Annotated[StrictInt, Field(ge=1, le=4096)] = 1
    """Store the checkpoints of every k-th slice and of the last alone: a k-th of the space, and an erasure begins
    up to k - 1 slices earlier. Trees lie in one file a shard whatever it is.
    """
    answers: Literal["probabilities", "labels"] = "probabilities"
    """What the ensemble tells its clients: the probability of each label, or labels alone, which tell outsiders
    less about single people.
    """
    aggregation: Literal["mean of probabilities", "mean of logits", "majority"] = "mean of probabilities"
    """How the shards' answers become one. With `majority` a tie goes to the class that the schema lists first."""
    informed_by: str | None = None
    """The data set whose rows were looked at to choose this config; `--advise` writes it. Such a choice is outside
    the promise of exactness, for it may depend on people who are erased later.
    """
    epsilon: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What the whole ensemble costs, once, as no person is in two shards; an erasure charges its shard again."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How likely the guarantee of epsilon may fail: well under one over the number of people."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Fills in what is not given, so that a manifest says all that its training depended on."""
        if not isinstance(given, Mapping) or given.get("learner") not in LEARNERS.names():
            return given
        return {**_settings_of(given), **{name: value for name, value in given.items() if value is not None}}

    @model_validator(mode="after")
    def _asks_for_what_there_is(self) -> Self:
        for name, takers in sorted(_FIELDS.takers().items()):
            if getattr(self, name) is not None and self.learner not in takers:
                raise ValueError(f"{name} is for {', '.join(takers)}, not for {self.learner}")
        if self.private:
            self._check_private()
        elif not self.spec.resumes and self.slices > 1:
            raise ValueError(
                f"{self.learner} can't go on from a slice: it is trained again from its shard's start, so write slices: 1"
            )
        self.spec.settings.of(self).check(self.slices)
        return self

    def _check_private(self) -> None:
        if self.epsilon is None or self.delta is None:
            raise ValueError(f"{self.learner} is differentially private: give epsilon and delta")
        if self.slices != 1:
            raise ValueError(f"{self.learner} trains a shard in one slice: each more would be charged like a training")
        if self.rows is None or self.rows < self.shards:
            raise ValueError(
                f"{self.learner} counts nobody: declare about how many rows there are, one per shard at least"
            )

    @property
    def spec(self) -> LearnerSpec:
        """The learner's spec."""
        return LEARNERS[self.learner]

    @property
    def private(self) -> bool:
        """Whether the learner is differentially private."""
        return self.spec.private

    def keeps(self, slice_number: int) -> bool:
        """Whether the checkpoint after a slice is stored, or only known by its digest."""
        return (slice_number + 1) % self.keep_every == 0 or slice_number == self.slices - 1

    def partitioned(self, shards: int, slices: int) -> Self:
        """The config with another partition; settings that followed from the old one follow from the new."""
        followed = _settings_of(self.__dict__)
        given = {name: v for name, v in self.model_dump(exclude_none=True).items() if followed.get(name) != v}
        return self.model_validate({**given, "shards": shards, "slices": slices})

    @property
    def settings(self) -> dict[str, Any]:
        """What the learner is told."""
        own = {name: getattr(self, name) for name in self.spec.settings.model_fields}
        if self.private:
            own["subjects"] = (self.rows or 0) // self.shards
        return own


def _settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the learner of a config is told where the config does not say."""
    spec, rows, shards = LEARNERS[given["learner"]], given.get("rows"), given.get("shards")
    few = isinstance(rows, int) and isinstance(shards, int) and rows < _FEW_ROWS * shards
    return {**spec.defaults, **(spec.few_rows if few else {})}


_FIELDS = SpecFields(TrainConfig, "learner", LEARNERS, shared=frozenset({"epsilon", "delta"}), optional=True)
