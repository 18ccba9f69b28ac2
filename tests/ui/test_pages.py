"""Every page, over a workspace with all there is, an empty one, and a damaged one: words, and never a trace."""

from __future__ import annotations

import re
import sqlite3

import pytest
from said import Open, press, texts
from streamlit.testing.v1 import AppTest

from workbench.state.workspace import Workspace
from workbench.ui.parts.places import TITLES
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.operations.jobs import list_jobs

MARKS = {
    "home": "Nothing needs attention",
    "data": "pupil-number",
    "synthesize": "ε = 1",
    "models": "first training",
    "erasure": "Nobody has asked to be erased yet",
    "privacy": "fit pupils-mst",
    "reports": "Nothing was evaluated yet",
    "lineage": "Generator",
    "audit_log": "Ingested",
    "settings": "viewer",
}


@pytest.mark.parametrize("page", TITLES)
def test_each_page_shows_what_there_is(browse: Open, trained: Workspace, page: str) -> None:
    app = browse(trained, page)
    assert app.title[0].value == TITLES[page]
    assert MARKS[page] in texts(app)
    assert not app.error


@pytest.mark.parametrize("page", TITLES)
def test_each_page_says_what_to_do_where_there_is_nothing(browse: Open, workspace: Workspace, page: str) -> None:
    app = browse(workspace, page)
    assert not app.error
    assert app.info or page in ("home", "settings")


def test_an_empty_workspace_offers_the_demo(
    browse: Open, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(
        "workbench.workflows.operations.jobs.detach", lambda _, job: begun.append(job.kind) or {"job": job.id}
    )
    app = press(browse(workspace), "Run the demo")
    assert begun == ["demo"]
    assert [job.kind for job in list_jobs(workspace).jobs] == ["demo"]
    assert not app.error


def test_a_damaged_workspace_is_told_in_words(browse: Open, trained: Workspace) -> None:
    with sqlite3.connect(trained.root / "state.db") as connection:
        connection.execute("update journal set actor = 'local:someone-else' where sequence = 2")
    app = browse(trained, "audit_log")
    assert "breaks at entry 2" in app.error[0].value
    assert "Damaged" in texts(browse(trained, "home"))


def test_a_missing_workspace_is_told_with_what_to_do(browse: Open, workspace: Workspace) -> None:
    app = browse(Workspace(workspace.root / "nothing"), "home")
    assert "What to do" in app.error[0].value


def test_an_unexpected_fault_shows_neither_trace_nor_message(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("row 4711 of somebody")

    monkeypatch.setattr("workbench.workflows.operations.audit_log.journal.broken_at", broken)
    app = browse(trained, "audit_log")
    assert "ValueError" in app.error[0].value
    assert "4711" not in texts(app)


def test_no_page_names_a_path_or_a_person(browse: Open, trained: Workspace) -> None:
    for page in TITLES:
        said = texts(browse(trained, page))
        assert str(trained.root) not in said
        assert not re.search(r"pupil-1\d{3}", said)


def test_an_unknown_request_is_told_in_words(browse: Open, trained: Workspace) -> None:
    app = browse(trained, "erasure", request="er-000000000000")
    assert "No request" in app.error[0].value
    assert list_requests(trained).requests == ()


def test_a_budget_that_is_spent_is_told_before_anything_is_read(browse: Open, trained: Workspace) -> None:
    app: AppTest = browse(trained, "synthesize")
    app.select_slider[0].set_value(10.0).run()
    assert "does not allow" in "".join(error.value for error in app.error)
    assert next(b for b in app.button if b.label == "Make the synthetic table").disabled


def test_a_release_of_a_table_is_no_request_that_was_let_out(browse: Open, trained: Workspace) -> None:
    said = texts(browse(trained, "audit_log"))
    assert "Synthetic table released" in said
    assert "Let out before its window ended" not in said
