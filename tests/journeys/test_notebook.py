"""The notebook runs from its first cell to its last on a workspace of its own, and is kept without anything it computed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_it_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


def test_it_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    told = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert len(list((tmp_path / "notebook" / "certificates").iterdir())) == 1
    erased = next(outputs for outputs in told.values() if outputs and "'completed'" in str(outputs))
    [output] = erased
    shown = ast.literal_eval(output["data"]["text/plain"])
    assert list(shown) == ["request", "status", "shards", "retrain_seconds"]
    assert re.fullmatch(r"er-[0-9a-f]+", shown["request"])
    assert "4217" not in f"{shown['status']} {shown['shards']}", "the id and the seconds may hold any digits"
