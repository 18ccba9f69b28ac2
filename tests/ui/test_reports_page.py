"""An evaluation begun from the app: a job that keeps ids alone, then a report on the page."""

from __future__ import annotations

import pytest
from said import Open, press, texts

from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.stored_evaluations import evaluations
from workbench.workflows.operations import jobs
from workbench.workflows.operations.overview import overview


def test_an_evaluation_is_a_job_and_its_report_is_shown(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "detach", lambda *_: None)
    (release,) = overview(trained).releases
    app = browse(trained, "reports", of=release.release)
    app.select_slider[0].set_value(1000)
    press(app, "Evaluate")
    (job,) = jobs.list_jobs(trained).jobs
    jobs.take_job(trained, job.job)
    (made,) = evaluations(trained)
    assert made.of == release.release
    (done,) = jobs.list_jobs(trained).jobs
    assert done.status == "done"
    assert done.result == {"dataset": "pupils", "evaluation": made.id}
    app = browse(trained, "reports", of=release.release)
    assert not app.error
    assert "Internal: it was computed from people's rows" in texts(app)
    assert app.get("iframe")


def test_a_job_that_came_to_no_end_is_told_in_words(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise ValueError("row 4711 of somebody")

    monkeypatch.setattr("workbench.workflows.evaluation.evaluate.evaluate", full)
    with pytest.raises(ValueError, match="4711"):
        jobs.run_job(trained, "evaluate", {"name": "pupils"})
    app = browse(trained, "reports")
    assert "came to no end" in app.warning[0].value
    assert "4711" not in texts(app)
    assert "came to no end" in texts(browse(trained, "home"))
