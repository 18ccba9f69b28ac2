"""What a user runs: generator and model configs, read from YAML with `--set key=value` on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, ValidationError, model_validator
from pydantic_core import ErrorDetails

from workbench.described import Described
from workbench.errors import InputError
from workbench.foreign import parse_yaml, read_yaml

_PACKAGE = Path(__file__).parent
CONFIGS = _PACKAGE / "_configs" if (_PACKAGE / "_configs").is_dir() else _PACKAGE.parent / "configs"

MOST_BYTES = 1_000_000  # of a config file

# What was found is quoted in part only: by YAML's aliases a short file can stand for a value of any size
_BRIEF = Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 2, 200, 200

MAX_ROWS = 100_000_000  # of a file of synthetic rows; more is a slip of the pen that would fill the disk
MARGINAL = ("aim", "mst", "independent")

Model = TypeVar("Model", bound=BaseModel)


class SynthesizeConfig(Described):
    """What `workbench synthesize`, `audit` and `sweep` read: which generator is fitted to what, and at what price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: Literal["aim", "mst", "independent", "dp_ctgan", "gaussian_copula", "ctgan", "tvae"]
    """Which synthesizer. `aim` is the first choice, `mst` takes a tenth of the time, `independent` is the baseline,
    `dp_ctgan` is a network; the other three are not private.
    """
    dataset: str
    """The data set to learn from, by the name it was taken in under."""
    epsilon: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What the fit may reveal about any one person: the price, charged to the population's budget. 1 is strong,
    above 4 is weak. Private generators need it, the others refuse it.
    """
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How likely the guarantee of epsilon may fail: well under one over the number of people. With epsilon, or not
    at all.
    """
    rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS)] | None = None
    """How many rows the release has. Left out: as many as there are, a noisy number where the generator is private."""
    shards: Annotated[StrictInt, Field(ge=1, le=1024)] = 1
    """Groups of people that are measured apart, so that an erasure can measure one again. The price is the square
    root of their number in noise.
    """
    epochs: Annotated[StrictInt, Field(ge=1)] | None = None
    """How often the training goes over all rows. Left out: 300."""
    steps: Annotated[StrictInt, Field(ge=1)] | None = None
    """How many steps of DP-SGD are taken; the noise of each follows from it, so that the whole costs epsilon. Left
    out: 300.
    """

    @model_validator(mode="after")
    def _asks_for_what_there_is(self) -> Self:
        given = {"epsilon", "delta"} & {name for name in ("epsilon", "delta") if getattr(self, name) is not None}
        if self.private and len(given) < 2:
            raise ValueError(f"{self.generator} is differentially private: give epsilon and delta")
        if not self.private and given:
            raise ValueError(f"{self.generator} is not differentially private: it takes neither epsilon nor delta")
        takes = {
            "shards": (self.shards > 1, MARGINAL),
            "epochs": (self.epochs is not None, ("ctgan", "tvae")),
            "steps": (self.steps is not None, ("dp_ctgan",)),
        }
        for name, (asked, by) in takes.items():
            if asked and self.generator not in by:
                raise ValueError(f"{name} is for {', '.join(by)}, not for {self.generator}")
        return self

    @property
    def private(self) -> bool:
        """Whether the generator is differentially private."""
        return self.generator in (*MARGINAL, "dp_ctgan")

    @property
    def budget(self) -> tuple[float, float]:
        """Epsilon and delta of a private generator."""
        assert self.epsilon is not None
        assert self.delta is not None
        return self.epsilon, self.delta


# What a learner is told where the config doesn't say: in general, and where the declared rows of a shard are few.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "gradient_boosting": {
        "rounds": 60,
        "learning_rate": 0.1,
        "leaves": 31,
        "min_rows_per_leaf": 20,
        "category_smoothing": 10.0,
    },
    "logistic_regression": {"penalty": 1.0},
    "ridge": {"penalty": 1.0},
    "naive_bayes": {"smoothing": 1.0},
    "extra_trees": {"trees": 100, "min_rows_per_leaf": 5},
    "sklearn": {"estimator": None, "parameters": {}},
    "mlp": {"hidden": (64,), "epochs": 15, "batch": 64, "learning_rate": 0.002, "weight_decay": 0.1},
    "dp_mlp": {
        "hidden": (32,),
        "epochs": 15,
        "batch": 256,
        "learning_rate": 0.01,
        "clip": 1.0,
        "epsilon": None,
        "delta": None,
    },
}
# Learners that can't go on from a slice: each slice would be trained from the shard's start, and save nothing
_OF_ONE_SLICE = ("extra_trees", "sklearn")
_PRIVATE_LEARNERS = ("dp_mlp",)
ONE_SLICE = (*_OF_ONE_SLICE, *_PRIVATE_LEARNERS)
_FEW_ROWS = 10_000
_OF_FEW_ROWS: Mapping[str, Mapping[str, Any]] = {
    # An ensemble averages out what its trees overfit, so small shards gain by many small, eager trees (docs/adr/0019)
    "gradient_boosting": {"rounds": 200, "leaves": 8, "min_rows_per_leaf": 5, "category_smoothing": 30.0},
    "extra_trees": {"min_rows_per_leaf": 2},
    "mlp": {"hidden": (32,), "batch": 32, "learning_rate": 0.006},
}


_Units = Annotated[StrictInt, Field(ge=2, le=4096)]


class TrainConfig(Described):
    """What `workbench train` reads: a SISA ensemble's partition, its learner and the learner's settings.

    Every field is public and independent of the data, so that erasures never change what a shard's training depends on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learner: Literal[
        "gradient_boosting",
        "mlp",
        "logistic_regression",
        "ridge",
        "naive_bayes",
        "extra_trees",
        "sklearn",
        "dp_mlp",
    ]
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

    rounds: Annotated[StrictInt, Field(ge=1)] | None = None
    """Boosting rounds of a shard, spread over its slices: at least one a slice."""
    learning_rate: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """How far each round or step goes."""
    leaves: Annotated[StrictInt, Field(ge=2, le=4096)] | None = None
    """Most leaves of a tree."""
    min_rows_per_leaf: Annotated[StrictInt, Field(ge=1)] | None = None
    """Fewest rows that a leaf of a tree stands on."""
    category_smoothing: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """How strongly rare categories are drawn to the mean before trees split on them."""
    hidden: Annotated[tuple[_Units, ...], Field(min_length=1, max_length=8)] | None = None
    """Units of each hidden layer of the network: one to eight layers."""
    epochs: Annotated[StrictInt, Field(ge=1)] | None = None
    """How often the network goes over all rows of a shard; with slices, the work of as much."""
    batch: Annotated[StrictInt, Field(ge=32, le=65536, multiple_of=32)] | None = None
    """Rows of a step, a multiple of 32; for `dp_mlp` how many people a step expects."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    """How strongly weights are drawn to zero."""
    clip: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What bounds each person's part in a step of DP-SGD, as the norm of the gradient."""
    epsilon: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What the whole ensemble costs, once, as no person is in two shards; an erasure charges its shard again."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How likely the guarantee of epsilon may fail: well under one over the number of people."""

    penalty: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """The L2 penalty."""
    smoothing: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What naive Bayes adds to each count."""
    trees: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None
    """How many trees a shard grows."""
    estimator: str | None = None
    """One of scikit-learn's, without its ending Classifier or Regressor: RandomForest, DecisionTree,
    HistGradientBoosting or ElasticNet.
    """
    parameters: Mapping[str, StrictBool | StrictInt | FiniteFloat | str | None] | None = None
    """The estimator's own parameters, by scikit-learn's names."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Fills in what is not given, so that a manifest says all that its training depended on."""
        if not isinstance(given, Mapping) or given.get("learner") not in tuple(_SETTINGS):
            return given
        return {**_settings_of(given), **{name: value for name, value in given.items() if value is not None}}

    @model_validator(mode="after")
    def _asks_for_what_there_is(self) -> Self:
        takes = {name: [learner for learner in _SETTINGS if name in _SETTINGS[learner]] for name in _LEARNER_FIELDS}
        for name, learners in takes.items():
            if getattr(self, name) is not None and self.learner not in learners:
                raise ValueError(f"{name} is for {', '.join(learners)}, not for {self.learner}")
        if self.rounds is not None and self.rounds < self.slices:
            raise ValueError(f"{self.slices} slices need at least as many rounds, or some would never be learnt from")
        if self.learner in _OF_ONE_SLICE and self.slices > 1:
            raise ValueError(
                f"{self.learner} can't go on from a slice: it is trained again from its shard's start, so write slices: 1"
            )
        if self.learner == "sklearn" and self.estimator is None:
            raise ValueError("sklearn needs the name of an estimator, such as estimator: RandomForest")
        if self.private:
            self._check_private()
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
    def private(self) -> bool:
        """Whether the learner is differentially private."""
        return self.learner in _PRIVATE_LEARNERS

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
        own = {name: getattr(self, name) for name in _SETTINGS[self.learner]}
        if self.private:
            own["subjects"] = (self.rows or 0) // self.shards
        return own


def _settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the learner of a config is told where the config does not say."""
    rows, shards = given.get("rows"), given.get("shards")
    few = isinstance(rows, int) and isinstance(shards, int) and rows < _FEW_ROWS * shards
    return {**_SETTINGS[given["learner"]], **(_OF_FEW_ROWS.get(given["learner"], {}) if few else {})}


_LEARNER_FIELDS = sorted({name for settings in _SETTINGS.values() for name in settings})


def find_config(path: Path) -> Path:
    """`path`, or the config of that name that ships with the workbench; raises InputError where there is neither."""
    if path.is_file():
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    bundled = CONFIGS.joinpath(*parts)
    if not path.is_absolute() and ".." not in parts and bundled.is_file():
        return bundled
    shipped = sorted(f"configs/{p.relative_to(CONFIGS)}" for p in CONFIGS.rglob("*.yaml"))
    raise InputError(f"no config at {path}", hint=f"shipped with the workbench: {', '.join(shipped)}")


def read_config(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """A config of type `model` from a YAML file and `key=value` overrides; raises InputError naming each fault."""
    path = find_config(path)
    hint = "see the configs that ship with the workbench"
    document = read_yaml(path, most=MOST_BYTES, what="config", hint=hint)
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a config: expected a mapping, found {type(document).__name__}")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r} has no value", hint="write --set key=value")
        document[key.strip()] = _scalar(value)
    return parse_config(document, model, source=str(path))


def parse_config(document: dict[str, Any], model: type[Model], *, source: str) -> Model:
    """A config of type `model` from a mapping; raises InputError naming each fault by its field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputError(
            f"{source} is not a valid config: {'; '.join(_fault(e) for e in error.errors())}",
            hint=f"its fields: {', '.join(model.model_fields)}",
        ) from None


def _fault(error: ErrorDetails) -> str:
    place, found = ".".join(map(str, error["loc"])), error["input"]
    message = error["msg"].removeprefix("Value error, ")
    text = f"{place}: {message}" if place else message
    return text if isinstance(found, dict) else f"{text}, found {_BRIEF.repr(found)}"


def _scalar(text: str) -> Any:
    try:
        return parse_yaml(text, what="the value")
    except InputError:
        return text
