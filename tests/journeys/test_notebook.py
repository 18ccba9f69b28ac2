"""The notebook runs from its first cell to its last on a workspace of its own, and is kept without anything it computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_it_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


def in_a_kernel(folder: Path) -> Iterator[str]:
    """What each cell shows, run by Jupyter."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from (output["data"]["text/plain"] for output in cell.outputs if "data" in output)


def in_this_process(_: Path) -> Iterator[str]:
    """What each cell shows that ends in an expression, run one after another."""
    known: dict[str, Any] = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            *before, last = ast.parse(cell.source).body
            shows = isinstance(last, ast.Expr)
            exec(compile(ast.Module(before if shows else [*before, last], []), cell.id, "exec"), known)
            if shows:
                yield repr(eval(compile(ast.Expression(last.value), cell.id, "eval"), known))  # noqa: S307


@pytest.mark.parametrize("ran", [in_this_process, pytest.param(in_a_kernel, marks=pytest.mark.slow)])
def test_it_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: Callable[[Path], Iterator[str]]
) -> None:
    monkeypatch.setenv("NOTEBOOK_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    told = list(ran(tmp_path))
    assert len(list((tmp_path / "notebook" / "certificates").iterdir())) == 1
    shown = ast.literal_eval(next(text for text in told if "'completed'" in text))
    request, status, shards, _ = shown
    assert re.fullmatch(r"er-[0-9a-f]+", request)
    assert "4217" not in f"{status} {shards}", "the id and the seconds may hold any digits"
