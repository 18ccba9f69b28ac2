"""Synthesis as a user runs it: every generator, plans, shards that an erasure measures again, fits that are killed."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from shared import changed, copied
from stored import placed
from test_queue import POLICY

from workbench.config import SynthesizeConfig
from workbench.errors import InputError
from workbench.generators.marginals.measurement_log import Notebook
from workbench.jobs.worker import CancelledError
from workbench.privacy.ledger import Ledger, spent
from workbench.state import lineage, writing
from workbench.state.lineage import Artifact
from workbench.state.tables import charges
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting, resume
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.synthesis.measure_release import measure_release
from workbench.workflows.synthesis.preflight import preflight
from workbench.workflows.synthesis.synthesize import synthesize

DELTA = 1e-5


@pytest.fixture
def pupils_alone(
    empty_workspace: Path, pupils_files: tuple[Path, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The pupils' table with a budget, and nothing made of it."""

    def change(workspace: Workspace, _: Path) -> None:
        ingest(workspace, "pupils", schema=pupils_files[0], data=pupils_files[1])
        Ledger(workspace.engine).set_budget("pupils", epsilon=20, delta=DELTA)

    return copied(changed(tmp_path_factory, "pupils-alone", empty_workspace, change), tmp_path)


def config(generator: str = "aim", **more: object) -> SynthesizeConfig:
    return SynthesizeConfig.model_validate(
        {"generator": generator, "dataset": "pupils", "epsilon": 2.0, "delta": DELTA} | more
    )


def generators(workspace: Workspace) -> list[Artifact]:
    return lineage_of(workspace, "pupils", "generator")


def _cancel_at(moment: str, times_before: int = 0) -> Callable[[float, str], None]:
    """Progress that cancels the work as a job does: at a report that begins so, after as many like it."""
    left = times_before

    def progress(_: float, text: str) -> None:
        nonlocal left
        if text.startswith(moment):
            if not left:
                raise CancelledError("job 1 was cancelled")
            left -= 1

    return progress


def lineage_of(workspace: Workspace, dataset: str, kind: str) -> list[Artifact]:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, dataset=dataset, kind=kind)


def test_a_plan_reads_nothing_and_says_what_the_run_will_cost(pupils_alone: Workspace) -> None:
    for path in (pupils_alone.root / "data").rglob("*.parquet"):
        path.write_bytes(b"")  # whoever reads it falls
    told = preflight(pupils_alone, config(shards=4))
    assert told.privacy.allowed
    assert told.privacy.spent_before == 0
    assert told.privacy.spent_after == pytest.approx(2.0, rel=1e-3)
    assert told.forecast.noise["price of shards"] == "2 times the noise of one shard"
    alone = preflight(pupils_alone, config()).forecast.noise["single columns, about"]
    assert told.forecast.noise["single columns, about"] == pytest.approx(2 * alone, abs=0.2)
    assert not preflight(pupils_alone, config(epsilon=50.0)).privacy.allowed
    assert Ledger(pupils_alone.engine).entries("pupils") == []


@pytest.mark.parametrize("generator", ["aim", "mst", "independent"])
def test_an_erasure_measures_one_shard_again_and_charges_it_alone(pupils_alone: Workspace, generator: str) -> None:
    made = synthesize(pupils_alone, config(generator, shards=8))
    set_policy(pupils_alone, "pupils", POLICY, ["private=remeasure"])
    notes = pupils_alone.root / "generators" / made.generator / "measurements.jsonl"
    before = Notebook(notes).measurements
    answer = erase(pupils_alone, [placed(pupils_alone, "train")[0]]).requests[0]
    assert answer.status == "completed"
    (after,) = generators(pupils_alone)
    again = Notebook(pupils_alone.root / str(after.path) / "measurements.jsonl").measurements
    assert [n["clique"] for n in again] == [n["clique"] for n in before]
    changed = {
        s for old, new in zip(before, again, strict=True) for s in range(8) if old["values"][s] != new["values"][s]
    }
    assert len(changed) == 1
    ledger = Ledger(pupils_alone.engine)
    charge = ledger.entries("pupils")[-1]
    assert "1 of 8 shards" in charge.purpose
    low, high = charge.scope[0]
    assert high - low == 2**64 // 8
    assert 2.0 < spent(ledger.entries("pupils"), DELTA) < 4.0
    assert verify(pupils_alone, Path(answer.certificate)).valid
    rows = pq.read_table(pupils_alone.root / "releases" / f"{after.id}.parquet").num_rows
    assert rows > 100


def test_a_generator_measured_again_is_as_good_as_a_new_one(pupils_alone: Workspace) -> None:
    made = synthesize(pupils_alone, config(shards=4, epsilon=5.0))
    set_policy(pupils_alone, "pupils", POLICY, ["private=remeasure"])
    erase(pupils_alone, list(placed(pupils_alone, "train")[:3]))
    (after,) = generators(pupils_alone)
    with pupils_alone.engine.connect() as connection:
        (evaluation,) = lineage.find(connection, dataset="pupils", kind="evaluation")
    assert evaluation.derived_from[0] == f"{after.id}-release"
    assert evaluation.body["metrics"]["fidelity/tvd1"] < made.metrics["fidelity/tvd1"] + 0.1


def test_a_killed_fit_goes_on_without_a_second_charge(pupils_alone: Workspace) -> None:
    """The process is killed once it has noted some measurements; the next synthesis of that config takes them up."""
    program = (
        "import sys; from workbench.config import SynthesizeConfig; from workbench.state.workspace import Workspace\n"
        "from workbench.workflows.synthesis.synthesize import synthesize; import workbench.generators.aim as aim, os, signal\n"
        "from pathlib import Path\n"
        "fits = aim._that_fit\n"
        "def noted(): return sum(len(p.read_text().splitlines()) for p in Path(sys.argv[1]).glob('fits/*/notes.jsonl'))\n"
        "def fit(*a): return fits(*a) if noted() <= 20 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "aim._that_fit = fit\n"
        "synthesize(Workspace.open(Path(sys.argv[1])), SynthesizeConfig.model_validate_json(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, pupils_alone.root, config().model_dump_json()]
    assert forked.run(command).returncode == -signal.SIGKILL
    notes = list((pupils_alone.root / "fits").glob("*/notes.jsonl"))
    assert generators(pupils_alone) == []
    before = notes[0].read_text().splitlines()
    assert not len(before) % 2, "killed between two mechanisms"
    made = synthesize(pupils_alone, config())
    after = Notebook(pupils_alone.root / "generators" / made.generator / "measurements.jsonl").measurements
    kept = Notebook(notes[0]) if notes[0].exists() else None
    assert kept is None, "the notes of a finished fit are gone"
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1
    assert len(after) >= (len(before) - 7) // 4


@pytest.mark.parametrize(
    "place",
    ["workbench.workflows.synthesis.fit_release.figures_of", "workbench.workflows.synthesis.synthesize.record_release"],
)
def test_killed_after_its_fit_a_synthesis_is_not_charged_again(pupils_alone: Workspace, place: str) -> None:
    module, name = place.rsplit(".", 1)
    program = (
        "import os, sys; from importlib import import_module; from pathlib import Path\n"
        "from workbench.config import SynthesizeConfig; from workbench.state.workspace import Workspace\n"
        "from workbench.workflows.synthesis.synthesize import synthesize\n"
        f"setattr(import_module('{module}'), '{name}', lambda *a, **k: os._exit(9))\n"
        "synthesize(Workspace.open(Path(sys.argv[1])), SynthesizeConfig.model_validate_json(sys.argv[2]))\n"
    )
    ended = forked.run([sys.executable, "-c", program, pupils_alone.root, config("mst").model_dump_json()])
    assert ended.returncode == 9
    notes = next((pupils_alone.root / "fits").glob("*/notes.jsonl")).read_bytes()
    left = next((pupils_alone.root / "generators").iterdir())
    (check,) = [c for c in doctor(pupils_alone).checks if not c.ok]
    assert left.name in check.detail, "nothing else names what was never recorded"
    resume(pupils_alone)
    assert not [*(pupils_alone.root / "generators").iterdir(), *(pupils_alone.root / "releases").iterdir()]
    made = synthesize(pupils_alone, config("mst"))
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1
    kept = (pupils_alone.root / "generators" / made.generator / "measurements.jsonl").read_text().splitlines()
    assert {line for line in notes.decode().splitlines() if "values" in line} == set(kept)
    assert not list((pupils_alone.root / "fits").iterdir())


@pytest.mark.parametrize("moment", ["measuring pairs", "evaluating"])
def test_a_cancelled_fit_goes_on_without_a_second_charge(pupils_alone: Workspace, moment: str) -> None:
    with pytest.raises(CancelledError):
        synthesize(pupils_alone, config("mst"), progress=_cancel_at(moment))
    (notes,) = (pupils_alone.root / "fits").glob("*/notes.jsonl")
    before = [line for line in notes.read_text().splitlines() if "values" in line]
    assert before
    assert [*(pupils_alone.root / "generators").iterdir(), *(pupils_alone.root / "releases").iterdir()] == []
    made = synthesize(pupils_alone, config("mst"))
    after = (pupils_alone.root / "generators" / made.generator / "measurements.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1
    assert not list((pupils_alone.root / "fits").iterdir())


def test_a_fit_that_was_cut_off_goes_on_for_another_number_of_rows(pupils_alone: Workspace) -> None:
    """They are drawn from what is paid for: a number that fills the disk can be put right."""
    with pytest.raises(CancelledError):
        synthesize(pupils_alone, config("independent", rows=300), progress=_cancel_at("sampling"))
    (about,) = (pupils_alone.root / "fits").glob("*/about.json")
    old = json.loads(about.read_text())
    about.write_text(json.dumps(old | {"config": old["config"] | {"rows": 300}}))  # as earlier versions wrote it
    made = synthesize(pupils_alone, config("independent", rows=20))
    assert pq.read_table(made.path).num_rows == made.rows == 20
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1


def test_a_fit_that_was_cut_off_goes_on_only_at_the_price_that_was_charged(pupils_alone: Workspace) -> None:
    """Another version may have solved for more noise, and charged less, for the same config."""
    with pytest.raises(CancelledError):
        synthesize(pupils_alone, config("independent"), progress=_cancel_at("sampling"))
    with writing(pupils_alone.engine) as connection:
        connection.execute(charges.update().values(event={"kind": "zcdp", "rho": 1e-6}))
    synthesize(pupils_alone, config("independent"))
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 2


def test_a_cancelled_fit_that_is_not_private_leaves_nothing(pupils_alone: Workspace) -> None:
    asked = config("gaussian_copula", epsilon=None, delta=None)
    with pytest.raises(CancelledError):
        synthesize(pupils_alone, asked, progress=_cancel_at("evaluating"))
    for folder in ("fits", "generators", "releases"):
        assert list((pupils_alone.root / folder).iterdir()) == []


def test_notes_that_cannot_be_used_are_given_up_and_the_next_fit_is_charged(pupils_alone: Workspace) -> None:
    with pytest.raises(CancelledError):
        synthesize(pupils_alone, config("mst"), progress=_cancel_at("evaluating"))
    (notes,) = (pupils_alone.root / "fits").glob("*/notes.jsonl")
    notes.write_text(notes.read_text().splitlines()[0] + "\n")  # as a kill inside the first mechanism leaves them
    with pytest.raises(InputError, match="cut off"):
        synthesize(pupils_alone, config("mst"))
    assert not list((pupils_alone.root / "fits").iterdir())
    synthesize(pupils_alone, config("mst"))
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 2


@pytest.mark.slow
def test_an_erasure_that_is_cancelled_fits_two_generators_of_one_config_for_one_charge_each(
    pupils_alone: Workspace,
) -> None:
    for _ in range(2):
        synthesize(pupils_alone, config("mst"))
    set_policy(pupils_alone, "pupils", POLICY, ["private=remeasure"])
    erase(pupils_alone, [placed(pupils_alone, "train")[0]], progress=_cancel_at("evaluating", times_before=1))
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 4
    done = carry_out_waiting(pupils_alone)
    assert [result.status for result in done.values()] == ["completed"]
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 4
    assert len({generator.id for generator in generators(pupils_alone)}) == 2
    assert not list((pupils_alone.root / "fits").iterdir())


TINY = {"one": ["colour"], "two": ["colour", "height"]}
COLUMNS = {
    "colour": "{kind: categorical, categories: [red, blue]}",
    "height": "{kind: continuous, bounds: [0, 2], bins: 4}",
}


@pytest.mark.parametrize("name", TINY)
def test_a_table_of_few_columns_is_synthesised_and_says_which_figures_it_cannot_have(
    command: Any, workspace: Workspace, tmp_path: Path, name: str
) -> None:
    lines = [f"  {column}: {COLUMNS[column]}" for column in TINY[name]]
    head = f"population: {name}\nidentity_type: {name}-row\nsubject: row\nholdout: {{share: 0.2}}\ncolumns:"
    (tmp_path / "s.yaml").write_text("\n".join([head, *lines, ""]))
    frame = pd.DataFrame({"colour": ["red", "blue"] * 40, "height": np.linspace(0, 2, 80)})
    frame[TINY[name]].to_csv(tmp_path / "t.csv", index=False)
    ingest(workspace, name, schema=tmp_path / "s.yaml", data=tmp_path / "t.csv")
    Ledger(workspace.engine).set_budget(name, epsilon=2, delta=DELTA)
    sets = [part for s in (f"dataset={name}", "epsilon=1", f"delta={DELTA}") for part in ("--set", s)]
    answer = command("--workspace", workspace.root, "synthesize", "configs/generators/mst.yaml", *sets, "--json")
    assert answer.code == 0, answer.err
    ways = range(1, len(TINY[name]) + 1)
    assert set(answer.json["metrics"]) == {f"fidelity/tvd{way}" for way in ways}
    assert answer.json["not_measured"] == {
        f"fidelity/tvd{way}": f"not computable because the table has fewer than {way} columns"
        for way in (1, 2, 3)
        if way not in ways
    }
    (evaluation,) = (a for a in lineage_of(workspace, name, "evaluation") if "metrics" in a.body)
    assert evaluation.body["not_measured"] == answer.json["not_measured"]
    assert set(evaluation.body["cost"]) == {"seconds", "peak_mb"}
    (generator,) = lineage_of(workspace, name, "generator")
    assert not {"seconds", "peak_mb"} & set(generator.body), "what takes long or much depends on the rows"


def test_a_target_that_nothing_predicts_costs_a_release_no_figure_but_its_own(
    workspace: Workspace, tmp_path: Path
) -> None:
    """It failed after the charge; so did its evaluation, and an erasure retired it after it had paid for the next one."""
    (tmp_path / "s.yaml").write_text(
        "population: alone\nidentity_type: alone-row\nsubject: row\nholdout: {share: 0.2}\ncolumns:\n"
        "  colour: {role: target, kind: categorical, categories: [red, blue]}\n"
    )
    pd.DataFrame({"colour": ["red", "blue"] * 40}).to_csv(tmp_path / "t.csv", index=False)
    ingest(workspace, "alone", schema=tmp_path / "s.yaml", data=tmp_path / "t.csv")
    Ledger(workspace.engine).set_budget("alone", epsilon=2, delta=DELTA)
    made = synthesize(workspace, config("mst", dataset="alone", epsilon=1.0))
    why = "not computable because the schema leaves no feature to predict from"
    assert made.metrics.keys() == {"fidelity/tvd1"}
    assert {made.not_measured[f"utility/tstr_{name}"] for name in ("accuracy", "auc")} == {why}
    assert measure_release(workspace, made.release).figures.keys() == {"fidelity/tvd1"}
    measures = {one["name"]: one for one in evaluate(workspace, made.release).to_json()["measures"]}
    assert (
        measures["utility/tstr"]["reason"]
        == "not computable because the schema declares no target that can be predicted"
    )


def test_notes_that_outlived_their_release_are_not_used_again(pupils_alone: Workspace) -> None:
    """Killed between record and removal: the next synthesis is a fit of its own, and charged."""
    made = synthesize(pupils_alone, config("independent"))
    folder = pupils_alone.root / "fits" / made.generator
    again = synthesize(pupils_alone, config("independent"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.workflows.synthesis.synthesize.forget_fit", lambda *_: None)
        third = synthesize(pupils_alone, config("independent"))
    assert (pupils_alone.root / "fits" / third.generator).is_dir()
    fourth = synthesize(pupils_alone, config("independent"))
    assert len({r.generator for r in (made, again, third, fourth)}) == 4
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 4
    assert not folder.exists()


def test_a_fit_of_records_that_changed_since_is_not_gone_on_with(pupils_alone: Workspace) -> None:
    folder = pupils_alone.root / "fits" / "pupils-aim-0a1b2c"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text("{}")
    (folder / "notes.jsonl").write_text("")
    synthesize(pupils_alone, config())
    assert not folder.exists()
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"epsilon": None}, "give epsilon and delta"),
        ({"generator": "ctgan"}, "takes neither epsilon nor delta"),
        ({"epochs": 3}, "epochs is for ctgan, tvae"),
        ({"generator": "dp_ctgan", "shards": 3}, "shards is for aim, mst, independent"),
        ({"steps": 3}, "steps is for dp_ctgan"),
        ({"rows": 0}, "greater than or equal to 1"),
        ({"rows": 100_000_001}, "less than or equal to 100000000"),
    ],
)
def test_a_config_that_asks_for_what_there_is_not_is_refused(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        config(**{"generator": "aim"} | fields)  # type: ignore[arg-type]


def test_noise_alone_is_still_a_table(pupils_alone: Workspace) -> None:
    made = synthesize(pupils_alone, config(epsilon=0.001, rows=50))
    assert pq.read_table(made.path).num_rows == 50
    assert np.isfinite(made.metrics["fidelity/tvd1"])
