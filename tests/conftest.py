"""Workspaces for tests: made once per run, copied for each test that needs one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# One thread each: on small tables several mostly wait for each other. A test that needs more starts a process with more.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import settings
from shared import changed, copied, shared

from workbench import cli
from workbench.cli import app, main
from workbench.config import SynthesizeConfig, TrainConfig
from workbench.privacy.ledger import Ledger
from workbench.state import writing
from workbench.state.tables import jobs
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.operations.initialise import initialise
from workbench.workflows.synthesis.synthesize import synthesize
from workbench.workflows.training.train import train

pytest_plugins = ["suite"]

# No deadline: a busy machine must not fail a test. The examples are others in every run.
settings.register_profile("workbench", deadline=None, max_examples=40)
settings.load_profile("workbench")

PUPILS_SCHEMA = """
population: pupils
identity_type: pupil-number
subject: pupil
max_rows_per_subject: 3
row_key: [term]
holdout: {share: 0.25}
columns:
  pupil: {kind: identifier, role: subject_id}
  term: {kind: integer, bounds: [1, 9], bins: 9}
  town: {kind: categorical, role: quasi_identifier, categories: [Öland, Åland, 東京 🗼], missing: true}
  hours: {kind: continuous, bounds: [0, 50], bins: 10}
  passed: {kind: boolean, role: target}
"""


def pupils(n: int = 400, *, first: int = 1000, seed: int = 0) -> pd.DataFrame:
    """An artificial table of `n` pupils with one to three rows each."""
    rng = np.random.default_rng(seed)
    rows = []
    for pupil in range(first, first + n):
        for term in rng.choice(np.arange(1, 10), size=rng.integers(1, 4), replace=False):
            hours = float(rng.uniform(0, 50))
            town = rng.choice(np.array(["Öland", "Åland", "東京 🗼", None], dtype=object))
            rows.append((f"pupil-{pupil}", int(term), town, hours, bool(hours + rng.normal(0, 8) > 25)))
    return pd.DataFrame(rows, columns=["pupil", "term", "town", "hours", "passed"])


@pytest.fixture(scope="session")
def empty_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised workspace; copy it before writing."""
    from mlflow.store.db import utils

    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)  # read for every store
    return shared(tmp_path_factory, "empty", lambda folder: initialise(folder / "workspace")) / "workspace"


@pytest.fixture(scope="session")
def pupils_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The schema file and the CSV file of the pupils table."""

    def write(folder: Path) -> None:
        (folder / "schema.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
        pupils().to_csv(folder / "pupils.csv", index=False)

    folder = shared(tmp_path_factory, "pupils", write)
    return folder / "schema.yaml", folder / "pupils.csv"


def fill(workspace: Workspace, schema: Path, data: Path, **trees: int) -> None:
    """Gives a workspace the pupils of a file, a budget, a release and an ensemble of these trees."""
    ingest(workspace, "pupils", schema=schema, data=data)
    Ledger(workspace.engine).set_budget("pupils", epsilon=4, delta=1e-5)
    synthesize(workspace, SynthesizeConfig(generator="mst", dataset="pupils", epsilon=1, delta=1e-5))
    train(workspace, TrainConfig.model_validate({"learner": "gradient_boosting", "dataset": "pupils", **trees}))
    with writing(workspace.engine) as connection:  # a test sees its own jobs alone
        connection.execute(jobs.delete())


@pytest.fixture(scope="session")
def full_workspace(
    tmp_path_factory: pytest.TempPathFactory, empty_workspace: Path, pupils_files: tuple[Path, Path]
) -> Path:
    """A workspace with the pupils, a budget, a release and an ensemble of 4 shards by 3 slices; copy it before writing."""

    trees = {"shards": 4, "slices": 3, "rounds": 9, "leaves": 7, "min_rows_per_leaf": 5}
    return changed(tmp_path_factory, "full", empty_workspace, lambda made, _: fill(made, *pupils_files, **trees))


@pytest.fixture(scope="session")
def german(empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a table whose every row is a person; copy it before writing."""
    return changed(tmp_path_factory, "german", empty_workspace, lambda made, _: ingest(made, "german"))


@pytest.fixture
def workspace(empty_workspace: Path, tmp_path: Path) -> Workspace:
    """A fresh, empty workspace."""
    return copied(empty_workspace, tmp_path)


@pytest.fixture
def trained(full_workspace: Path, tmp_path: Path) -> Workspace:
    """A fresh copy of the full workspace."""
    return copied(full_workspace, tmp_path)


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; anything else there fails."""
        assert len(self.out.splitlines()) == 1, self.out
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def error(self) -> dict[str, str]:
        """The error object, told on standard error too."""
        assert set(self.json) == {"error"}, self.out
        error: dict[str, str] = self.json["error"]
        assert set(error) == {"code", "message", "hint"}
        assert self.err.startswith(f"workbench: {error['message']}")
        return error


@cache
def commands() -> typer.core.TyperGroup:
    """The tree of commands: Typer builds it at each call, which takes ten times as long as what most commands do."""
    return typer.main.get_command(app)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs `workbench` with the arguments given, in this process."""

    monkeypatch.setattr(cli, "app", commands())

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capfd.readouterr()
        return Answer(int(exit_.value.code or 0), out, err)

    return run


@pytest.fixture
def browse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens a page of the app in this process over a workspace, with ids of the address line."""
    import streamlit as st
    from streamlit.components.v2 import manifest_scanner
    from streamlit.testing.v1 import AppTest

    from workbench.ui.parts import session

    monkeypatch.setattr(
        manifest_scanner, "scan_component_manifests", list
    )  # of every package, at each start; none has any
    before = st.get_option("server.address")
    st.config.set_option("server.address", "127.0.0.1")
    monkeypatch.setattr(session, "signs_in", lambda: False)

    def run(workspace: Workspace, page: str = "home", **about: str) -> AppTest:
        monkeypatch.setenv(session.HOME, str(workspace.root))
        app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
        for key, value in about.items():
            app.query_params[key] = value
        app.run()
        if page != "home":
            for key, value in about.items():
                app.query_params[key] = value
            app.switch_page(f"workbench/ui/pages/{page}_page.py").run()
        assert not app.exception, [fault.stack_trace for fault in app.exception]
        return app

    yield run
    st.config.set_option("server.address", before)
