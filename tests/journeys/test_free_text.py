"""What people write in their own words names nobody, so that it can't keep an erasure from its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update
from stored import placed

from workbench.erasure.free_text import WITHHELD, withhold_names
from workbench.erasure.request import submit
from workbench.errors import InputError
from workbench.jobs.job import enqueue, find
from workbench.state import journal, writing
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.budget import set_population_budget
from workbench.workflows.erasure.decide import deny_request, list_requests, show_request
from workbench.workflows.erasure.erase import erase
from workbench.workflows.synthesis.sample import sample


@pytest.mark.parametrize("form", ["{}", "{} is under legal hold", "not “{}”, who is", "(as {}, too)", "x" * 2000])
def test_a_reason_names_nobody(trained: Workspace, form: str) -> None:
    asked, other = placed(trained, "train")[:2]
    request = submit(trained, ["pupils"], asked).id
    for key in (asked, other):
        with pytest.raises(InputError) as fault:
            deny_request(trained, request, form.format(key))
        assert key not in f"{fault.value} {fault.value.hint}"
    assert list_requests(trained).requests[0].status == "quarantined"
    deny_request(trained, request, "pupil-999999 and the law of 1000 towns: a legal hold")
    assert list_requests(trained).requests[0].status == "denied"


def test_a_recipient_is_not_somebody_of_the_data(trained: Workspace, tmp_path: Path) -> None:
    key, generator = placed(trained, "holdout")[0], next((trained.root / "generators").iterdir()).name
    with pytest.raises(InputError, match="names somebody"):
        sample(trained, generator, 10, tmp_path / "out.csv", recipient=f"for {key}")
    assert not (tmp_path / "out.csv").exists()
    sample(trained, generator, 10, tmp_path / "out.csv", recipient="the analysts")


def test_a_population_is_not_named_after_somebody_of_the_data(trained: Workspace) -> None:
    key = placed(trained, "holdout")[0]
    with pytest.raises(InputError, match="names somebody"):
        set_population_budget(trained, key, epsilon=1, delta=1e-5)
    with trained.engine.connect() as connection:
        assert key not in {body["population"] for _, body in journal.entries(connection, "BUDGET")}


def test_a_reason_of_before_is_withheld_and_the_erasure_ends(trained: Workspace) -> None:
    denied, erased = placed(trained, "train")[:2]
    request = submit(trained, ["pupils"], denied).id
    deny_request(trained, request, "legal hold")
    with writing(trained.engine) as connection:
        connection.execute(update(requests).values(reason=f"see {erased}"))
    assert erase(trained, [erased]).requests[0].status == "completed"
    assert show_request(trained, request).reason == WITHHELD


def test_a_job_waits_on_for_the_name_of_its_data_set(trained: Workspace) -> None:
    request = submit(trained, ["pupils"], placed(trained, "train")[0], request_id="dsr-2026-17").id
    configs = [{"dataset": "pupils"}, {"request": request}, {"dataset": "pupils", "data": "/home/pupils/a.csv"}]
    with writing(trained.engine) as connection:
        jobs = [enqueue(connection, "train", config).id for config in configs]
        withhold_names(trained, connection, [b"pupils", request.encode()])
        found = {job.id: job.status for job in find(connection)}
    assert [found[job] for job in jobs] == ["waiting", "waiting", "failed"]
