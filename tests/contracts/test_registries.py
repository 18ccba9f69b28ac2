"""One spec is all it takes: a generator, a learner, a metric and an attack that are made here are offered and run.

Each toy is what a file of its own would hold; `register` alone makes it known.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import streamlit as st
from conftest import pupils
from pydantic import Field, StrictInt, TypeAdapter
from streamlit.testing.v1 import AppTest

from workbench.config import SynthesizeConfig, TrainConfig, parse_config
from workbench.data.dataset import Dataset
from workbench.erasure.request import submit
from workbench.errors import BudgetError, BusyError, DamagedError, InputError, NamingError
from workbench.generators.generator import NotPrivate
from workbench.generators.outlook import Forecast
from workbench.generators.registry import GENERATORS, GeneratorSpec, PrivateSettings
from workbench.generators.rejection_sampling import draw
from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Definition, Measure, Metric, measured
from workbench.metrics.registry import (
    ATTACKS,
    FIDELITY,
    AttackSpec,
    MetricSpec,
    attacks_on_ensemble,
    attacks_on_erasure,
    attacks_on_release,
    fidelity_metrics,
)
from workbench.metrics.tables import Tables
from workbench.privacy.accounting import dpa
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.ledger import Ledger
from workbench.privacy.mechanisms import gaussian_counts, gaussian_sigma
from workbench.progress import FitProgress, silent
from workbench.schema import Codec, Schema
from workbench.schema.codec import Values
from workbench.schema.value_sets import Within
from workbench.sisa.learners.registry import LEARNERS, LearnerSettings, LearnerSpec
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task
from workbench.specs import Registry, Settings
from workbench.state import lineage
from workbench.state.workspace import Workspace
from workbench.workflows.synthesis.preflight import preflight
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.synthesis.synthesize import synthesize
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train

CLONE = Path(__file__).parents[2]
DELTA = 1e-5
SCHEMA = Schema.model_validate(
    {
        "population": "people",
        "identity_type": "person",
        "subject": "who",
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "side": {"kind": "categorical", "categories": ["heads", "tails"], "role": "target"},
            "age": {"kind": "integer", "bounds": [0, 99], "bins": 10},
        },
    }
)


# --- a generator that is private ---


class DiceSettings(PrivateSettings):
    """Rows drawn from the public domain alone; their number is measured."""

    throws: Annotated[StrictInt, Field(ge=1, le=9, description="How often each cell is thrown for.")] = 1
    motto: Annotated[str, Field(description="What the dice say.")] = "alea iacta est"


@dataclass(frozen=True, kw_only=True)
class Dice:
    """Costs one noisy count."""

    settings: DiceSettings

    @property
    def rho(self) -> float:
        return zcdp_rho(self.settings.epsilon, self.settings.delta)

    @property
    def event(self) -> dpa.DpEvent:
        return dpa.ZCDpEvent(self.rho)

    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> Thrown:  # noqa: ARG002
        sigma = gaussian_sigma(rho=self.rho, sensitivity=dataset.schema.max_rows_per_subject)
        (total,) = gaussian_counts(np.array([len(dataset)], dtype=np.int64), sigma=sigma)
        progress(1.0, "done")
        return Thrown(codec=dataset.codec, total=max(1.0, float(total)))


@dataclass(frozen=True, kw_only=True)
class Thrown:
    codec: Codec
    total: float

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        def batch(rows: int) -> Values:
            return self.codec.complete(rng.integers(0, self.codec.free_sizes, (rows, len(self.codec.free_sizes))), rng)

        return draw(batch, n, codec=self.codec, where=where)

    def save(self, folder: Path) -> None:
        (folder / "dice.json").write_text(json.dumps(self.total))


def load_dice(folder: Path, codec: Codec) -> Thrown:
    return Thrown(codec=codec, total=json.loads((folder / "dice.json").read_text()))


DICE = GeneratorSpec(
    name="dice",
    label="Dice: chance alone",
    settings=DiceSettings,
    private=True,
    make=lambda settings: Dice(settings=settings),
    load=load_dice,
    forecast=lambda settings, codec, per_subject: Forecast(
        more={"throws": settings.throws * len(codec.free_sizes) * per_subject}
    ),
)


def thrown(n: int) -> Dataset:
    """A table of chance."""
    codec, points = Codec(SCHEMA), np.arange(n, dtype=np.uint64)
    values = Thrown(codec=codec, total=n).sample(n, rng=np.random.default_rng(n))
    return Dataset(name="people", schema=SCHEMA, values=values, points=points, slice_points=points)


# --- one that is not ---


class Census(NotPrivate):
    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> Thrown:  # noqa: ARG002
        return Thrown(codec=dataset.codec, total=float(len(dataset)))


CENSUS = GeneratorSpec(
    name="census",
    label="Census: the exact number of rows",
    settings=Settings,
    private=False,
    make=lambda _: Census(),
    load=load_dice,
)


# --- a learner that erasures replay, and one that is private ---


class TallySettings(LearnerSettings):
    """Counts of the labels."""

    head_start: Annotated[StrictInt, Field(ge=1, description="What each label's count begins with.")] = 1


def tallied(target: Floats, task: Task, head_start: int) -> bytes:
    counts = np.bincount(target.astype(np.int64), minlength=task.n_classes) + head_start
    return json.dumps([int(count) for count in counts]).encode()


def shares(model: bytes, rows: int) -> Floats:
    try:
        counts = np.array(json.loads(model), dtype=np.float64)
        return np.repeat([counts / counts.sum()], rows, axis=0)
    except ValueError:
        raise DamagedError("a checkpoint is not a tally", hint="train the ensemble again") from None


@dataclass(frozen=True, kw_only=True)
class Tally:
    head_start: int

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        for shard in shards:
            for number in range(shard.first, shard.n_slices):
                rows = shard.seen(number)
                model = tallied(shard.target[rows], task, self.head_start) if len(rows) else None
                yield shard.number, number, model

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:  # noqa: ARG002
        return shares(model, len(features))


TALLY = LearnerSpec(
    name="tally", label="Tally of labels", settings=TallySettings, few_rows={"head_start": 3}, make=Tally
)


class NoisyTallySettings(LearnerSettings):
    """Counts of the labels with noise."""

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class NoisyTally:
    epsilon: float
    delta: float
    subjects: int

    @property
    def event(self) -> dpa.DpEvent:
        return dpa.ZCDpEvent(zcdp_rho(self.epsilon, self.delta))

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        rho = zcdp_rho(self.epsilon, self.delta)
        sigma = gaussian_sigma(rho=rho, sensitivity=task.max_rows_per_subject)
        for shard in shards:
            counts = np.bincount(shard.target.astype(np.int64), minlength=task.n_classes).astype(np.int64)
            noisy = gaussian_counts(counts, sigma=sigma).clip(1)
            yield shard.number, 0, json.dumps(noisy.tolist()).encode()

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:  # noqa: ARG002
        return shares(model, len(features))


NOISY = LearnerSpec(
    name="noisy_tally",
    label="Noisy tally: private",
    settings=NoisyTallySettings,
    make=NoisyTally,
    resumes=False,
    private=True,
)


# --- a metric and an attack ---

LENGTH = Definition(
    name="fidelity/length",
    title="Length",
    formula="rows of the release over rows of the training records",
    range=(0.0, 9.0),
    better="neither",
    source="the toy's own",
)
NAMED = Definition(
    name="disclosure/named",
    title="People named",
    formula="people whom the release names",
    range=(0.0, 1.0),
    better="lower",
    source="the toy's own",
)


def measure_length(tables: Any) -> list[Measure]:
    value = len(tables.synthetic) / len(tables.training)
    return [Measure(definition=LENGTH, estimate=Estimate(value=value, low=value, high=value, n=len(tables.synthetic)))]


TOYS: Sequence[tuple[Registry[Any], Any]] = (
    (GENERATORS, DICE),
    (GENERATORS, CENSUS),
    (LEARNERS, TALLY),
    (LEARNERS, NOISY),
    (
        FIDELITY,
        MetricSpec(
            name="length", metrics=(Metric(title="length", definitions=(LENGTH,), compute=measure_length),), rank=0
        ),
    ),
    (
        ATTACKS,
        AttackSpec(
            name="named",
            on="release",
            metrics=(Metric(title="named", definitions=(NAMED,), compute=lambda _: [Measure(definition=NAMED)]),),
        ),
    ),
)


@contextmanager
def registered(registry: Registry[Any], spec: Any) -> Iterator[None]:
    registry.register(spec)
    try:
        yield
    finally:
        registry.withdraw(spec.name)


@pytest.fixture
def toys() -> Iterator[None]:
    with ExitStack() as stack:
        for registry, spec in TOYS:
            stack.enter_context(registered(registry, spec))
        yield


def synthesis(generator: str, **more: object) -> SynthesizeConfig:
    return SynthesizeConfig.model_validate({"generator": generator, "dataset": "pupils", **more})


def training(learner: str, **more: object) -> TrainConfig:
    given = {"learner": learner, "dataset": "pupils", "shards": 2, "slices": 1, **more}
    return TrainConfig.model_validate(given)


def described(workspace: Workspace, artifact: str) -> lineage.Artifact:
    with workspace.engine.connect() as connection:
        return lineage.get(connection, artifact)


# --- names, fields, lists ---


def test_specs_import_nothing_heavy() -> None:
    """Of a fresh interpreter, as the one of a command: a library at the top of a spec's file would be waited for by all."""
    heavy = "torch sklearn pandas sdv ctgan copulas opacus lightgbm mlflow opendp dp_accounting"
    metrics = "from workbench.metrics.registry import *; assert [*FIDELITY], [*UTILITY]; assert [*ATTACKS]"
    program = (
        "import sys; from workbench.config import *; from workbench.generators.registry import GENERATORS\n"
        "assert GENERATORS.names()[0] == 'aim' and 'numpy' not in sys.modules\n"
        f"{metrics}\nprint(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


@pytest.mark.usefixtures("toys")
def test_a_config_takes_what_is_registered_and_refuses_it_elsewhere() -> None:
    assert synthesis("dice", epsilon=1, delta=DELTA, throws=4).settings == DiceSettings(
        epsilon=1, delta=DELTA, throws=4
    )
    assert synthesis("mst", epsilon=1, delta=DELTA).model_dump()["throws"] == 1
    assert training("tally").settings == {"head_start": 1}
    assert training("tally", rows=50).settings == {"head_start": 3}
    assert training("tally", rows=50).partitioned(4, 2).settings == {"head_start": 3}
    for wrong, said in (
        ({"generator": "dice"}, "dice is differentially private"),
        ({"generator": "dice", "epsilon": 1, "delta": DELTA, "throws": 10}, "throws"),
        ({"generator": "dice", "epsilon": 1, "delta": DELTA, "shards": 2}, "shards is for aim, mst, independent"),
        ({"generator": "mst", "epsilon": 1, "delta": DELTA, "throws": 2}, "throws is for dice, not for mst"),
        ({"generator": "census", "epsilon": 1, "delta": DELTA}, "census is not differentially private"),
        ({"generator": "none"}, "'census' or 'dice'"),
    ):
        with pytest.raises(InputError, match=said):
            parse_config({"dataset": "d", **wrong}, SynthesizeConfig, source="test")
    for wrong, said in (
        ({"learner": "tally", "leaves": 4}, "leaves is for gradient_boosting, not for tally"),
        ({"learner": "ridge", "head_start": 4}, "head_start is for tally, not for ridge"),
        ({"learner": "noisy_tally"}, "noisy_tally is differentially private"),
        ({"learner": "noisy_tally", "epsilon": 1, "delta": DELTA}, "declare about how many rows"),
    ):
        with pytest.raises(InputError, match=said):
            parse_config({"dataset": "d", "shards": 1, "slices": 1, **wrong}, TrainConfig, source="test")


def test_what_is_withdrawn_is_as_if_it_had_never_been() -> None:
    before = [TypeAdapter(model).json_schema() for model in (SynthesizeConfig, TrainConfig)]
    with registered(GENERATORS, DICE), registered(LEARNERS, TALLY):
        during = [TypeAdapter(model).json_schema() for model in (SynthesizeConfig, TrainConfig)]
        assert "dice" in during[0]["properties"]["generator"]["enum"]
        assert during[0]["properties"]["throws"] == {
            "default": 1,
            "description": "How often each cell is thrown for.",
            "maximum": 9,
            "minimum": 1,
            "title": "Throws",
            "type": "integer",
        }
        assert "tally" in during[1]["properties"]["learner"]["enum"]
        assert during[1]["properties"]["head_start"]["default"] is None
    assert [TypeAdapter(model).json_schema() for model in (SynthesizeConfig, TrainConfig)] == before


def spec(name: str = "other", **fields: Any) -> LearnerSpec:
    settings = type(
        "Given",
        (LearnerSettings,),
        {"__annotations__": {k: v for k, (v, _) in fields.items()}} | {k: v for k, (_, v) in fields.items()},
    )
    return LearnerSpec(name=name, label=None, settings=settings, make=Tally)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: spec("ridge"), "exists already"),
        (lambda: spec("no-name"), "is no name"),
        (lambda: spec("v2"), "is no name"),  # releases of it could not be told from other files
        (lambda: spec(rows=(int, 1)), "declared otherwise"),  # a field of the config itself
        (lambda: spec(leaves=(str, "many")), "declared otherwise"),  # one of another learner
    ],
)
def test_what_would_confuse_configs_is_refused_and_leaves_nothing(wrong: Any, said: str) -> None:
    names, fields = LEARNERS.names(), list(TrainConfig.model_fields)
    with pytest.raises(InputError, match=said):
        LEARNERS.register(wrong())
    assert (LEARNERS.names(), list(TrainConfig.model_fields)) == (names, fields)
    assert training("ridge").settings == {"penalty": 1.0}


def test_two_files_of_a_room_can_not_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "a_room"
    room.mkdir()
    (room / "__init__.py").touch()
    text = "from types import SimpleNamespace as S\n{} = S(name={!r}, rank={})\n"
    (room / "one_spec.py").write_text(text.format("SPEC", "first", 2))
    (room / "helper.py").write_text(text.format("SPEC", "no spec", 0))
    (room / "two_spec.py").write_text("from types import SimpleNamespace as S\nSPECS = (S(name='second', rank=1),)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry[Any]("a_room", what="toy").names() == ("second", "first")
    (room / "three_spec.py").write_text(text.format("SPEC", "first", 3))
    with pytest.raises(InputError, match="'first' exists already"):
        Registry[Any]("a_room", what="toy").names()


def test_a_generator_that_only_says_that_it_is_private_is_refused_by_the_ledger(trained: Workspace) -> None:
    before = Ledger(trained.engine).entries("pupils")
    liar = replace(DICE, name="liar", make=lambda _: Census())
    with registered(GENERATORS, liar), pytest.raises(InputError, match="cannot price"):
        synthesize(trained, synthesis("liar", epsilon=1, delta=DELTA))
    assert Ledger(trained.engine).entries("pupils") == before


def test_a_spec_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(InputError, match="epsilon and delta"):
        GeneratorSpec(name="x", label="", settings=Settings, private=True, make=lambda _: Census(), load=load_dice)
    with pytest.raises(InputError, match="can't resume"):
        LearnerSpec(name="x", label=None, settings=NoisyTallySettings, make=NoisyTally, private=True)
    with pytest.raises(InputError, match="few_rows"):
        LearnerSpec(name="x", label=None, settings=TallySettings, make=Tally, few_rows={"tail": 1})


@pytest.mark.usefixtures("toys")
def test_the_reference_describes_what_is_registered() -> None:
    found = importlib.util.spec_from_file_location("generate", CLONE / "docs" / "generate.py")
    assert found is not None
    assert found.loader is not None
    generate = importlib.util.module_from_spec(found)
    found.loader.exec_module(generate)
    pages = generate.pages()
    assert "| `dice` | yes | `epsilon`, `delta`, `throws`, `motto` |" in pages["config.md"]
    assert "| `tally` | `head_start: 1` | `head_start: 3` |" in pages["config.md"]
    assert "`noisy_tally` also needs `epsilon` and `delta`." in pages["config.md"]
    assert "| `throws` | whole number, from 1, to 9 | `1` | How often each cell is thrown for" in pages["config.md"]
    assert "| `fidelity/length` | Length |" in pages["metrics.md"]
    assert "| `disclosure/named` | People named |" in pages["metrics.md"]


@pytest.mark.usefixtures("toys")
def test_the_app_offers_what_is_registered(browse: Any, trained: Workspace) -> None:
    app: AppTest = browse(trained, "synthesize")
    chosen = next(box for box in app.selectbox if box.label == "Generator")
    assert chosen.options[-2:] == ["Census: the exact number of rows", "Dice: chance alone"]
    app = chosen.select("dice").run()
    assert not app.exception
    assert any("protection" in caption.value for caption in app.caption), "its epsilon is asked for"
    app = browse(trained, "models")
    chosen = next(box for box in app.selectbox if box.label == "Learner")
    assert chosen.options[-2:] == ["Noisy tally: private", "Tally of labels"]
    app = chosen.select("noisy_tally").run()
    assert not app.exception
    assert {"ε", "δ"} <= {field.label for field in app.number_input}
    app = browse(trained, "privacy")
    chosen = next(box for box in app.selectbox if box.label == "Generator")
    assert "dice" in chosen.options
    assert "census" not in chosen.options, "what is not private has no price"
    st.cache_data.clear()


# --- run by the workflows ---


@pytest.mark.usefixtures("toys")
def test_a_private_generator_is_charged_before_it_reads_and_is_on_record(trained: Workspace) -> None:
    ledger, before = Ledger(trained.engine), len(Ledger(trained.engine).entries("pupils"))
    asked = synthesis("dice", epsilon=0.5, delta=DELTA, throws=2)
    plan = preflight(trained, asked).to_json()
    assert (plan["privacy"]["allowed"], plan["throws"]) == (True, 2 * 4 * 3)
    with pytest.raises(BudgetError):
        synthesize(trained, synthesis("dice", epsilon=50, delta=DELTA))
    assert len(ledger.entries("pupils")) == before
    made = synthesize(trained, asked)
    (entry,) = ledger.entries("pupils")[before:]
    assert entry.event == Dice(settings=DiceSettings(epsilon=0.5, delta=DELTA)).event
    assert entry.purpose == f"fit {made.generator}"
    generator, release = described(trained, made.generator), described(trained, made.release)
    assert (generator.body["generator"], generator.body["private"]) == ("dice", True)
    assert generator.body["config"]["throws"] == 2
    assert release.derived_from == [made.generator]
    assert sample(trained, made.generator, 7, trained.root.parent / "out.csv").rows == 7
    with pytest.raises(NamingError):
        synthesize(trained, synthesis("dice", epsilon=0.5, delta=DELTA, motto="of pupil-1001"))


@pytest.mark.usefixtures("toys")
def test_one_that_is_not_private_is_fitted_to_nobody_who_asked_to_be_erased(trained: Workspace) -> None:
    before = len(Ledger(trained.engine).entries("pupils"))
    submit(trained, ["pupils"], "pupil-1001")
    with pytest.raises(BusyError):
        synthesize(trained, synthesis("census"))
    assert len(Ledger(trained.engine).entries("pupils")) == before


@pytest.mark.usefixtures("toys")
def test_a_private_learner_is_charged_for_its_shards_and_is_on_record(trained: Workspace) -> None:
    before = len(Ledger(trained.engine).entries("pupils"))
    with pytest.raises(BudgetError):
        train(trained, training("noisy_tally", epsilon=50, delta=DELTA, rows=400))
    asked = training("noisy_tally", epsilon=0.5, delta=DELTA, rows=400)
    made = train(trained, asked)
    (entry,) = Ledger(trained.engine).entries("pupils")[before:]
    assert entry.purpose == f"train {made.ensemble}"
    assert entry.event == NoisyTally(epsilon=0.5, delta=DELTA, subjects=200).event
    with trained.engine.connect() as connection:
        version = current_versions(connection, "pupils")[made.ensemble]
    config = read_manifest(trained, version).config
    assert (config["learner"], config["epsilon"], config["leaves"]) == ("noisy_tally", 0.5, None)
    assert len(version.derived_from) >= 2
    assert predict_frame(trained.root, made.ensemble, pupils(5)).shape[0] == len(pupils(5))
    LEARNERS.withdraw("noisy_tally")  # as in a process that does not know it
    try:
        with pytest.raises(InputError, match="not valid here"):
            predict_frame(trained.root, made.ensemble, pupils(5))
    finally:
        LEARNERS.register(NOISY)


@pytest.mark.usefixtures("toys")
def test_metrics_and_attacks_are_measured_in_their_places() -> None:
    fidelity = fidelity_metrics(SCHEMA)
    assert [d.name for d in fidelity[0].definitions] == ["fidelity/length"]
    (measure,) = measured(fidelity[:1], Tables(training=thrown(40), holdout=thrown(9), synthetic=thrown(10).values))
    assert measure.estimate is not None
    assert measure.estimate.value == 0.25
    placed = {
        on: [d.name for metric in attacks_on_release(SCHEMA, on) for d in metric.definitions]
        for on in ("release", "large release", "whole tables")
    }
    assert [on for on, names in placed.items() if "disclosure/named" in names] == ["release"]


def test_every_figure_has_one_name_and_says_what_it_is() -> None:
    every = "large release", "release", "whole tables"
    metrics = (
        *fidelity_metrics(SCHEMA),
        *attacks_on_release(SCHEMA, *every),
        *attacks_on_ensemble(),
        *attacks_on_erasure(),
    )
    found = [definition for metric in metrics for definition in metric.definitions]
    names = [definition.name for definition in found]
    assert len(names) == len(set(names)) > 40
    assert all(one.formula and one.source and one.title for one in found)
    assert {one.family for one in found} == {"fidelity", "disclosure"}
