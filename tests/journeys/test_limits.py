"""Limits against abuse: windows, a rate and a cost. They delay requests, and refuse or uncover nobody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer, pupils
from killing import Killed
from sqlalchemy import text
from stored import ensemble_of, manifest_of, placed
from test_queue import POLICY, count

from workbench.config import read_config
from workbench.erasure.limits import window_end
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import submit
from workbench.errors import InputError
from workbench.state import journal
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.erasure import execute
from workbench.workflows.erasure.decide import approve_request, list_requests, set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting, resume
from workbench.workflows.erasure.suppressions import export_suppressions
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.restore import restore
from workbench.workflows.training.predict import predict_frame

FRAME = pupils(5, first=9000).drop(columns=["pupil", "passed"])
FAR = "2099-01-01T00:00:00+00:00"


class Clock:
    """The time of day, to be set."""

    def __init__(self, at: str) -> None:
        self.at = at

    def __call__(self) -> str:
        return dt.datetime.fromisoformat(self.at).replace(tzinfo=dt.UTC).isoformat(timespec="seconds")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock("2026-03-02T15:20")
    monkeypatch.setattr(journal, "now", clock)
    return clock


def statuses(workspace: Workspace) -> list[tuple[str, str]]:
    return [(row.status, row.approval) for row in list_requests(workspace).requests]


@pytest.mark.parametrize(
    ("hours", "due", "end"),
    [
        (0, FAR, None),
        (1, FAR, "2026-03-02T16:00:00+00:00"),
        (8, FAR, "2026-03-02T16:00:00+00:00"),
        (24, FAR, "2026-03-03T00:00:00+00:00"),
        (48, FAR, "2026-03-04T00:00:00+00:00"),
        (72, FAR, "2026-03-05T00:00:00+00:00"),
        (24, "2026-03-02T18:00:00+00:00", "2026-03-02T18:00:00+00:00"),
    ],
)
def test_a_window_ends_at_a_fixed_time_or_when_the_request_is_due(
    clock: Clock, hours: int, due: str, end: str | None
) -> None:
    policies = [ErasurePolicy(), ErasurePolicy(window_hours=hours)]
    assert window_end(policies, due) == end
    if end not in (None, due):
        clock.at = end[:16]
        assert window_end(policies, due) != end, "the next window has begun"


@pytest.mark.parametrize("setting", ["window_hours=5", "window_hours=36", "window_hours=696", "window_hours=-24"])
def test_a_window_fits_days_and_the_time_until_requests_are_due(setting: str) -> None:
    assert read_config(POLICY, ErasurePolicy, ["window_hours=672"]).window_hours == 28 * 24
    with pytest.raises(InputError):
        read_config(POLICY, ErasurePolicy, [setting])


def test_requests_of_a_window_are_carried_out_together_after_its_end(
    trained: Workspace, clock: Clock, command: Callable[..., Answer]
) -> None:
    set_policy(trained, "pupils", POLICY, ["window_hours=24"])
    first, second = placed(trained, "train")[:2]
    before = predict_frame(trained.root, ensemble_of(trained), FRAME)
    told = command("--workspace", trained.root, "erase", first, "--json")
    answer = told.json["requests"][0]
    assert (told.code, answer["status"], answer["not_before"]) == (7, "quarantined", "2026-03-03T00:00:00+00:00")
    assert answer["not_before"] in answer["reason"]
    assert not predict_frame(trained.root, ensemble_of(trained), FRAME).equals(before), "under quarantine at once"
    clock.at = "2026-03-02T23:59:59"
    assert erase(trained, [second]).requests[0].status == "quarantined"
    assert [r.not_before for r in list_requests(trained).requests] == ["2026-03-03T00:00:00+00:00"] * 2
    assert manifest_of(trained).version == 1
    clock.at = "2026-03-03T00:00:00"
    assert len(carry_out_waiting(trained)) == 2
    assert manifest_of(trained).version == 2, "one version for both"
    assert [r.not_before for r in list_requests(trained).requests] == [None, None]


def test_an_operator_can_release_a_request_from_its_window_but_not_from_approval(
    trained: Workspace, clock: Clock, command: Callable[..., Answer]
) -> None:
    set_policy(trained, "pupils", POLICY, ["window_hours=24", "approval=required"])
    request = erase(trained, [placed(trained, "train")[0]]).requests[0].request
    assert command("--workspace", trained.root, "requests", "release", request).code == 0
    assert carry_out_waiting(trained) == {}
    clock.at = "2026-03-04T09:00"
    approve_request(trained, request)
    assert carry_out_waiting(trained) == {}, "whoever is approved alone is not published alone"
    assert list_requests(trained).requests[0].not_before == "2026-03-05T00:00:00+00:00"
    assert command("--workspace", trained.root, "requests", "release", request).code == 0
    assert set(carry_out_waiting(trained)) == {request}
    assert command("--workspace", trained.root, "requests", "release", request).code == 2


def test_a_flood_waits_for_approval_under_quarantine(trained: Workspace, clock: Clock) -> None:
    set_policy(trained, "pupils", POLICY, ["max_per_day=2"])
    people = placed(trained, "train")[:5]
    submit(trained, ["pupils"], people[0])
    for _ in range(2):  # what is rejected counts for nothing
        assert submit(trained, ["pupils"], people[0]).duplicate_of
    answers = erase(trained, people[:3]).requests
    assert [(a.status, a.exit) for a in answers] == [("completed", 0), ("completed", 0), ("quarantined", 7)]
    assert "more than 2 requests of data set pupils" in answers[2].reason
    assert count(trained, "quarantine") == 1
    clock.at = "2026-03-03T15:19"
    assert erase(trained, [people[3]]).requests[0].status == "quarantined"
    assert carry_out_waiting(trained) == {}
    approve_request(trained, answers[2].request)
    assert set(carry_out_waiting(trained)) == {answers[2].request}
    clock.at = "2026-03-04T15:20"
    assert erase(trained, [people[4]]).requests[0].status == "completed", "24 hours later"


def test_a_costly_plan_waits_for_approval_and_holds_nobody_else_up(trained: Workspace) -> None:
    set_policy(trained, "pupils", POLICY, ["max_retrain_seconds=0"])
    person, other = placed(trained, "train")[:2]
    answer = erase(trained, [person]).requests[0]
    assert (answer.status, answer.exit) == ("quarantined", 7)
    assert "costs too much" in answer.reason
    assert statuses(trained) == [("quarantined", "waiting")]
    assert manifest_of(trained).version == 1
    assert erase(trained, [placed(trained, "holdout")[0]]).requests[0].status == "completed", "nothing to train"
    approve_request(trained, answer.request)
    again = erase(trained, [other]).requests[0]
    assert again.status == "quarantined", "the approval was for the other"
    assert sorted(statuses(trained)) == [("completed", "given"), ("completed", "none"), ("quarantined", "waiting")]
    with trained.engine.connect() as connection:
        assert journal.broken_at(connection) is None


def test_a_restore_waits_for_no_limit(trained: Workspace, tmp_path: Path) -> None:
    set_policy(trained, "pupils", POLICY, ["window_hours=24", "max_per_day=1", "max_retrain_seconds=0"])
    first, second = placed(trained, "train")[:2]
    submit(trained, ["pupils"], first)
    backup(trained, tmp_path / "b.tar.zst")
    set_policy(trained, "pupils", POLICY, [])
    submit(trained, ["pupils"], second)
    export_suppressions(trained, tmp_path / "list.json")
    assert restore(tmp_path / "new", tmp_path / "b.tar.zst", suppressions=tmp_path / "list.json").suppressed == 2
    assert count(Workspace.open(tmp_path / "new"), "quarantine") == 0


def test_a_clock_that_is_set_back_holds_nobody_in_a_window(trained: Workspace, clock: Clock) -> None:
    set_policy(trained, "pupils", POLICY, ["window_hours=24", "max_per_day=1"])
    first, second = placed(trained, "train")[:2]
    submit(trained, ["pupils"], first)
    clock.at = "2026-03-01T15:20"
    assert len(carry_out_waiting(trained)) == 1, "its window would have ended a day too late"
    assert submit(trained, ["pupils"], second).reason, "a request of tomorrow counts for today"
    overdue = [row.overdue for row in list_requests(trained).requests]
    assert overdue == [False, False]
    clock.at = "2026-03-29T15:21"
    assert sorted(row.overdue for row in list_requests(trained).requests) == [False, True]


def test_an_erasure_that_ends_before_it_began_took_no_time(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(execute.STEPS, "planned", ("dropped", killed))  # type: ignore[misc]
        with pytest.raises(Killed):
            erase(trained, [placed(trained, "train")[0]])
    with trained.engine.connect() as connection:
        connection.execute(
            text("UPDATE erasures SET state = json_set(state, '$.started', json_extract(state, '$.started') + 86400)")
        )
    assert len(resume(trained)) == 1
    with Tracking(trained.root).connection(timeout=5) as connection:
        seconds = connection.execute("SELECT min(value) FROM metrics WHERE key = 'seconds'").fetchone()[0]
    assert seconds == 0
