"""Erasures are jobs: watched, cancelled after the step at hand, taken over when lost, tried again as the same, detached."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import Answer
from sqlalchemy import select, text
from test_jobs import let_lease_end
from until import until

from workbench.bytescan.folders import scan_folder
from workbench.erasure.locate import locate
from workbench.erasure.request import submit
from workbench.errors import BusyError, InputError, LockedError
from workbench.jobs import worker as worker_module
from workbench.jobs.worker import CancelledError
from workbench.state.tables import jobs, quarantine
from workbench.state.workspace import Workspace
from workbench.workflows.erasure import steps
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import Outcome
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.jobs import cancel_job, list_jobs, take_job
from workbench.workflows.operations.results import JobDetails

KEYS = ["pupil-1003", "pupil-1004"]


def statuses(workspace: Workspace) -> list[str]:
    return [request.status for request in list_requests(workspace).requests]


def erasures(workspace: Workspace) -> list[JobDetails]:
    return [job for job in list_jobs(workspace).jobs if job.kind == "erase"]


def awaited(workspace: Workspace, is_so: Callable[[JobDetails], bool]) -> None:
    """Waits until something is so of every job of an erasure."""
    until(lambda: all(is_so(job) for job in erasures(workspace)))


def lease(workspace: Workspace) -> float:
    with workspace.engine.connect() as connection:
        return float(connection.execute(select(jobs.c.lease_until)).scalars().all()[-1])


def quarantined(workspace: Workspace) -> int:
    with workspace.engine.connect() as connection:
        return len(connection.execute(select(quarantine)).all())


def test_an_erasure_is_a_job_that_names_nobody(trained: Workspace) -> None:
    done = erase(trained, KEYS)
    requests = [answer.request for answer in done.requests]
    job = erasures(trained)[0]
    assert (job.status, job.progress, sorted(job.result["requests"])) == ("done", 1.0, sorted(requests))
    assert not scan_folder(trained.root, [key.encode() for key in KEYS]).hits
    assert erase_waiting(trained) == Outcome(done={}, failures=())
    assert len(erasures(trained)) == 1, "where nothing waits there is no job"


def test_a_waiting_erasure_holds_request_ids_alone(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: commands.append(arguments[0]))
    commands: list[list[str]] = []
    from workbench.workflows.erasure.erase import erase_detached

    answer = erase_detached(trained, KEYS)
    with trained.engine.connect() as connection:
        config = connection.execute(select(jobs.c.config)).scalars().all()[-1]
    assert set(config) == {"requests", "patient"}
    assert sorted(config["requests"]) == sorted(one.request for one in answer.requests)
    assert commands[0][-3:] == ["jobs", "run", answer.job]
    assert not any(key in part for key in KEYS for part in commands[0])


def test_a_cancelled_erasure_stops_after_the_step_at_hand_and_can_be_resumed(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BEAT_SECONDS", 0.01)
    keys = (f"pupil-{n}" for n in range(1000, 1400))  # a person of the holdout is in no shard
    submit(trained, ["pupils"], next(key for key in keys if locate(trained, [("pupils", key)])[0].split == "train"))
    target, drop = steps.STEPS["planned"]

    def cancelled_meanwhile(*arguments: Any) -> Any:
        result = drop(*arguments)
        cancel_job(trained, erasures(trained)[0].job)
        before = lease(trained)
        while lease(trained) == before:  # until a heartbeat has seen it
            time.sleep(0.01)
        time.sleep(0.2)
        return result

    with monkeypatch.context() as patch:
        patch.setitem(steps.STEPS, "planned", (target, cancelled_meanwhile))
        with pytest.raises(CancelledError):
            erase_waiting(trained)
    assert erasures(trained)[0].status == "cancelled"
    assert statuses(trained) == ["failed"]
    assert quarantined(trained) == 1
    with trained.engine.connect() as connection:
        assert connection.execute(text("SELECT step FROM erasures")).scalar() == "dropped", "its end was recorded"
    result = next(iter(erase_waiting(trained).done.values()))
    assert verify(trained, Path(result.certificate), replay=True).valid
    assert [job.status for job in erasures(trained)] == ["cancelled", "done"]


def test_a_lost_erasure_is_taken_over(trained: Workspace) -> None:
    submit(trained, ["pupils"], KEYS[0])
    script = (
        "import os, sys; from pathlib import Path; from workbench.state.workspace import Workspace\n"
        "from workbench.workflows.erasure import steps; from workbench.workflows.erasure.run_waiting import erase_waiting\n"
        "steps.STEPS['dropped'] = ('retrained', lambda *_: os._exit(9))\n"
        "erase_waiting(Workspace.open(Path(sys.argv[1])))"
    )
    assert forked.run([sys.executable, "-c", script, str(trained.root)]).returncode == 9
    job = erasures(trained)[0]
    assert (job.status, job.lost) == ("running", False)
    with pytest.raises(BusyError, match="being worked on"):
        take_job(trained, job.job)
    let_lease_end(trained)
    assert take_job(trained, job.job).requests[0].status == "completed"
    assert [job.status for job in erasures(trained)] == ["done"]


def test_what_fails_is_tried_again_as_the_same_job(trained: Workspace) -> None:
    """A worker that finds the data set busy at every round must not fill the table."""
    submit(trained, ["pupils"], KEYS[0])
    with trained.lock("pupils"):
        for _ in range(3):
            outcome = erase_waiting(trained)
            assert (outcome.done, outcome.exit_code) == ({}, BusyError.exit_code)
            assert [(failure.datasets, type(failure.fault)) for failure in outcome.failures] == [
                ({"pupils"}, LockedError)
            ]
    assert [(job.status, job.result) for job in erasures(trained)] == [("failed", {"error": "busy"})]
    assert len(erase_waiting(trained).done) == 1
    assert [job.status for job in erasures(trained)] == ["done"]


def test_a_detached_erasure_answers_at_once_and_waits_for_its_turn(
    trained: Workspace, command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.jobs.detached.subprocess", forked)
    (tmp_path / "keys.txt").write_text("\n".join([KEYS[0], "nobody"]))
    with trained.lock("pupils"):
        answer = command("--workspace", trained.root, "erase", "--file", tmp_path / "keys.txt", "--detach", "--json")
        known, unknown = answer.json["requests"]
        assert (answer.code, known["status"], unknown["status"]) == (4, "quarantined", "rejected")
        assert known["nonce"]
        assert quarantined(trained) == 1
        again = command("--workspace", trained.root, "erase", KEYS[0], "--detach", "--json")
        assert (again.code, again.json["requests"][0]["request"]) == (0, known["request"])
        awaited(trained, lambda job: job.text.startswith("waiting until"))
        assert "quarantined" in statuses(trained)
    awaited(trained, lambda job: job.status == "done")
    assert "completed" in statuses(trained)
    both = command("--workspace", trained.root, "erase", KEYS[1], "--detach", "--dry-run")
    assert both.code == InputError.exit_code
    nothing = command("--workspace", trained.root, "erase", "nobody", "--detach", "--json")
    assert (nothing.code, nothing.json["job"]) == (4, None)


def test_detached_what_waits_for_approval_is_not_begun(trained: Workspace, command: Callable[..., Answer]) -> None:
    command("--workspace", trained.root, "policy", "pupils", "--set", "approval=required")
    answer = command("--workspace", trained.root, "erase", KEYS[0], "--detach", "--json")
    assert (answer.code, answer.json["job"]) == (7, None)


def test_an_interrupted_command_leaves_a_job_that_says_so(trained: Workspace) -> None:
    submit(trained, ["pupils"], KEYS[0])
    script = (
        "import sys, time; from workbench.workflows.erasure import steps; from workbench.cli import main\n"
        "steps.STEPS['dropped'] = ('retrained', lambda *_: (print('now', flush=True), time.sleep(60)))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, "--workspace", str(trained.root), "resume", "--json"]
    with forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read()
    assert (process.returncode, json.loads(out)["error"]["code"]) == (5, "interrupted")
    assert erasures(trained)[0].status == "failed"
    assert quarantined(trained) == 1
    assert len(erase_waiting(trained).done) == 1


@pytest.mark.parametrize("has_file", [True, False])
def test_a_detached_ingest_reads_the_file_when_it_runs(
    workspace: Workspace,
    command: Callable[..., Answer],
    pupils_files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_file: bool,
) -> None:
    monkeypatch.setattr("workbench.jobs.detached.subprocess", forked)
    monkeypatch.chdir(tmp_path)
    if has_file:
        Path("a-canary.csv").write_bytes(pupils_files[1].read_bytes())
    options = ["--schema", pupils_files[0], "--data", "a-canary.csv", "--detach", "--json"]
    job = command("--workspace", workspace.root, "ingest", "pupils", *options).json["job"]
    until(lambda: list_jobs(workspace).jobs[-1].status in ("done", "failed"))
    shown = list_jobs(workspace).jobs[-1]
    expected = ("done", {"dataset": "pupils"}) if has_file else ("failed", {"error": "bad_input"})
    assert (shown.job, shown.status, shown.result) == (job, *expected)
    with workspace.engine.connect() as connection:
        assert connection.execute(select(jobs.c.config)).scalars().all() == [{}], "a path may name a person"


def test_appending_is_a_job(trained: Workspace, command: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("pupil,term,town,hours,passed\npupil-9000,1,Öland,3,True\n")
    answer = command(
        "--workspace", trained.root, "ingest", "pupils", "--append", "--data", tmp_path / "more.csv", "--json"
    )
    assert sum(answer.json["appended_rows"].values()) == 1
    shown = list_jobs(trained).jobs[-1]
    assert (shown.kind, shown.status, shown.result) == ("ingest", "done", {"dataset": "pupils"})
