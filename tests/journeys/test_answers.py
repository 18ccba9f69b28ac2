"""Whoever was accepted is told so, with the nonce that opens their commitment, whatever comes between acceptance and end."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from stored import placed

from workbench.erasure.request import submit_person
from workbench.errors import BusyError
from workbench.jobs.worker import CancelledError
from workbench.state.workspace import Workspace
from workbench.workflows.erasure import erase as module
from workbench.workflows.erasure import steps
from workbench.workflows.erasure.erase import erase, erase_detached
from workbench.workflows.erasure.execute import resume
from workbench.workflows.erasure.run_waiting import job_of_waiting
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.jobs import list_jobs


def is_owed_nothing(answer: dict[str, Any]) -> bool:
    return bool(answer["request"] and answer["nonce"] and answer["due"])


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("fault", "job"), [(CancelledError("cancelled by hand"), "cancelled"), (KeyboardInterrupt(), "failed")]
)
def test_who_stops_an_erasure_gets_the_answers_all_the_same(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, fault: BaseException, job: str
) -> None:
    def stopped(*_: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setitem(steps.STEPS, "dropped", ("retrained", stopped))
        answers = erase(trained, placed(trained, "train")[:2]).requests
    assert all(is_owed_nothing(answer.to_json()) for answer in answers)
    assert {answer.exit for answer in answers} == {BusyError.exit_code}
    assert all("cancelled" in answer.reason or "interrupted" in answer.reason for answer in answers)
    assert list_jobs(trained).jobs[-1].status == job
    done = resume(trained)
    assert set(done) == {answer.request for answer in answers}
    assert verify(trained, Path(next(iter(done.values())).certificate), replay=True).valid


def test_a_disk_that_fills_up_between_two_acceptances_loses_nobody(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = placed(trained, "train")[:2]

    def submit(workspace: Workspace, identities: Any, **options: Any) -> Any:
        return submit_person(workspace, identities, **options) if identities[0][1] == first else full()

    monkeypatch.setattr(module, "submit_person", submit)
    told, refused = erase(trained, [first, second]).requests
    assert is_owed_nothing(told.to_json())
    assert (told.status, told.exit) == ("completed", 0)
    assert (refused.request, refused.status, refused.exit) == (None, "rejected", BusyError.exit_code)
    with pytest.raises(OSError, match="No space"):
        erase(trained, [second])


@pytest.mark.parametrize("what", ["erase_waiting", "detach_erasures"])
def test_a_fault_before_anything_is_tried_is_the_answer(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Answer], what: str
) -> None:
    """As where the database can't be written any more; nothing but the process at hand knows the nonces."""
    with monkeypatch.context() as patch:
        patch.setattr(module, what, full)
        options = ["--detach"] if what == "detach_erasures" else []
        answer = command("--workspace", trained.root, "erase", placed(trained, "train")[0], "--json", *options)
    told = answer.json["requests"][0]
    assert is_owed_nothing(told)
    assert (answer.code, told["status"]) == (BusyError.exit_code, "quarantined")
    assert "No space" in told["reason"]


def test_a_process_that_can_not_be_started_is_the_answer(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", full)
    told = erase_detached(trained, [placed(trained, "train")[0]])
    assert told.job is None
    assert is_owed_nothing(told.requests[0].to_json())
    assert told.requests[0].exit == BusyError.exit_code


def test_two_who_begin_at_once_have_a_job_each(trained: Workspace) -> None:
    """Reopened and claimed in two transactions, both would take the same, and the second would be refused."""
    submit_person(trained, [("pupils", placed(trained, "train")[0])])
    found = [job_of_waiting(trained, patient=False, worker=name) for name in ("a", "b")]
    assert [(job.status, job.worker) for job in found if job] == [("running", "a"), ("running", "b")]
    assert len({job.id for job in found if job}) == 2


def test_what_killed_processes_left_goes_with_the_next_resume(trained: Workspace) -> None:
    """Rows of an append that was killed, and half a key; what someone is still writing stays."""
    rows, key = trained.root / "staging" / "0123456789abcdef", trained.root / "keys" / ".part-0123456789abcdef"
    rows.mkdir()
    (rows / "raw").write_text("somebody's rows")
    key.write_bytes(b"half a key")
    with trained.staging() as mine:
        assert resume(trained) == {}
        assert [path.name for path in (trained.root / "staging").iterdir()] == [mine.name]
    assert not key.exists()


def test_what_can_not_be_removed_is_told(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Answer]
) -> None:
    (trained.root / "staging" / "0123456789abcdef").mkdir()
    monkeypatch.setattr("workbench.state.atomic_files.remove", full)
    answer = command("--workspace", trained.root, "resume", "--json")
    assert (answer.code, answer.error["code"]) == (BusyError.exit_code, "disk")
