"""Jobs: a lease that runs out, a heartbeat that prolongs it, a cancel that arrives, and processes that outlive us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Answer
from sqlalchemy import text
from stored import ensemble_of
from until import until

from workbench.errors import BusyError, InputError, NotFoundError
from workbench.jobs import worker as worker_module
from workbench.jobs.detail import tell
from workbench.jobs.job import beat, cancel, claim, enqueue, get
from workbench.jobs.worker import CancelledError, json_of, work_on
from workbench.progress import Progress, silent
from workbench.state import writing
from workbench.state.workspace import Workspace
from workbench.workflows.operations.jobs import cancel_job, detach_job, list_jobs, run_job, take_job

TRAIN = {"learner": "gradient_boosting", "dataset": "pupils", "shards": 2, "slices": 1, "rounds": 2}


def enqueued(workspace: Workspace) -> str:
    with writing(workspace.engine) as connection:
        return enqueue(connection, "ingest", {"name": "german", "schema": None, "data": None}).id


def let_lease_end(workspace: Workspace) -> None:
    with workspace.engine.connect() as connection:
        connection.execute(text("UPDATE jobs SET lease_until = -1"))


def test_a_job_has_one_worker_until_its_lease_ends(workspace: Workspace) -> None:
    job = enqueued(workspace)
    with writing(workspace.engine) as connection:
        claim(connection, job, "first")
        with pytest.raises(BusyError):
            claim(connection, job, "second")
        assert not beat(connection, job, "first", progress=0.5, text="half")
    let_lease_end(workspace)
    assert list_jobs(workspace).jobs[0].lost
    with writing(workspace.engine) as connection:
        claim(connection, job, "second")
        with pytest.raises(BusyError, match="taken over"):
            beat(connection, job, "first", progress=0.6, text="still here")


def test_the_result_of_a_lost_job_is_not_recorded(workspace: Workspace) -> None:
    job = enqueued(workspace)

    def lose(_: Progress) -> dict[str, str]:
        let_lease_end(workspace)
        with writing(workspace.engine) as connection:
            claim(connection, job, "second")
        return {"dataset": "mine"}

    work_on(workspace.engine, job, lose, silent)
    with workspace.engine.connect() as connection:
        row = get(connection, job)
    assert (row.status, row.worker, dict(row.result)) == ("running", "second", {})


def test_a_cancel_arrives_with_the_next_report(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "BEAT_SECONDS", 0.01)
    job, reports = enqueued(workspace), []

    def work(report: Progress) -> dict[str, str]:
        cancel_job(workspace, job)
        for step in range(10_000):
            report(step / 10_000, "working")
            reports.append(step)
            time.sleep(0.01)
        return {}

    with pytest.raises(CancelledError):
        work_on(workspace.engine, job, work, silent)
    assert len(reports) < 9_000
    with workspace.engine.connect() as connection:
        assert get(connection, job).status == "cancelled"


def test_a_waiting_job_is_cancelled_at_once(workspace: Workspace) -> None:
    job = enqueued(workspace)
    assert cancel_job(workspace, job).status == "cancelled"
    with pytest.raises(InputError, match="cancelled already"):
        take_job(workspace, job)
    with pytest.raises(InputError, match="cancelled already"), writing(workspace.engine) as connection:
        cancel(connection, job)
    with pytest.raises(NotFoundError):
        cancel_job(workspace, "job-none")


def test_what_cannot_be_looked_at_stops_no_heartbeat(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "BEAT_SECONDS", 0.01)
    job, beats = enqueued(workspace), threading.Semaphore(0)

    def look() -> dict[str, str]:
        beats.release()
        raise RuntimeError("dictionary changed size during iteration")

    def work(_: Progress) -> dict[str, str]:
        tell("part", look)
        assert all(beats.acquire(timeout=30) for _ in range(2)), "the heart stood still"
        return {}

    work_on(workspace.engine, job, work, silent)
    assert list_jobs(workspace).jobs[0].status == "done"


def test_a_list_to_be_read_leaves_out_numbers_of_each_shard(
    workspace: Workspace, command: Callable[..., Answer]
) -> None:
    job = enqueued(workspace)
    slices = {str(shard): [1, 3] for shard in range(400)}
    with writing(workspace.engine) as connection:
        claim(connection, job, "worker")
        beat(connection, job, "worker", progress=0.4, text="shard 1", detail={"new": {"slices": slices}})
    assert "slices" not in command("--workspace", workspace.root, "jobs", "list").out
    (told,) = command("--workspace", workspace.root, "jobs", "list", "--json").json["jobs"]
    assert told["detail"]["new"]["slices"] == slices


def test_a_fault_is_recorded_by_its_kind_alone(workspace: Workspace) -> None:
    job = enqueued(workspace)

    def fail(_: Progress) -> dict[str, str]:
        raise InputError("the row of Jane Doe is wrong")

    with pytest.raises(InputError):
        work_on(workspace.engine, job, fail, silent)
    shown = list_jobs(workspace).jobs[0]
    assert (shown.status, shown.result) == ("failed", {"error": "bad_input"})


def test_training_is_a_job_and_keeps_only_ids(trained: Workspace) -> None:
    result = run_job(trained, "train", TRAIN)
    shown = list_jobs(trained).jobs[-1]
    assert (shown.kind, shown.status, shown.progress) == ("train", "done", 1.0)
    assert shown.result == {"ensemble": json_of(result)["ensemble"], "version": 1}


def test_a_config_that_cannot_be_read_makes_no_job(trained: Workspace) -> None:
    before = len(list_jobs(trained).jobs)
    with pytest.raises(InputError):
        run_job(trained, "train", {**TRAIN, "shards": 0})
    with pytest.raises(InputError, match="no job is of kind"):
        run_job(trained, "dance", {})
    assert len(list_jobs(trained).jobs) == before


def test_a_detached_job_goes_on_in_a_process_of_its_own(trained: Workspace) -> None:
    job = detach_job(trained, "train", TRAIN).job

    def over() -> Any:
        shown = next(j for j in list_jobs(trained).jobs if j.job == job)
        return shown if shown.status in ("done", "failed") else None

    shown = until(over)
    assert (shown.status, shown.result["version"]) == ("done", 1)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_lease_heeds_no_clock_that_is_set(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    job, now = enqueued(workspace), time.time()
    with writing(workspace.engine) as connection:
        claim(connection, job, "first")
        monkeypatch.setattr(time, "time", lambda: now + jump)
        with pytest.raises(BusyError):
            claim(connection, job, "second")
        assert not get(connection, job).lost, "its worker lives"
    let_lease_end(workspace)
    with writing(workspace.engine) as connection:
        assert claim(connection, job, "second").worker == "second", "its worker is dead"


def test_a_lease_of_before_a_restart_of_the_machine_has_ended(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, uptime = enqueued(workspace), time.monotonic()
    with writing(workspace.engine) as connection:
        monkeypatch.setattr(time, "monotonic", lambda: uptime + 1_000_000)
        claim(connection, job, "first")
        monkeypatch.setattr(time, "monotonic", lambda: uptime)
        assert get(connection, job).lost
        assert claim(connection, job, "second").worker == "second"


def test_a_fault_of_recovery_is_the_jobs_and_leaves_none_waiting(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise InputError("the catalog can't be read")

    monkeypatch.setattr("workbench.workflows.erasure.execute.recover_interrupted", broken)
    with pytest.raises(InputError, match="catalog"):
        run_job(trained, "evaluate", {"name": ensemble_of(trained)})
    assert [job.status for job in list_jobs(trained).jobs][-1] == "failed"
