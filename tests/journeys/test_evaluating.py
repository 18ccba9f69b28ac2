"""Evaluations by the road that users take: measured, judged, shown, compared; internal, and gone with an erasure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import PUPILS_SCHEMA, Answer, fill, pupils
from stored import ensemble_of, placed
from test_append import csv
from test_queue import POLICY
from test_retire import artifacts, generator_of

from workbench.cli.render import show_evaluation
from workbench.data.store import Store
from workbench.erasure.locate import locate
from workbench.erasure.request import submit
from workbench.errors import BusyError, CheckFailedError, InputError
from workbench.metrics.fidelity.pairs import PAIRS
from workbench.metrics.measure import Metric
from workbench.metrics.registry import fidelity_metrics
from workbench.privacy.ledger import Ledger
from workbench.reports.evaluation_page import evaluation_page
from workbench.sisa.ensemble import usable
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.datasets.ingest import append
from workbench.workflows.erasure import execute, run_waiting
from workbench.workflows.erasure.decide import approve_request, list_requests, set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.evaluation import evaluate_ensemble, evaluate_release
from workbench.workflows.evaluation import sweep as sweeping
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.evaluation.stored_evaluations import evaluation_of
from workbench.workflows.evaluation.subject import Settings
from workbench.workflows.evaluation.sweep import configs_of, sweep
from workbench.workflows.internal_results import keep
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.jobs import list_jobs, run_job, take_job
from workbench.workflows.operations.overview import measured, quality
from workbench.workflows.operations.restore import restore

RULES = {"release": {"anything": [{"measure": "fidelity/column_shapes", "at_least": 0}]}}


def document_of(*words: Any, **more: Any) -> dict[str, Any]:
    """Evaluate, and return the document."""
    return evaluate(*words, **more).to_json()


def files(workspace: Workspace) -> list[Path]:
    return sorted((workspace.root / "evaluations").rglob("*.json"))


def evaluations(workspace: Workspace) -> dict[str, Any]:
    return {a.id: a for a in artifacts(workspace) if a.kind == "evaluation" and a.path is not None}


def runs(workspace: Workspace) -> dict[str, dict[str, float]]:
    """The metrics of every evaluation's run."""
    with Tracking(workspace.root).session() as client:
        experiment = client.get_experiment_by_name("pupils")
        found = client.search_runs([experiment.experiment_id], "tags.`workbench.kind` = 'evaluation'")
    return {run.info.run_id: dict(run.data.metrics) for run in found}


def test_a_release_is_measured_judged_and_recorded_and_an_erasure_leaves_nothing_of_it(command, trained) -> None:
    generator = generator_of(trained)
    answer: Answer = command("--workspace", trained.root, "evaluate", generator, "--json")
    assert answer.code == 0, answer.err
    document = answer.json
    assert (document["of"], document["kind"]) == (f"{generator}-release", "release")
    measures = {m["name"]: m for m in document["measures"]}
    assert {name.partition("/")[0] for name in measures} == {"fidelity", "utility", "disclosure", "cost"}
    tvd = measures["fidelity/tvd2"]
    assert tvd["estimate"]["low"] <= tvd["estimate"]["value"] <= tvd["estimate"]["high"]
    assert tvd["baseline"] is not None
    assert tvd["ceiling"] is not None
    assert not any(m["failed"] for m in measures.values())
    assert all(m["reason"] for m in measures.values() if m["estimate"] is None)
    assert {v["use"] for v in document["verdicts"]} == {"software testing", "model development", "publication"}
    assert measures["cost/epsilon"]["estimate"]["value"] == 1.0

    (artifact,) = evaluations(trained).values()
    assert [json.loads(path.read_text()) for path in files(trained)] == [document]
    logged = runs(trained)[artifact.body["mlflow_run"]]
    assert logged["fidelity/tvd2"] == tvd["estimate"]["value"]
    assert logged["fidelity/tvd2_high"] == tvd["estimate"]["high"]

    again = document_of(trained, generator)
    assert {k: v for k, v in again.items() if k != "made"} == {k: v for k, v in document.items() if k != "made"}
    assert len(files(trained)) == len(evaluations(trained)) == 1, "the older one went"
    assert artifact.body["mlflow_run"] not in runs(trained)

    stray = files(trained)[0].with_name("left-by-a-kill.json")
    stray.write_text("{}")
    erase(trained, [placed(trained, "train")[0]])
    assert files(trained) == []
    assert evaluations(trained) == {}
    assert not any("fidelity/tvd2_high" in metrics for metrics in runs(trained).values())
    assert doctor(trained).healthy


def test_an_ensemble_and_an_erasure_are_measured_too(command, trained, tmp_path) -> None:
    ensemble, key = ensemble_of(trained), placed(trained, "train")[0]
    request = erase(trained, [key]).requests[0].request
    of_model = document_of(trained, ensemble)
    measures = {m["name"]: m for m in of_model["measures"]}
    assert of_model["of"] == f"{ensemble}@2"
    assert 0.5 < measures["utility/auc"]["estimate"]["value"] <= 1
    assert measures["utility/auc"]["baseline"]["value"] == 0.5
    assert measures["cost/peak_mb"]["estimate"]["value"] > 50
    assert measures["disclosure/mia_answers_auc"]["estimate"]["n"] > 100
    assert {s["state"] for s in of_model["pictures"]["shards"]} == {"trained", "retrained"}

    of_erasure = document_of(trained, request)
    measures = {m["name"]: m for m in of_erasure["measures"]}
    assert of_erasure["facts"]["exact"] is True
    assert measures["forgetting/equal"]["estimate"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 50}
    assert measures["forgetting/after_living_lira_auc"]["estimate"]["n"] == 60
    assert measures["disclosure/differencing_auc"]["estimate"] is not None
    assert key not in json.dumps(of_erasure)

    for name, out in ((ensemble, "m.html"), (request, "e.html")):
        answer = command("--workspace", trained.root, "report", name, "--out", tmp_path / out, "--json")
        assert answer.code == 0, answer.err
        assert "<h1" in (tmp_path / out).read_text()
    answer = command("--workspace", trained.root, "card", ensemble, "--out", tmp_path / "m.md", "--json")
    assert answer.code == 0
    assert (
        str(measures["forgetting/equal"]["estimate"]["n"]) not in (tmp_path / "m.md").read_text().split("## Figures")[1]
    )


def test_pages_cards_and_comparisons_are_of_what_was_evaluated(command, trained, tmp_path) -> None:
    home, generator, ensemble = ("--workspace", trained.root), generator_of(trained), ensemble_of(trained)
    answer = command(*home, "report", generator, "--out", tmp_path / "r.html", "--json")
    assert (answer.code, answer.error["hint"]) == (4, f"workbench evaluate {generator}")
    assert not (tmp_path / "r.html").exists()
    document_of(trained, generator)
    raised = ("--epsilon", 5, "--delta", "1e-5", "--reason", "a second study")
    assert command(*home, "ledger", "budget", "pupils", *raised, "--json").json["raises"][0]["releases"] == 1
    for words in (("report", generator, "--out", tmp_path / "r.html"), ("card", generator, "--out", tmp_path / "r.md")):
        assert command(*home, *words, "--json").code == 0
    assert command(*home, "card", generator, "--out", tmp_path / "r.html", "--json").code == 2
    assert "Internal" in (tmp_path / "r.html").read_text()
    assert yaml.safe_load((tmp_path / "r.md").read_text().split("---")[1])["tags"]
    privacy = (tmp_path / "r.md").read_text().split("## Privacy")[1]
    assert "raised after 1 release, from ε = 4 to ε = 5, beyond the ε = 4 declared before the first one" in privacy
    assert "a second study" in privacy
    assert command(*home, "compare", generator, "--json").code == 2, "one is none to compare with"
    document_of(trained, ensemble)
    answer = command(*home, "compare", generator, ensemble, "--out", tmp_path / "c.html", "--json")
    assert answer.code == 0
    shapes = next(row for row in answer.json["figures"] if row["figure"] == "fidelity/column_shapes")
    assert 0 < shapes[f"{generator}-release"] <= 1
    assert f"{ensemble}@1" not in shapes
    document = evaluation_of(trained, generator)
    for path in files(trained):
        path.write_text("{}")
    damaged = command(*home, "report", document.of, "--out", tmp_path / "r.html", "--json")
    assert damaged.code == 2


def test_nobody_is_measured_who_waits_for_an_erasure(trained, monkeypatch) -> None:
    generator = generator_of(trained)
    key = placed(trained, "train")[0]
    honest = evaluate_release.measured

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        found = honest(*arguments, **more)
        submit(trained, ["pupils"], key)
        return found

    monkeypatch.setattr(evaluate_release, "measured", meanwhile)
    before = runs(trained)
    with pytest.raises(BusyError):
        document_of(trained, generator)
    assert (files(trained), evaluations(trained), runs(trained)) == ([], {}, before)


def test_beside_open_requests_is_evaluated_what_is_usable(trained, monkeypatch, capsys) -> None:
    """Their people are left out of every table, their shard does not answer, and the document says how many."""
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    keys = [placed(trained, "train")[0], placed(trained, "holdout")[0]]
    for key in keys:
        submit(trained, ["pupils"], key)
    points = {subject.point for key in keys for subject in locate(trained, [("pupils", key)])}
    seen: list[Any] = []
    honest, voting = evaluate_release.measured, evaluate_ensemble.votes_of

    def looked_at(metrics: Any, tables: Any, **more: Any) -> Any:
        seen.extend([tables.training, tables.holdout])
        return honest(metrics, tables, **more)

    def asked(manifest: Any, objects: Any, rows: Any, **more: Any) -> Any:
        seen.append(rows)
        assert len(usable(manifest, ())) == 3, "one shard of four is under quarantine"
        return voting(manifest, objects, rows, **more)

    monkeypatch.setattr(evaluate_release, "measured", looked_at)
    monkeypatch.setattr(evaluate_ensemble, "votes_of", asked)
    few = Settings(rows=100)
    of_release, of_model = (
        document_of(trained, name, settings=few) for name in (generator_of(trained), ensemble_of(trained))
    )
    assert (of_release["left_out"], of_model["left_out"]) == ({"people": 2}, {"people": 2, "shards": 1})
    assert len(seen) > 4
    assert not any(np.isin(sorted(points), rows.points).any() for rows in seen)
    assert "2 people wait for erasure and were left out, with the 1 shard" in evaluation_page(of_model)
    show_evaluation(of_release)
    assert "left out, because people wait for their erasure: 2 people" in capsys.readouterr().out
    with pytest.raises(BusyError):
        keep(trained, "advice", "pupils", "trees", {})

    for request in [one.request for one in list_requests(trained).requests]:
        approve_request(trained, request)
    assert len(carry_out_waiting(trained)) == 2
    assert (files(trained), evaluations(trained)) == ([], {}), "they go with the erasure all the same"
    assert doctor(trained).healthy


@pytest.mark.slow
def test_an_evaluation_beside_an_erasure_that_is_stuck_goes_with_what_it_is_of(trained, monkeypatch) -> None:
    def stuck(*_: object) -> None:
        raise CheckFailedError("stuck")

    submit(trained, ["pupils"], placed(trained, "train")[0])
    with monkeypatch.context() as patch:
        patch.setitem(execute.STEPS, "retrained", ("published", stuck))
        with pytest.raises(CheckFailedError):
            carry_out_waiting(trained)
        assert document_of(trained, ensemble_of(trained))["left_out"] == {"people": 1, "shards": 1}
    assert len(evaluations(trained)) == 1
    assert len(carry_out_waiting(trained)) == 1
    assert (files(trained), evaluations(trained)) == ([], {}), "its version was superseded"
    assert doctor(trained).healthy


@pytest.mark.parametrize("by", ["erase", *(pytest.param(by, marks=pytest.mark.slow) for by in ("evaluate", "measure"))])
def test_the_figures_of_a_kept_release_come_back_after_an_erasure(trained, by: str) -> None:
    release = f"{generator_of(trained)}-release"
    first, made = quality(trained, release), measured(trained, release)
    assert made is not None
    assert made.records_version == 1
    submit(trained, ["pupils"], placed(trained, "train")[0])
    if by == "erase":  # in a process of its own, as the app does it
        job, _ = detached(trained)
        take_job(trained, job)
    else:
        carry_out_waiting(trained)
        assert (quality(trained, release), measured(trained, release)) == ({}, None)
        if by == "evaluate":
            document_of(trained, release)
        else:
            run_job(trained, "measure", {"name": release})
    again, when = quality(trained, release), measured(trained, release)
    assert set(again) == set(first)
    assert again["fidelity/tvd1"] != first["fidelity/tvd1"], "on the records that remain"
    assert when is not None
    assert when.records_version == 2
    kinds = [job.kind for job in list_jobs(trained).jobs]
    assert ("measure" in kinds) == (by != "evaluate")
    assert doctor(trained).healthy


def detached(workspace: Workspace) -> tuple[str, dict[str, Any]]:
    """A job of all that waits, which no process works on yet."""
    job = run_waiting.job_of_waiting(workspace, patient=True)
    assert job is not None
    return job.id, dict(job.config)


def test_a_metric_that_fails_does_not_lose_the_others(trained, monkeypatch) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError("of the row pupil-1001")

    broken = [
        Metric(title=m.title, definitions=m.definitions, compute=fails if m is PAIRS else m.compute)
        for m in fidelity_metrics(None)
    ]
    monkeypatch.setattr(evaluate_release, "fidelity_metrics", lambda _: tuple(broken))
    document = document_of(trained, generator_of(trained))
    (failed,) = (m for m in document["measures"] if m["failed"])
    assert (failed["name"], failed["estimate"]) == ("fidelity/pair_trends", None)
    assert failed["reason"] == "failed: RuntimeError"
    assert "pupil-1001" not in json.dumps(document)
    development = next(v for v in document["verdicts"] if v["use"] == "model development")
    assert development["holds"] is not True
    assert len([m for m in document["measures"] if m["estimate"] is not None]) > 20


def test_thresholds_are_the_users_own(command, trained, tmp_path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    home, words = ("--workspace", trained.root), ("evaluate", generator_of(trained), "--json", "--rules")
    document = command(*home, *words, tmp_path / "rules.yaml").json
    assert [(v["use"], v["holds"]) for v in document["verdicts"]] == [("anything", True)]
    (tmp_path / "rules.yaml").write_text("release: {x: [{measure: a}]}")
    assert command(*home, *words, tmp_path / "rules.yaml").code == 2
    assert command(*home, "evaluate", "nothing", "--json").code == 4
    assert command(*home, "evaluate", generator_of(trained), "--rows", 0, "--json").code == 2


def test_a_sweep_is_paid_for_as_a_whole_or_not_begun(command, trained, tmp_path) -> None:
    home, path = ("--workspace", trained.root), "configs/generators/mst.yaml"
    text = (Path(__file__).parents[2] / path).read_text().replace("adult", "pupils")
    (tmp_path / "g.yaml").write_text(text.replace("generator: mst", "generator: independent"))
    words = ("sweep", tmp_path / "g.yaml", "--over", "epsilon=0.3,1", "--over", "generator=mst,independent", "--json")
    planned = command(*home, *words, "--plan").json
    assert len(planned["fits"]) == 4
    assert planned["allowed"]
    charged = len(Ledger(trained.engine).entries("pupils"))
    dear = command(*home, "sweep", tmp_path / "g.yaml", "--over", "epsilon=1,2,3", "--json")
    assert dear.code == 3
    assert len(Ledger(trained.engine).entries("pupils")) == charged, "nothing was read"
    assert command(*home, "sweep", tmp_path / "g.yaml", "--over", "epsilon=1,x", "--json").code == 2
    done = command(*home, *words[:-3], "--json", "--out", tmp_path / "s.html")
    assert done.code == 0, done.err
    assert [row["epsilon"] for row in done.json["releases"]] == [0.3, 1.0]
    assert "<h1" in (tmp_path / "s.html").read_text()
    assert len(files(trained)) == 2
    erase(trained, [placed(trained, "train")[0]])
    assert done.json["mlflow_run"] not in runs(trained)


def test_shadow_releases_are_charged_like_fits(command, workspace, tmp_path, monkeypatch) -> None:
    (tmp_path / "s.yaml").write_text(PUPILS_SCHEMA.replace("share: 0.25", "share: 0.5"))
    pupils(900).to_csv(tmp_path / "t.csv", index=False)
    fill(workspace, tmp_path / "s.yaml", tmp_path / "t.csv", shards=1, slices=1, rounds=2)
    ledger, words = Ledger(workspace.engine), ("evaluate", generator_of(workspace), "--shadow", "--json")
    charged = len(ledger.entries("pupils"))
    ledger.set_budget("pupils", epsilon=1.5, delta=1e-5)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "_bucket", lambda *_, **__: pytest.fail("a row was read before the ledger was asked"))
        refused = command("--workspace", workspace.root, *words)
    assert (refused.code, len(ledger.entries("pupils"))) == (3, charged), "there is no room for four more fits"
    ledger.set_budget("pupils", epsilon=20, delta=1e-5, reason="a test")
    document = command("--workspace", workspace.root, *words).json
    found = {m["name"]: m for m in document["measures"]}["disclosure/mia_shadow_auc"]
    assert found["estimate"] is not None, found["reason"]
    purposes = [entry.purpose for entry in ledger.entries("pupils")[charged:]]
    assert purposes == [f"shadow release to evaluate {generator_of(workspace)}"] * 4


def test_a_backup_brings_evaluations_back(trained, tmp_path) -> None:
    document = document_of(trained, ensemble_of(trained))
    backup(trained, tmp_path / "b.tar.zst")
    restore(tmp_path / "new", tmp_path / "b.tar.zst", without=True)
    assert evaluation_of(Workspace.open(tmp_path / "new"), ensemble_of(trained)).to_json() == document


def test_rows_that_came_in_since_are_nobody_that_was_learnt_from(trained, tmp_path) -> None:
    generator, ensemble = generator_of(trained), ensemble_of(trained)
    append(trained, "pupils", data=csv(pupils(1, first=5000), tmp_path))
    of_release = {m["name"]: m for m in document_of(trained, generator)["measures"]}
    assert of_release["fidelity/tvd2"]["estimate"] is not None
    attacked = [m for name, m in of_release.items() if name.startswith("disclosure/")]
    assert attacked
    assert all(m["estimate"] is None and "rows were added since" in m["reason"] for m in attacked)
    of_model = {m["name"]: m for m in document_of(trained, ensemble)["measures"]}
    assert of_model["disclosure/mia_answers_auc"]["estimate"] is not None, "three of four shards are as they were"
    append(trained, "pupils", data=csv(pupils(60, first=6000), tmp_path))
    of_model = {m["name"]: m for m in document_of(trained, ensemble)["measures"]}
    assert "got rows since" in of_model["disclosure/mia_answers_auc"]["reason"]


def test_columns_and_uses_of_any_name_are_logged(workspace, tmp_path) -> None:
    (tmp_path / "s.yaml").write_text(PUPILS_SCHEMA.replace("  passed:", '  "passed? (yes/no) €":'))
    pupils(300).rename(columns={"passed": "passed? (yes/no) €"}).to_csv(tmp_path / "t.csv", index=False)
    fill(workspace, tmp_path / "s.yaml", tmp_path / "t.csv", shards=1, slices=1, rounds=2)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"release": {"a & b (€)": RULES["release"]["anything"]}}))
    document = document_of(workspace, generator_of(workspace), rules=tmp_path / "rules.yaml")
    assert "disclosure/inference_passed? (yes/no) €_risk" in {m["name"] for m in document["measures"]}
    assert any("disclosure/inference_passed___yes/no____risk" in metrics for metrics in runs(workspace).values())


def test_what_an_erasure_purged_is_not_compared_and_no_page_lies_in_the_workspace(
    trained, tmp_path, monkeypatch
) -> None:
    (tmp_path / "g.yaml").write_text((Path(__file__).parents[2] / "configs/generators/mst.yaml").read_text())
    configs = configs_of(tmp_path / "g.yaml", ["epsilon=0.3"], ["dataset=pupils", "generator=independent"])
    with pytest.raises(InputError, match="outlive"):
        sweep(trained, configs, out=trained.root / "page.html")
    with pytest.raises(InputError, match="one data set"):
        configs_of(tmp_path / "g.yaml", ["dataset=pupils,adult"])
    honest = sweeping.evaluate

    def then_erased(*arguments: Any, **more: Any) -> Any:
        found = honest(*arguments, **more)
        erase(trained, [placed(trained, "train")[0]])
        return found

    monkeypatch.setattr(sweeping, "evaluate", then_erased)
    with pytest.raises(BusyError, match="purged"):
        sweep(trained, configs, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    assert not any(run for run, metrics in runs(trained).items() if not metrics)


def test_of_a_large_release_all_is_attacked_or_nothing(trained) -> None:
    document = document_of(trained, generator_of(trained), settings=Settings(rows=100))
    measures = {m["name"]: m for m in document["measures"]}
    assert document["sampled"]["one row in"] > 4
    assert measures["fidelity/tvd2"]["estimate"]["n"] < 130
    assert measures["disclosure/excess_copies"]["estimate"]["n"] == 400, "everybody"
    assert measures["disclosure/mia_distance_auc"]["estimate"] is not None
    assert "rows of the release were looked at" in measures["disclosure/linkability_risk"]["reason"]
    publication = next(v for v in document["verdicts"] if v["use"] == "publication")
    assert publication["holds"] is not True
