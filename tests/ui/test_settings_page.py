"""Settings: limits that are set and lifted, and what is kept how long, as it truly is."""

from __future__ import annotations

from typing import Any

import pytest
from said import Open, press, texts
from streamlit.testing.v1 import AppTest

from workbench.api import log
from workbench.config import CONFIGS
from workbench.erasure import callback
from workbench.erasure.request import submit
from workbench.state.roles import Person
from workbench.state.tables import metadata
from workbench.state.workspace import Workspace
from workbench.ui.parts import session
from workbench.workflows.controllers import submit as accept
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.operations import retention as module
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.retention import retention

PER_DAY, SECONDS = "Requests in 24 hours", "Seconds of training again, as predicted"
STATE = {"alembic_version", "datasets", "buckets", "appends", "budgets", "holds", "artifacts", "erasures", "quarantine"}


def limits(workspace: Workspace) -> tuple[object, object]:
    (policy,) = (one.policy for one in overview(workspace).datasets)
    return policy.max_per_day, policy.max_retrain_seconds


def field(app: AppTest, label: str) -> Any:
    return next(box for box in app.number_input if box.label == label)


def no_limit(app: AppTest, label: str) -> Any:
    return next(box for box in app.checkbox if box.key == f"none-{label}")


def test_limits_are_set_and_lifted(browse: Open, trained: Workspace) -> None:
    app = browse(trained, "settings")
    assert limits(trained) == (None, None)
    for label, value in ((PER_DAY, 5), (SECONDS, 12.5)):
        no_limit(app, label).uncheck()
        field(app, label).set_value(value)
    press(app, "Save")
    assert limits(trained) == (5, 12.5)
    app = browse(trained, "settings")
    assert (field(app, PER_DAY).value, no_limit(app, PER_DAY).value) == (5, False)
    no_limit(app, PER_DAY).check()
    press(app, "Save")
    assert limits(trained) == (None, 12.5)


@pytest.mark.parametrize("value", [0, 0.5])
def test_a_limit_of_less_than_a_second_is_shown(browse: Open, trained: Workspace, value: float) -> None:
    set_policy(trained, "pupils", CONFIGS / "policies" / "default.yaml", [f"max_retrain_seconds={value}"])
    app = browse(trained, "settings")
    assert not app.error
    assert field(app, SECONDS).value == value
    press(app, "Save")
    assert limits(trained) == (None, value)


def test_a_viewer_can_set_no_limit(browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "person", lambda: Person(actor="oidc:viewer", role="viewer"))
    app = browse(trained, "settings")
    assert field(app, PER_DAY).disabled
    assert "Only an administrator" in texts(app)


def test_what_is_kept_is_counted(browse: Open, trained: Workspace) -> None:
    def now() -> dict[str, int]:
        return {one.what: one.now for one in retention(trained)}

    before = now()
    assert before["Evaluations, advice and audits"] > 0
    submit(trained, ["pupils"], "pupil-1007")
    assert now()["Whom open requests concern"] == 1
    carry_out_waiting(trained)
    after = now()
    assert (after["Whom open requests concern"], after["Tokens of erased people"]) == (0, 1)
    assert after["Evaluations, advice and audits"] < before["Evaluations, advice and audits"]
    assert after["Audit log"] > before["Audit log"]
    assert "Privacy ledger" in texts(browse(trained, "settings"))


def test_no_table_is_kept_silently() -> None:
    """Every table is told of, or holds the data sets themselves and work that goes on."""
    told = {table.name for *_, table in module._TABLES}
    assert set(metadata.tables) <= told | STATE


def test_what_is_said_of_times_is_so() -> None:
    assert (vars(accept)["_KEPT_HOURS"], callback.MAX_ATTEMPTS) == (24, 19)
    assert (vars(log)["_BYTES"], vars(log)["_FILES"]) == (5_000_000, 5)
