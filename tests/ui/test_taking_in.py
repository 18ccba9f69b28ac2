"""A table of one's own in the app: proposed, confirmed, checked and taken in; hostile uploads are told in words."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import pupils
from said import Open, press, texts
from stored import placed
from streamlit.testing.v1 import AppTest

from workbench.erasure.request import submit
from workbench.errors import BusyError, ForbiddenError, InputError, QuarantinedError
from workbench.schema.column import Column
from workbench.schema.draft import rows_of, with_rows
from workbench.state import lineage, writing
from workbench.state.roles import Person, acting
from workbench.state.workspace import Workspace
from workbench.ui.parts import session
from workbench.workflows.datasets.profile import profile
from workbench.workflows.datasets.results import RehearsalResult
from workbench.workflows.datasets.uploads import sweep_uploads
from workbench.workflows.erasure import run_waiting
from workbench.workflows.operations import browser_files as handover
from workbench.workflows.operations import jobs
from workbench.workflows.operations.browser_files import (
    check_table,
    draft_schema,
    ingest_upload,
    predict_upload,
    rehearse_upload,
    release_file,
    release_rows,
    sample_file,
)
from workbench.workflows.operations.overview import overview

SCRIPT = "<script>alert(1)</script>"
PICTURE = "![x](http://127.0.0.1/x.png)"
FORMULA = "=cmd|' /C calc'!A0"


def people(*, towns: tuple[str, ...] = ("here", "there")) -> bytes:
    table = pupils(120).assign(town=[towns[i % len(towns)] for i in range(len(pupils(120)))])
    return table.to_csv(index=False).encode()


def uploads(workspace: Workspace) -> list[Path]:
    return list((workspace.root / "uploads").iterdir())


@pytest.fixture
def detached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that would have got a process of their own."""
    begun: list[str] = []

    def begin(_: Path, job: jobs.Job) -> None:
        begun.append(job.id)

    monkeypatch.setattr(jobs, "detach", begin)
    return begun


def test_from_an_upload_to_a_data_set(browse: Open, workspace: Workspace, detached: list[str]) -> None:
    app = browse(workspace, "data")
    app.file_uploader[0].set_value(("klass.csv", people(), "text/csv")).run()
    subject, target = (next(s for s in app.selectbox if s.label.startswith(w)) for w in ("Which", "What is to be"))
    subject.set_value("pupil")
    target.set_value("passed")
    app = press(app, "Propose a schema")
    assert "guessed by reading the table" in texts(app)
    next(c for c in app.checkbox if c.label.startswith("I have looked")).check().run()
    app = press(app, "Check the table")
    assert "Every row fits" in texts(app)
    app = press(app, "Take it in")
    assert not app.error, app.error[0].value
    assert len(uploads(workspace)) == 1
    assert not any(known in app.session_state for known in ("draft", "upload-columns"))
    jobs.take_job(workspace, detached[0])
    (made,) = overview(workspace).datasets
    assert (made.dataset, made.target, made.unreviewed) == ("klass", "passed", ())
    assert (made.population, made.identity_type) == ("klass", "klass-subject"), "no table's people but its own"
    assert uploads(workspace) == [], "what was uploaded goes once it was taken in"


def reviewed(app: AppTest, content: bytes) -> AppTest:
    """The page with an upload of pupils whose proposed schema is to be confirmed."""
    app.file_uploader[0].set_value(("klass.csv", content, "text/csv")).run()
    field(app.selectbox, "Which").set_value("pupil")
    return press(app, "Propose a schema")


def test_nobody_is_a_person_of_a_row_by_default(browse: Open, workspace: Workspace) -> None:
    app = browse(workspace, "data")
    app.file_uploader[0].set_value(("t.csv", people(), "text/csv")).run()
    app = press(app, "Propose a schema")
    assert "which column identifies the person" in app.error[0].value
    assert "draft" not in app.session_state


def test_what_would_fail_is_told_while_the_upload_is_there(
    browse: Open, workspace: Workspace, detached: list[str]
) -> None:
    app = reviewed(browse(workspace, "data"), people())
    field(app.text_input, "Name of the data set").set_value("../klass")
    app = press(app, "Take it in")
    assert "not a usable name" in app.error[0].value
    field(app.text_input, "Name of the data set").set_value("klass")
    field(app.number_input, "Most rows").set_value(1)
    app = press(app, "Take it in")
    assert "max\\_rows\\_per\\_subject" in app.error[0].value
    assert "pupil-1" not in texts(app).replace("\\", "")
    assert detached == uploads(workspace) == list((workspace.root / "staging").iterdir()) == []
    field(app.number_input, "Most rows").set_value(3)
    app = press(app, "Take it in")
    assert not app.error
    assert len(detached) == len(uploads(workspace)) == 1


def field(found: Sequence[Any], label: str) -> Any:
    return next(one for one in found if one.label.startswith(label))


def test_values_that_would_be_moved_are_told_in_words(
    browse: Open, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = reviewed(browse(workspace, "data"), people())
    counts = RehearsalResult(rows={"train": 9}, clipped=3, left_out={"duplicates": 1})
    monkeypatch.setattr(handover, "rehearse", lambda *_, **__: counts)
    said = texts(press(app, "Check the table"))
    assert "moved to the nearest bound, in 3 rows. Left out, as the schema says: 1 row." in said


def test_values_that_would_be_moved_are_counted(workspace: Workspace) -> None:
    schema = draft_schema(workspace, "t.csv", people(), target=None, subject="pupil")
    columns = dict(schema.columns)
    columns["hours"] = columns["hours"].model_copy(update={"bounds": (5.0, 10.0)})
    narrow = schema.model_copy(update={"columns": columns})
    told = rehearse_upload(workspace, "klass", "t.csv", people(), narrow)
    beyond = ~pd.read_csv(io.BytesIO(people()))["hours"].between(5, 10)
    assert told.clipped == beyond.sum() > 0
    assert told.rows
    assert overview(workspace).datasets == ()


def test_columns_of_an_upload_go_with_it(browse: Open, workspace: Workspace) -> None:
    row = b"pupil-1007,3,here,12.5\n"  # without a header, a person's row is taken for one
    app = browse(workspace, "data")
    app.file_uploader[0].set_value(("t.csv", row * 3, "text/csv")).run()
    assert "upload-columns" in app.session_state
    app.file_uploader[0].set_value(None).run()
    assert "upload-columns" not in app.session_state
    assert "pupil-1007" not in texts(app)


def test_an_upload_goes_though_it_was_refused_or_cancelled(workspace: Workspace, detached: list[str]) -> None:
    schema = draft_schema(workspace, "t.csv", people(), target=None, subject="pupil")
    ingest_upload(workspace, "refused", "t.csv", people(towns=("nowhere",) * 2), schema)
    with pytest.raises(InputError):
        jobs.take_job(workspace, detached[0])
    assert uploads(workspace) == []
    ingest_upload(workspace, "cancelled", "t.csv", people(), schema)
    jobs.cancel_job(workspace, detached[1])
    assert uploads(workspace) == []


def test_an_upload_that_no_job_needs_is_swept(workspace: Workspace) -> None:
    left = workspace.root / "uploads" / "abandoned"
    left.mkdir()
    (left / "table.csv").write_bytes(people())
    sweep_uploads(workspace)
    assert uploads(workspace) == [left], "it may be one that is being written"
    os.utime(left, (0, 0))
    run_waiting.erase_waiting(workspace)
    assert uploads(workspace) == []


@pytest.mark.usefixtures("detached")
def test_an_upload_that_is_waited_for_stays(workspace: Workspace) -> None:
    schema = draft_schema(workspace, "t.csv", people(), target=None, subject="pupil")
    ingest_upload(workspace, "one", "t.csv", people(), schema)
    ingest_upload(workspace, "two", "t.csv", people(), schema)
    assert len(uploads(workspace)) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in uploads(workspace))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "pupil,town\n1,ö\n".encode("utf-16")),
        ("t.csv", b""),
        ("t.csv", b"a,b\n1,2,3\n"),
        ("t.parquet", b"PAR1 no parquet PAR1"),
        ("t.csv", b"\x00\xff" * 1000),
    ],
)
def test_a_hostile_file_is_told_in_words(browse: Open, workspace: Workspace, name: str, content: bytes) -> None:
    app = browse(workspace, "data")
    app.file_uploader[0].set_value((name, content, "text/csv")).run()
    assert app.error
    assert str(workspace.root) not in texts(app)
    assert not app.exception


def test_packed_files_are_for_the_command_line(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"\.csv or a \.parquet"):
        draft_schema(workspace, "bomb.csv.gz", b"\x1f\x8b", target=None, subject=None)


@pytest.mark.usefixtures("detached")
def test_names_and_categories_are_never_formatting(browse: Open, workspace: Workspace) -> None:
    content = people(towns=(SCRIPT, PICTURE)).replace(b"pupil,term", f"pupil,{SCRIPT}".encode(), 1)
    app = browse(workspace, "data")
    app.file_uploader[0].set_value(("t.csv", content, "text/csv")).run()
    field(app.selectbox, "Which").select_index(0)
    app = press(app, "Propose a schema")
    assert "guessed by reading the table" in texts(app)
    marked = "\n".join(str(one.value) for kind in ("markdown", "caption", "warning") for one in app.get(kind))
    assert SCRIPT not in marked
    assert PICTURE not in marked
    assert not app.exception


def test_formulas_are_disarmed_in_csv_alone(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (release,) = overview(trained).releases
    path = trained.root / "releases" / f"{release.generator}.parquet"
    table = pd.read_parquet(path)
    table["town"] = FORMULA
    table.to_parquet(path, index=False)
    with pytest.raises(InputError, match="damaged"):
        release_file(trained, release.release, ".csv")
    monkeypatch.setattr(handover, "file_sha256", lambda _: "any")
    monkeypatch.setattr(handover, "_release", lambda *_: (path, lambda _: None))
    told = pd.read_csv(io.BytesIO(release_file(trained, release.release, ".csv")))
    assert set(told["town"]) == {"'" + FORMULA}
    assert release_file(trained, release.release, ".parquet") == path.read_bytes()


def test_rows_for_the_browser_are_bounded_and_on_record(trained: Workspace) -> None:
    (release,) = overview(trained).releases
    assert len(release_rows(trained, release.release, 5)) == 5
    with pytest.raises(InputError, match="at most"):
        sample_file(trained, release.generator, handover.MOST_ROWS + 1, ".csv")
    asked = {"where": ("passed=true",), "recipient": "a partner"}
    content = sample_file(trained, release.generator, 30, ".csv", **asked).take()
    assert set(pd.read_csv(io.BytesIO(content))["passed"]) == {True}
    with acting(Person(actor="oidc:v", role="viewer")), pytest.raises(ForbiddenError):
        release_file(trained, release.release, ".csv")


def test_predictions_of_an_upload(trained: Workspace) -> None:
    (model,) = overview(trained).models
    features = pupils(5).drop(columns=["pupil", "passed"])
    download, first = predict_upload(trained, model.ensemble, "t.csv", features.to_csv(index=False).encode())
    assert len(pd.read_csv(io.BytesIO(download.take()))) == len(features)
    assert next(iter(first.columns)) == "prediction"
    with pytest.raises(InputError) as fault:
        predict_upload(trained, model.ensemble, "t.csv", b"nothing\n1\n")
    assert str(trained.root) not in str(fault.value)
    assert list((trained.root / "staging").iterdir()) == []


def test_a_download_is_judged_when_it_is_taken(trained: Workspace) -> None:
    """The page may have been open for hours since it was made."""
    (model,), (release,) = overview(trained).models, overview(trained).releases
    with writing(trained.engine) as connection:
        lineage.amend(connection, release.generator, private=False)
    features = pupils(5).drop(columns=["pupil", "passed"]).to_csv(index=False).encode()
    predicted, _ = predict_upload(trained, model.ensemble, "t.csv", features)
    drawn = sample_file(trained, release.generator, 5, ".csv")
    assert predicted.take()
    assert drawn.take()
    submit(trained, ["pupils"], placed(trained, "train")[0])
    with pytest.raises(BusyError):
        predicted.take()
    with pytest.raises(QuarantinedError):
        drawn.take()


def test_a_button_is_pressed_in_the_name_of_the_person_who_sees_it(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamlit makes deferred files in another thread, where no role is set."""
    (release,) = overview(trained).releases
    monkeypatch.setattr(session, "person", lambda: Person(actor="oidc:v", role="viewer"))
    taken = session.on_click(lambda: release_file(trained, release.release, ".csv"))
    with ThreadPoolExecutor(1) as pool, pytest.raises(ForbiddenError):
        pool.submit(taken).result()


def test_a_profile_tells_no_cell_of_few(trained: Workspace) -> None:
    told = profile(trained, "pupils")
    for column in told.columns:
        assert abs(sum(share for _, share in column.cells) - 1) < 1e-9
        assert all(share * told.rows >= 19.5 for cell, share in column.cells if cell != "few rows each")


@pytest.mark.parametrize(
    ("until", "bins", "first"),
    [
        ("2023-12-31", 8, "2020-01-01 to 2020-07-01"),
        ("2020-01-02", 6, "2020-01-01 00:00 to 2020-01-01 04:00"),
        ("2020-01-01T00:00:00.000100", 3, "2020-01-01 00:00:00.000000 to 2020-01-01 00:00:00.000033"),
    ],
)
def test_cells_of_dates_are_told_as_dates(until: str, bins: int, first: str) -> None:
    declared = {"kind": "datetime", "bounds": ["2020-01-01", until], "bins": bins}
    column = Column.model_validate(declared)
    labels = column.spec.cell_labels(column)
    assert labels[0] == first
    assert len(set(labels)) == bins


def test_a_draft_as_rows_and_back(workspace: Workspace) -> None:
    draft = draft_schema(workspace, "t.csv", people(), target="passed", subject="pupil")
    assert with_rows(draft, rows_of(draft)) == draft
    rows = {row["column"]: row for row in rows_of(draft)}
    rows["hours"] |= {"domain": "0 .. 60", "reviewed": True}
    rows["town"] |= {"domain": "here | there | elsewhere", "missing": True}
    rows["term"] |= {"role": "drop"}
    changed = with_rows(draft, rows.values(), population="klass")
    assert changed.columns["hours"].bounds == (0.0, 60.0)
    assert changed.columns["town"].categories == ("here", "there", "elsewhere")
    assert (changed.columns["term"].role, changed.population) == ("drop", "klass")
    assert "hours" not in changed.unreviewed
    rows["hours"] |= {"domain": "a lot"}
    with pytest.raises(InputError, match="needs bounds"):
        with_rows(draft, rows.values())
    rows["hours"] |= {"domain": "9 .. 1"}
    with pytest.raises(InputError, match="inverted"):
        with_rows(draft, rows.values())


def test_a_table_that_breaks_its_schema_is_told_by_column(workspace: Workspace) -> None:
    draft = draft_schema(workspace, "t.csv", people(), target=None, subject="pupil")
    broken = check_table(workspace, "t.csv", people(towns=("nowhere", "here")), draft)
    assert {one.column for one in broken} <= {"town"}
    assert "nowhere" not in repr(broken)
