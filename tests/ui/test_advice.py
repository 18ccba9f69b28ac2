"""Advice on shards from the app: a job, whose result outlives a reload and no erasure of anybody in the data set."""

from __future__ import annotations

import pytest
from said import Open, press, texts
from stored import placed

from workbench.config import TrainConfig
from workbench.erasure.request import submit
from workbench.errors import BusyError
from workbench.jobs.worker import CancelledError
from workbench.state.roles import Person
from workbench.state.workspace import Workspace
from workbench.ui.parts import session
from workbench.ui.parts.jobs import failed, told_fault
from workbench.workflows.erasure import run_waiting
from workbench.workflows.erasure.execute import carry_out
from workbench.workflows.internal_results import findings
from workbench.workflows.operations import jobs
from workbench.workflows.operations.results import JobDetails, Jobs
from workbench.workflows.training import advise_shards as advise
from workbench.workflows.training.advise_shards import kept_advice

CONFIG = {"learner": "naive_bayes", "dataset": "pupils", "shards": 2, "slices": 1}


@pytest.fixture(autouse=True)
def _detached(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of its own: a job is left waiting, as a worker would find it."""
    monkeypatch.setattr(jobs, "detach", lambda *_: None)


def test_advice_is_a_job_that_a_reload_shows(browse: Open, trained: Workspace) -> None:
    app = press(browse(trained, "models"), "How many shards?")
    (job,) = jobs.list_jobs(trained).jobs
    assert (job.kind, job.status) == ("advise", "waiting")
    jobs.take_job(trained, job.job)
    app = browse(trained, "models")
    assert "Recommended" in "".join(one.value for one in app.success)
    (kept,) = kept_advice(trained)
    assert kept.recommended.shards in {choice.shards for choice in kept.choices}
    app = press(press(app, "Take these"), "Train the model")
    assert not app.error
    begun = [job for job in jobs.list_jobs(trained).jobs if job.kind == "train"]
    with trained.engine.connect() as connection:
        config = jobs.get(connection, begun[0].job).config
    assert config["shards"] == kept.recommended.shards
    assert config["informed_by"] == "pupils"
    assert "outside the promise" in texts(app)


def test_a_model_says_that_its_numbers_were_chosen_by_looking(browse: Open, trained: Workspace) -> None:
    told = "chosen by looking at the data of pupils"
    assert told not in texts(browse(trained, "models"))
    jobs.run_job(trained, "train", CONFIG | {"shards": 3, "informed_by": "pupils"})
    app = browse(trained, "models")
    of = next(one for one in app.selectbox if one.label == "Model")
    said = [texts(of.set_value(name).run()) for name in of.options]
    assert sum(told in one for one in said) == 1


def test_an_erasure_sweeps_the_advice(browse: Open, trained: Workspace) -> None:
    jobs.run_job(trained, "advise", CONFIG)
    assert findings(trained, "advice")
    submit(trained, ["pupils"], "pupil-1007")
    with pytest.raises(BusyError):
        jobs.run_job(trained, "advise", CONFIG)
    run_waiting.erase_waiting(trained)
    assert findings(trained, "advice") == []
    assert "Recommended" not in texts(browse(trained, "models"))


def test_advice_that_is_cancelled_is_not_kept(trained: Workspace) -> None:
    def stop(*_: object) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        jobs.run_job(trained, "advise", CONFIG, progress=stop)
    assert findings(trained, "advice") == []


@pytest.mark.parametrize(
    ("split", "after"),
    [
        ("train", "first"),
        ("holdout", "last"),
        pytest.param("holdout", "first", marks=pytest.mark.slow),
        pytest.param("train", "last", marks=pytest.mark.slow),
    ],
)
def test_who_is_erased_meanwhile_is_in_no_advice(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, split: str, after: str
) -> None:
    key, measure, measured = placed(trained, split)[0], advise._measure, []
    tried = len(list(advise._partitions(TrainConfig.model_validate(CONFIG), 280)))

    def then_erase(*of: object) -> object:
        measured.append(measure(*of))
        if len(measured) == (1 if after == "first" else tried):
            submit(trained, ["pupils"], key)
            assert not carry_out(Workspace(trained.root)).done, "an erasure ended while its rows were in use"
        return measured[-1]

    monkeypatch.setattr(advise, "_measure", then_erase)
    with pytest.raises(BusyError):
        jobs.run_job(trained, "advise", CONFIG)
    assert findings(trained, "advice") == []
    assert "asked to be erased" in told_fault(jobs.list_jobs(trained).jobs[0])
    assert carry_out(trained).done


def test_a_job_that_went_well_beside_another_does_not_hide_its_failure(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(status: str, created: str, updated: str) -> JobDetails:
        known = {
            "job": "job-1",
            "actor": "local:x",
            "progress": 1.0,
            "text": "",
            "detail": {},
            "result": {},
            "cancel": False,
        }
        when = {"created": created, "updated": updated}
        return JobDetails(kind="train", status=status, lost=False, **when, **known)

    long, busy, again = job("done", "10:00", "10:09"), job("failed", "10:01", "10:01"), job("done", "10:10", "10:11")
    monkeypatch.setattr(session, "workspace", lambda: workspace)
    for jobs_, shown in (([long, busy], [busy]), ([long, busy, again], []), ([busy], [busy]), ([], [])):
        monkeypatch.setattr("workbench.ui.parts.jobs.list_jobs", lambda _, jobs_=jobs_: Jobs(jobs=tuple(jobs_)))
        assert failed("train") == shown
        assert failed("ingest") == []


def test_what_is_damaged_is_called_so() -> None:
    made = {
        "job": "job-1",
        "kind": "train",
        "actor": "local:x",
        "progress": 1.0,
        "text": "",
        "created": "",
        "updated": "",
    }
    job = JobDetails(**made, status="failed", lost=False, cancel=False, detail={}, result={"error": "damaged"})
    assert "doctor" in told_fault(job)


def test_a_viewer_asks_for_no_advice(browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "person", lambda: Person(actor="oidc:viewer", role="viewer"))
    app = browse(trained, "models")
    assert next(button for button in app.button if button.label == "How many shards?").disabled
