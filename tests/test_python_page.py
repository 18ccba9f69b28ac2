"""The Python API: what its page shows holds, and every error and result of the workflows can be reached from the package."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import workbench
from workbench import errors
from workbench.state.workspace import Workspace
from workbench.workflows.result import Result

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def test_the_page_shows_what_happens(trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = doctest.testfile(str(PAGE), False, globs={"folder": trained.root}, optionflags=FLAGS, encoding="utf-8")
    assert done.failed == 0
    assert done.attempted > 20


def test_every_error_is_a_name_of_the_package() -> None:
    declared = {name for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert declared <= set(workbench.__all__)
    assert all(getattr(workbench, name) is getattr(errors, name) for name in declared)


@pytest.mark.parametrize("wing", ["datasets", "synthesis", "training"])
def test_every_result_of_a_wing_is_a_name_of_the_package(wing: str) -> None:
    results = importlib.import_module(f"workbench.workflows.{wing}.results")
    declared = {one for one in vars(results).values() if inspect.isclass(one) and issubclass(one, Result)} - {Result}
    assert declared
    assert all(getattr(workbench, one.__name__) is one for one in declared)


def test_every_name_of_the_package_is_there() -> None:
    assert all(getattr(workbench, name) is not None for name in workbench.__all__)
