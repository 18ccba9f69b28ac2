"""What hinders an erasure from outside is told with what to do, and the request stays open, quarantined and resumable."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer
from sqlalchemy import select

from workbench.state import database
from workbench.state.tables import quarantine
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.decide import list_requests

Command = Callable[..., Answer]
KEY = "pupil-1003"


def held(workspace: Workspace) -> bool:
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(quarantine)).all()
    return len(rows) == 1 and next(r.status for r in list_requests(workspace).requests) in (
        "quarantined",
        "failed",
    )


def test_without_the_tracking_store_it_is_busy_until_that_is_back(
    trained: Workspace, command: Command, tmp_path: Path
) -> None:
    shutil.move(trained.root / "mlflow.db", tmp_path / "away.db")
    answer = command("--workspace", trained.root, "erase", KEY, "--json")
    told = answer.json["requests"][0]
    assert (answer.code, told["status"]) == (5, "failed")
    assert "no tracking store" in told["reason"]
    assert "backup" in told["reason"]
    assert told["nonce"], "who asked can open the commitment whatever happened"
    assert held(trained)
    shutil.move(tmp_path / "away.db", trained.root / "mlflow.db")
    again = command("--workspace", trained.root, "resume", "--json")
    assert (again.code, again.json["requests"][0]["status"]) == (0, "completed")


def test_a_locked_database_is_busy(trained: Workspace, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(trained.root / "state.db", isolation_level=None) as other, monkeypatch.context() as patch:
        patch.setattr(database, "_PATIENCE_MS", 50)
        other.execute("BEGIN IMMEDIATE")
        answer = command("--workspace", trained.root, "erase", KEY, "--json")
        assert (answer.code, answer.error["code"]) == (5, "busy")
        assert "locked by another process" in answer.error["message"]
        other.execute("ROLLBACK")
    assert command("--workspace", trained.root, "erase", KEY).code == 0


def test_what_is_not_quite_a_row_number_erases_nobody(workspace: Workspace, command: Command, tmp_path: Path) -> None:
    schema = tmp_path / "rows.yaml"
    schema.write_text(
        "population: rows\nidentity_type: row\nsubject: row\nholdout: {share: 0.2}\n"
        "columns:\n  x: {kind: integer, bounds: [0, 99]}\n"
    )
    (tmp_path / "rows.csv").write_text("x\n" + "".join(f"{n}\n" for n in range(30)))
    ingest(workspace, "rows", schema=schema, data=tmp_path / "rows.csv")
    for key in ("007", "+7", "7.0", " 7 7", "7e0", "-1", "٧", "0x7"):
        answer = command("--workspace", workspace.root, "erase", "--json", "--", key)
        assert (key, answer.code) == (key, 2)
        assert answer.json["requests"][0]["status"] == "rejected"
        assert "row number" in answer.json["requests"][0]["reason"]
    assert command("--workspace", workspace.root, "erase", "7").code == 0
