"""A new store is the one that MLflow's migrations end with, though they are not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.tracking import Tracking
from workbench.tracking.new_store import template_of, template_path


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A store of an MLflow that no template is of, below a folder whose name a URI writes otherwise."""
    tracking = Tracking(tmp_path_factory.mktemp("it's Åland 100"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.tracking.new_store._FOLDER", tracking.folder / "no templates")
        tracking.initialise()
    return tracking


def statements(template: str) -> list[list[str]]:
    """The statements of a template; in which order a table's checks stand is left to chance by MLflow's migrations."""
    return [sorted(line.rstrip(", ") for line in one.splitlines()) for one in template.split("\n\n")]


def test_mlflow_makes_the_store_where_no_template_is_of_its_release(migrated: Tracking) -> None:
    with migrated.session() as client:
        assert client.get_experiment("0").name == "Default"
    assert sorted(path.name for path in migrated.folder.iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_the_template_of_the_installed_mlflow_is_what_its_migrations_make(migrated: Tracking) -> None:
    assert template_path().is_file(), "make template"
    found = template_of(migrated.database, migrated.artifacts)
    assert statements(template_path().read_text(encoding="utf-8")) == statements(found)


def test_a_new_store_has_the_tables_and_rows_of_one_that_mlflow_made(migrated: Tracking, tmp_path: Path) -> None:
    tracking = Tracking(tmp_path / migrated.folder.name)
    tracking.folder.mkdir()
    tracking.initialise()
    templates = [template_of(store.database, store.artifacts) for store in (tracking, migrated)]
    assert statements(templates[0]) == statements(templates[1])
    with tracking.session() as ours, migrated.session() as theirs:
        here, there = ours.get_experiment("0"), theirs.get_experiment("0")
    assert here.artifact_location == there.artifact_location.replace(migrated.folder.as_uri(), tracking.folder.as_uri())
    assert abs(here.creation_time - there.creation_time) < 24 * 3600 * 1000, "milliseconds since 1970, as MLflow writes"


def test_a_new_store_is_made_without_mlflow(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, workbench.tracking as t; t.Tracking(pathlib.Path(sys.argv[1])).initialise();"
        "sys.exit(str([name for name in ('mlflow', 'alembic') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
    assert Tracking(tmp_path).database.is_file()
