"""What a job's row tells of its parts while it is worked on: which shards are at work, and how far each is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from workbench.jobs import worker
from workbench.jobs.detail import NEW, tell
from workbench.jobs.job import beat
from workbench.state.workspace import Workspace
from workbench.workflows.operations.jobs import list_jobs, run_job


def told_while(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, learner: str) -> list[dict[str, Any]]:
    """What the row of a training said after each of its steps."""
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    told: list[dict[str, Any]] = []
    written = threading.Semaphore(0)

    def beat_and_say(*of: Any, **what: Any) -> bool:
        stop = beat(*of, **what)
        written.release()
        return stop

    monkeypatch.setattr(worker, "beat", beat_and_say)

    def look(_: float, text: str) -> None:
        if text.startswith("shard"):
            while written.acquire(blocking=False):
                pass
            # of three beats the first may have looked before this step, and the last may not be committed yet
            assert all(written.acquire(timeout=30) for _ in range(3)), "no beat"
            told.append(list_jobs(workspace).jobs[-1].detail[NEW])

    config = {"learner": learner, "dataset": "pupils", "shards": 3, "slices": 2}
    run_job(workspace, "train", config, progress=look)
    return told


def test_shards_are_told_one_after_another(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_while(trained, monkeypatch, "naive_bayes")
    assert [one["at_work"] for one in told] == [[0], [1], [1], [2], [2], []]
    assert [sum(done for done, _ in one["slices"].values()) for one in told] == [1, 2, 3, 4, 5, 6]
    assert told[1]["slices"] == {"0": [2, 2], "1": [0, 2], "2": [0, 2]}
    assert list_jobs(trained).jobs[-1].detail == {}, "what is over tells of no shard"


def test_shards_that_are_trained_together_are_all_at_work(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_while(trained, monkeypatch, "mlp")
    assert [one["at_work"] for one in told[:-1]] == [[0, 1, 2]] * (len(told) - 1)
    assert sorted(done for done, _ in told[2]["slices"].values()) == [1, 1, 1]


def test_work_of_no_job_tells_nobody() -> None:
    tell("part", lambda: pytest.fail("nobody asked"))
