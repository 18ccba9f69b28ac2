"""Withdrawing a model or a generator for good, also where its files are damaged and block an erasure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.erasure import saga
from workbench.erasure.saga import EnsembleState
from workbench.errors import NotFoundError
from workbench.state import compact, journal, lineage, writing
from workbench.state.atomic_files import remove
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, purge_runs
from workbench.workflows.erasure.results import NamedArtifact, Retirement
from workbench.workflows.training.publish_version import live_objects
from workbench.workflows.training.train_shards import objects_of


@allowed("administer")
def retire(workspace: Workspace, name: str) -> Retirement:
    """Removes an ensemble (by its name) or a generator with all that was derived from it; exports stay, to be notified.

    Nothing of theirs is read, so damage doesn't matter. Files and MLflow entries go first, what names them last: killed in
    between, the same command finishes it. Raises NotFoundError where there is no such thing, BusyError where its data set is
    being written.
    """
    dataset = _family(workspace, name)[0].dataset
    with workspace.lock(dataset):
        family = _family(workspace, name)
        with workspace.engine.connect() as connection:
            begun = [e for e in saga.unfinished(connection) if dataset in e.datasets]
        unpublished = [e for erasure in begun for e in erasure.datasets[dataset].ensembles if e.old.ensemble == name]
        _remove_checkpoints(workspace, dataset, family, unpublished, others=begun)
        _remove_files(workspace, name, family)
        _purge(workspace, [a.body for a in family] + [a["body"] for e in unpublished for a in e.artifacts])
        with writing(workspace.engine) as connection:
            lineage.remove(connection, [artifact.id for artifact in family])
            for erasure in begun:
                saga.save(connection, erasure.without(dataset, name))
            journal.append(connection, "RETIRED", artifact=name, dataset=dataset)
        compact(workspace.engine)
    removed = tuple(NamedArtifact(id=a.id, kind=a.kind) for a in family)
    return Retirement(retired=name, dataset=dataset, removed=removed)


def _family(workspace: Workspace, name: str) -> list[Artifact]:
    """The artifacts of an ensemble or a generator, all that was derived from it included but for exports."""
    with workspace.engine.connect() as connection:
        artifacts = lineage.find(connection)
    family = [
        a
        for a in artifacts
        if (a.kind in ("ensemble", "constituent") and a.body["ensemble"] == name)
        or (a.kind == "generator" and a.id == name)
    ]
    if not family:
        raise NotFoundError(f"no ensemble or generator is called {name!r}", hint="workbench lineage DATASET")
    ids = {a.id for a in family}
    derived = [a for a in artifacts if a.kind != "export"]
    while more := [a for a in derived if a.id not in ids and not ids.isdisjoint(a.derived_from)]:
        family += more
        ids |= {a.id for a in more}
    return family


def _remove_checkpoints(
    workspace: Workspace,
    dataset: str,
    family: Sequence[Artifact],
    unpublished: Sequence[EnsembleState],
    *,
    others: Sequence[saga.Erasure],
) -> None:
    """Removes the ensemble's checkpoints but for those that another one, or one that an erasure is about to publish, uses."""
    doomed = {digest for a in family for digest in a.body.get("checkpoints", ()) if digest is not None}
    doomed |= {digest for e in unpublished if e.after for digest in e.new.objects()}
    ids = {a.id for a in family}
    with workspace.engine.connect() as connection:
        live = live_objects(connection, dataset, without=ids)
    ensembles = [e for erasure in others for e in erasure.datasets[dataset].ensembles if e not in unpublished]
    live |= {digest for e in ensembles for digest in (e.new if e.after else e.old).objects()}
    for digest in doomed - live:
        objects_of(workspace, dataset).delete(digest)


def _remove_files(workspace: Workspace, name: str, family: Sequence[Artifact]) -> None:
    for artifact in family:
        if artifact.path is not None:
            remove(workspace.root / artifact.path)
    if any(artifact.kind == "ensemble" for artifact in family):
        remove(workspace.root / "ensembles" / name)


def _purge(workspace: Workspace, bodies: Sequence[Any]) -> None:
    """Removes the MLflow runs, models and registered versions that the artifacts name."""
    purge_runs(
        Tracking(workspace.root),
        run_ids={body[key] for body in bodies for key in ("mlflow_run", "train_run") if key in body},
        model_ids=[body["mlflow_model"] for body in bodies if body.get("mlflow_model")],
        registered=[tuple(body["registered"]) for body in bodies if "registered" in body],
    )
