"""The MLflow runs of a fit and of its evaluation: opened before the rows are read, ended as the lineage says.

MLflow is a mirror. While the fit goes on its run shows how far it is; what came of it is recorded in the workspace's
database first, and the runs are ended from there: by the command itself, or by the next one where it was killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from workbench.config import SynthesizeConfig
from workbench.errors import LockedError, WorkbenchError
from workbench.metrics.estimate import Estimate
from workbench.progress import FitProgress, Progress
from workbench.state import lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.tracking import (
    Kind,
    LiveFigures,
    RunRecord,
    Tracking,
    end_run,
    estimate_metrics,
    open_runs,
    purge_runs,
    start_run,
)

_KINDS: tuple[Kind, ...] = ("synthesize", "evaluation")
_AUDIENCE = "workbench.audience"


@internal
def begin_runs(workspace: Workspace, config: SynthesizeConfig, name: str, tags: Mapping[str, str]) -> tuple[str, str]:
    """Opens the run of the fit, whose audience is that of the release, and below it the evaluation's, which is internal."""
    tracking = Tracking(workspace.root)
    fit = RunRecord(
        experiment=config.dataset,
        name=f"synthesize {name}",
        kind="synthesize",
        params={key: str(value) for key, value in config.model_dump(exclude_none=True).items()},
        metrics={f"privacy/{key}": value for key, value in budget_of(config).items()},
        tags={
            _AUDIENCE: _audience(private=config.private),
            "workbench.private": str(config.private).lower(),
            **tags,
        },
    )
    run = start_run(tracking, fit)
    evaluation = RunRecord(
        experiment=config.dataset,
        name=f"evaluate {name}",
        kind="evaluation",
        params={},
        metrics={},
        tags=tags,
        parent=run,
    )
    return run, start_run(tracking, evaluation)


@internal
def budget_of(config: SynthesizeConfig) -> dict[str, float]:
    """Epsilon and delta, where the generator has them."""
    if not config.private:
        return {}
    epsilon, delta = config.budget
    return {"epsilon": epsilon, "delta": delta}


@internal
def live(workspace: Workspace, run_id: str, progress: Progress) -> FitProgress:
    """Progress that also shows the figures of a fit in its run, which never hinders it."""
    shown = LiveFigures(Tracking(workspace.root), run_id)

    def tell(fraction: float, text: str, *, step: int | None = None, **figures: float) -> None:
        progress(fraction, text)
        if step is not None:
            shown.add(step, **figures)
        if fraction >= 1:
            shown.write()

    return tell


@internal
def fail_runs(workspace: Workspace, runs: Sequence[str], *, private: bool) -> None:
    """Ends the runs of a fit that came to nothing; where it is not private nothing of it may be left, and they are purged."""
    tracking = Tracking(workspace.root)
    if not private:
        purge_runs(tracking, run_ids=runs)
        return
    for run in runs:
        with suppress(WorkbenchError, OSError):  # the next command ends it
            end_run(tracking, run, status="FAILED")


@internal
def end_runs(workspace: Workspace, dataset: str) -> None:
    """Ends a data set's open runs: FINISHED, with their results, where the lineage knows them, and KILLED otherwise.

    The caller holds the data set's lock, so no fit is under way. Nothing is raised: what can't be ended now is ended later.
    """
    with workspace.engine.connect() as connection:
        artifacts = [
            a for kind in ("generator", "evaluation") for a in lineage.find(connection, dataset=dataset, kind=kind)
        ]
    known = {artifact.body.get("mlflow_run"): artifact for artifact in artifacts}
    for run in _open(workspace, dataset):
        with suppress(WorkbenchError, OSError):
            if run in known:
                _finish(Tracking(workspace.root), run, known[run])
            else:
                end_run(Tracking(workspace.root), run, status="KILLED")


@internal
def end_runs_of_the_dead(workspace: Workspace, dataset: str) -> None:
    """The same, for who does not hold the lock: a fit that is under way is left alone."""
    if _open(workspace, dataset):
        with suppress(LockedError), workspace.lock(dataset):
            end_runs(workspace, dataset)


def _open(workspace: Workspace, dataset: str) -> tuple[str, ...]:
    with suppress(WorkbenchError, OSError, sqlite3.Error):
        return open_runs(Tracking(workspace.root), experiment=dataset, kinds=_KINDS)
    return ()


def _finish(tracking: Tracking, run: str, artifact: Artifact) -> None:
    if artifact.kind == "generator":
        metrics, audience = {"rows": float(artifact.body["rows"])}, _audience(private=artifact.body["private"])
    else:
        metrics, audience = _flat(artifact.body["metrics"]), _audience(private=False)
    end_run(tracking, run, status="FINISHED", metrics=metrics, tags={_AUDIENCE: audience})


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        flat |= estimate_metrics(name, Estimate(**value)) if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if value is not None}  # None: a number that JSON lacks


def _audience(*, private: bool) -> str:
    return "release" if private else "internal"
