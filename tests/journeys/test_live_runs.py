"""A synthesis in MLflow while it goes on, and what becomes of its run where it fails, is killed or MLflow is out of reach."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from stored import placed
from test_remeasure import nothing_unnamed
from test_synthesis import config, generators, pupils_alone

from workbench.errors import BusyError
from workbench.generators import aim
from workbench.generators.registry import generator_of
from workbench.privacy.calibration import epsilon_of
from workbench.privacy.ledger import Ledger
from workbench.state import lineage
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.tracking import live_runs as live
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import resume
from workbench.workflows.synthesis.synthesize import synthesize

__all__ = ["pupils_alone"]

NOT_PRIVATE = {"epsilon": None, "delta": None}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_EVERY", 0.0)


def client_of(workspace: Workspace) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=Tracking(workspace.root).uri)


def runs(workspace: Workspace, kind: str = "synthesize") -> list[Any]:
    """Runs of that kind, oldest first."""
    client = client_of(workspace)
    experiment = client.get_experiment_by_name("pupils").experiment_id
    found = client.search_runs([experiment], f"tags.`workbench.kind` = '{kind}'", order_by=["start_time ASC"])
    return [run for run in found if not run.info.run_name.startswith("counts")]  # the ingest's evaluation


def figures(workspace: Workspace, run: Any, name: str) -> dict[int, float]:
    return {m.step: m.value for m in client_of(workspace).get_metric_history(run.info.run_id, f"fit/{name}")}


def test_a_run_is_there_from_the_beginning_and_its_figures_grow_with_the_fit(pupils_alone: Workspace) -> None:
    seen: list[tuple[str, str, float]] = []

    def look(_: float, text: str) -> None:
        if text == "measuring single columns" or text.startswith("round"):
            (run,) = runs(pupils_alone)
            seen.append((text, run.info.status, run.data.metrics.get("fit/step", 0.0)))
            assert run.data.metrics["privacy/epsilon"] == 2.0

    made = synthesize(pupils_alone, config("aim"), progress=look)
    assert {status for _, status, _ in seen} == {"RUNNING"}
    assert [step for _, _, step in seen] == [0.0, *map(float, range(len(seen) - 1))], "all rounds before this one"
    (run,), (evaluation,) = runs(pupils_alone), runs(pupils_alone, "evaluation")
    assert (run.info.run_id, run.info.status, evaluation.info.status) == (made.mlflow_run, "FINISHED", "FINISHED")
    spent, misfit = figures(pupils_alone, run, "budget_spent"), figures(pupils_alone, run, "misfit")
    assert list(spent.values()) == sorted(spent.values())
    assert spent[len(seen)] == 1.0
    assert misfit.keys() == spent.keys() == set(range(1, len(seen) + 1))
    assert all(0 < value < 100 for value in misfit.values())
    assert run.data.metrics["rows"] == made.rows
    assert run.data.tags["workbench.audience"] == "release"
    assert evaluation.data.tags["workbench.audience"] == "internal"
    assert evaluation.data.metrics["fidelity/tvd1"] == pytest.approx(made.metrics["fidelity/tvd1"])
    assert {"utility/tstr_auc", "utility/tstr_auc_low"} <= evaluation.data.metrics.keys()


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        pytest.param(config("mst"), {"step", "budget_spent", "misfit"}, marks=pytest.mark.slow),  # as independent, aim
        (config("independent"), {"step", "budget_spent", "misfit"}),
        (config("dp_ctgan", steps=10), {"step", "epsilon", "generator_loss"}),
        pytest.param(config("tvae", epochs=2, **NOT_PRIVATE), {"step"}, marks=pytest.mark.slow),  # as ctgan
        (config("ctgan", epochs=2, **NOT_PRIVATE), {"step"}),
        (config("gaussian_copula", **NOT_PRIVATE), set()),
    ],
    ids=lambda value: getattr(value, "generator", ""),
)
def test_nothing_but_what_is_noisy_or_public_is_shown(pupils_alone: Workspace, asked: Any, names: set[str]) -> None:
    synthesize(pupils_alone, asked)
    (run,) = runs(pupils_alone)
    assert {key for key in run.data.metrics if key.startswith("fit/")} == {f"fit/{name}" for name in names}
    assert run.data.tags["workbench.audience"] == ("release" if asked.private else "internal")
    if asked.generator == "dp_ctgan":
        spent = figures(pupils_alone, run, "epsilon")
        assert list(spent) == list(range(1, 11))
        assert list(spent.values()) == sorted(spent.values())
        assert spent[10] == pytest.approx(epsilon_of(generator_of(asked).event, asked.delta), rel=1e-3)
        assert spent[10] <= 2.0, "at its best order; the ledger's filter has one for all charges"


def test_a_killed_fit_is_ended_by_the_next_command_and_gone_on_with_in_a_run_of_its_own(
    pupils_alone: Workspace,
) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from workbench.config import SynthesizeConfig; from workbench.state.workspace import Workspace\n"
        "from workbench.tracking import live_runs as live; from workbench.workflows.synthesis.synthesize import synthesize\n"
        "live._EVERY = 0.0\n"
        "stop = lambda _, text: os._exit(9) if text.startswith('round 5') else None\n"
        "workspace, asked = Workspace.open(Path(sys.argv[1])), SynthesizeConfig.model_validate_json(sys.argv[2])\n"
        "synthesize(workspace, asked, progress=stop)\n"
    )
    asked = config().model_dump_json()
    assert forked.run([sys.executable, "-c", program, pupils_alone.root, asked]).returncode == 9
    (killed,) = runs(pupils_alone)
    assert (killed.info.status, killed.data.metrics["fit/step"]) == ("RUNNING", 4.0)
    with pupils_alone.lock("pupils"):  # as long as somebody is at it
        resume(pupils_alone)
    assert runs(pupils_alone)[0].info.status == "RUNNING"
    resume(pupils_alone)
    assert [run.info.status for kind in ("synthesize", "evaluation") for run in runs(pupils_alone, kind)] == [
        "KILLED",
        "KILLED",
    ]
    made = synthesize(pupils_alone, config())
    assert len(Ledger(pupils_alone.engine).entries("pupils")) == 1
    before, after = runs(pupils_alone)
    assert (before.info.status, after.info.status) == ("KILLED", "FINISHED")
    assert before.info.run_name == after.info.run_name == f"synthesize {made.generator}"
    assert figures(pupils_alone, after, "budget_spent")[1] == figures(pupils_alone, before, "budget_spent")[1]
    erase(pupils_alone, [placed(pupils_alone, "train")[0]])
    nothing_unnamed(pupils_alone)


def test_a_fit_that_fails_ends_its_runs_and_an_erasure_purges_them(
    pupils_alone: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aim, "estimate_total", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        synthesize(pupils_alone, config())
    assert {run.info.status for kind in ("synthesize", "evaluation") for run in runs(pupils_alone, kind)} == {"FAILED"}
    assert generators(pupils_alone) == []
    erase(pupils_alone, [placed(pupils_alone, "train")[0]])
    nothing_unnamed(pupils_alone)


def test_a_fit_that_is_not_private_and_fails_leaves_no_run(pupils_alone: Workspace) -> None:
    def stop(_: float, text: str) -> None:
        if text == "evaluating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(pupils_alone, config("gaussian_copula", **NOT_PRIVATE), progress=stop)
    nothing_unnamed(pupils_alone)


def test_without_the_tracking_store_nothing_is_charged(pupils_alone: Workspace, tmp_path: Path) -> None:
    shutil.move(pupils_alone.root / "mlflow.db", tmp_path / "away.db")
    with pytest.raises(BusyError, match="no tracking store"):
        synthesize(pupils_alone, config())
    assert Ledger(pupils_alone.engine).entries("pupils") == []


def test_a_release_is_made_without_the_tracking_store_and_shown_once_that_is_back(
    pupils_alone: Workspace, tmp_path: Path
) -> None:
    def lose(_: float, text: str) -> None:
        if text.startswith("round 2"):
            shutil.move(pupils_alone.root / "mlflow.db", tmp_path / "away.db")

    made = synthesize(pupils_alone, config(), progress=lose)
    assert Path(made.path).exists()
    with pupils_alone.engine.connect() as connection:
        assert len(lineage.find(connection, dataset="pupils", kind="release")) == 1
    shutil.move(tmp_path / "away.db", pupils_alone.root / "mlflow.db")
    assert runs(pupils_alone)[0].info.status == "RUNNING"
    resume(pupils_alone)
    (run,), (evaluation,) = runs(pupils_alone), runs(pupils_alone, "evaluation")
    assert (run.info.status, evaluation.info.status) == ("FINISHED", "FINISHED")
    assert run.data.metrics["rows"] == made.rows
    assert evaluation.data.metrics["fidelity/tvd2"] == pytest.approx(made.metrics["fidelity/tvd2"])
