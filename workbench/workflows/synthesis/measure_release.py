"""Measuring the quality figures of a release again, after an erasure purged those that were there."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.erasure.left_out import LeftOut, left_out, refuse_newcomers
from workbench.erasure.request import refuse_quarantined
from workbench.errors import InputError, NotFoundError
from workbench.metrics.estimate import Estimate
from workbench.progress import Progress, silent
from workbench.state import lineage, writing
from workbench.state.atomic_files import file_sha256
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, internal
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.tracking import RunRecord, Tracking, estimate_metrics, find_runs, log_run, purge_runs
from workbench.workflows.exclusive import exclusive
from workbench.workflows.synthesis.release_figures import figures_of
from workbench.workflows.synthesis.results import Figures, MeasureResult

_NOTHING = "nothing is measured"
_TAG = "workbench.figures_of"


@allowed("operate")
def measure_release(workspace: Workspace, name: str, progress: Progress = silent) -> MeasureResult:
    """Measure a release on the records as they are now, in the place of older figures; they are internal.

    People who wait for their erasure are left out. Raises NotFoundError for what is no release, QuarantinedError where it may
    not be used, BusyError where one more of its people asked to be erased in the meantime: then nothing is kept.
    """
    with workspace.engine.connect() as connection:
        release = _release(connection, name)
    with exclusive(workspace, release.dataset, beside_erasures=True):
        with workspace.engine.connect() as connection:
            release = _release(connection, name)
            refuse_quarantined(connection, release)
            absent = left_out(connection, release.dataset)
        progress(0.1, "reading")
        figures = record_figures(workspace, release, absent)
    return MeasureResult(dataset=release.dataset, release=release.id, figures=figures.metrics)


@internal
def record_figures(workspace: Workspace, release: Artifact, absent: LeftOut) -> Figures:
    """Measure and record the figures of a release; the caller holds the data set's lock."""
    path = workspace.root / str(release.path)
    if not path.is_file() or file_sha256(path) != release.digest:
        raise InputError(f"the file of {release.id} is damaged or missing", hint="restore it from a backup")
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, release.dataset)
        version = catalog.version(connection, release.dataset)
    measured = figures_of(absent.rest(store.read("train")), absent.rest(store.read("holdout")), path)
    flat: dict[str, float] = {}
    for name, value in measured.metrics.items():
        flat |= estimate_metrics(name, value) if isinstance(value, Estimate) else {name: value}
    tracking = Tracking(workspace.root)
    with workspace.engine.connect() as connection:
        kept = {a.body["mlflow_run"] for a in _evaluations(connection, release.dataset)}
    purge_runs(
        tracking, run_ids=set(find_runs(tracking, tag=_TAG, value=release.id)) - kept
    )  # of a try that was killed
    run = log_run(tracking, _run(release, flat))
    artifact = Artifact(
        id=figures_id(release),
        kind="evaluation",
        dataset=release.dataset,
        derived_from=[release.id, release.dataset],
        body={
            **measured.to_json(),
            "mlflow_run": run,
            "records_version": version,
            **({"left_out": len(absent.points)} if absent.points else {}),
        },
    )
    try:
        with writing(workspace.engine) as connection:
            refuse_newcomers(connection, absent, _NOTHING)
            older = [a for a in _evaluations(connection, release.dataset) if a.id == artifact.id]
            lineage.remove(connection, [a.id for a in older])
            lineage.record(connection, artifact)
    except BaseException:
        purge_runs(tracking, run_ids=[run])
        raise
    purge_runs(tracking, run_ids=[a.body["mlflow_run"] for a in older])
    return measured


@internal
def has_figures(connection: Connection, release: Artifact) -> bool:
    """Return whether the figures of a release are there."""
    return figures_id(release) in {a.id for a in _evaluations(connection, release.dataset)}


@internal
def without_figures(workspace: Workspace, request_ids: Collection[str] | None) -> list[str]:
    """Return the releases that have no figures, of the data sets that these requests concern, or any completed one."""
    chosen = requests.c.status == "completed" if request_ids is None else requests.c.id.in_(request_ids)
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(requests.c.datasets).where(chosen)).scalars()
        datasets = {name for names in rows for name in names}
        made = [a for name in sorted(datasets) for a in lineage.find(connection, dataset=name, kind="release")]
        return [release.id for release in made if not has_figures(connection, release)]


@internal
def figures_id(release: Artifact) -> str:
    """Return the lineage name of the figures of a release."""
    return f"{release.derived_from[0]}-evaluation"


def _release(connection: Connection, name: str) -> Artifact:
    found = [a for a in lineage.find(connection, kind="release") if name in (a.id, *a.derived_from)]
    if not found:
        raise NotFoundError(f"{name} is no release", hint="workbench lineage DATASET")
    return found[0]


def _evaluations(connection: Connection, dataset: str) -> list[Artifact]:
    return list(lineage.find(connection, dataset=dataset, kind="evaluation"))


def _run(release: Artifact, metrics: dict[str, float]) -> RunRecord:
    return RunRecord(
        experiment=release.dataset,
        name=f"measure {release.id} again",
        kind="evaluation",
        params={},
        metrics=metrics,
        tags={_TAG: release.id},
    )
