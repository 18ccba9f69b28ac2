"""Training shards and publishing an ensemble's version: what a first training and an erasure have in common."""

from __future__ import annotations

import resource
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from workbench.config import TrainConfig, stored_config
from workbench.data.store import Store
from workbench.erasure.environment import learnt_with
from workbench.errors import DamagedError, InputError
from workbench.metrics.estimate import Estimate
from workbench.metrics.utility import predictive
from workbench.schema import Schema
from workbench.sisa.ensemble import Manifest, aggregate, constituent_id, parse_manifest
from workbench.sisa.task import task_of
from workbench.state import journal, lineage
from workbench.state.atomic_files import content_of, file_sha256, remove, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.tracking import (
    Kind,
    RunRecord,
    Tracking,
    estimate_metrics,
    link_constituents,
    log_constituent,
    log_run,
    register_version,
    runs_of,
)
from workbench.workflows.training.holdout_predictions import votes_of
from workbench.workflows.training.train_shards import Trained, objects_of


@dataclass(frozen=True, kw_only=True)
class Version:
    """An ensemble's version, written and logged but not yet in the database."""

    manifest: Manifest
    metrics: Mapping[str, Estimate]
    artifacts: tuple[Artifact, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """MLflow runs that belong to what is new in this version."""
        return tuple(artifact.body["mlflow_run"] for artifact in self.artifacts)


@internal
def sweep(workspace: Workspace, dataset: str) -> frozenset[str]:
    """Removes checkpoints and manifests that no current version refers to, and returns the checkpoints' digests.

    The caller holds the data set's lock, so what is unreferenced is superseded, or left by a training that was killed.
    """
    with workspace.engine.connect() as connection:
        current = current_versions(connection, dataset).values()
        live = live_objects(connection, dataset)
    objects = objects_of(workspace, dataset)
    stray = frozenset(objects.digests()) - live
    for digest in stray:
        objects.delete(digest)
    paths = {artifact.path for artifact in current}
    for path in (workspace.root / "ensembles").glob("*/v*.json"):
        if str(path.relative_to(workspace.root)) not in paths and _dataset_of(path) == dataset:
            remove(path)
    return stray


@internal
def live_objects(
    connection: Connection, dataset: str | None = None, *, without: Collection[str] = ()
) -> frozenset[str]:
    """Digests of all stored checkpoints in use, as the lineage knows them: a damaged manifest must not hide what it names."""
    constituents = [a for a in lineage.find(connection, dataset=dataset, kind="constituent") if a.id not in without]
    stored = (
        a.body.get("objects", a.body["checkpoints"]) for a in constituents
    )  # of before some were parts of others: all
    return frozenset(digest for digests in stored for digest in digests if digest is not None)


@internal
def stray_runs(workspace: Workspace, dataset: str) -> frozenset[str]:
    """MLflow runs of a data set that no artifact refers to: superseded, or left by a training or release that was killed.

    The caller holds the data set's lock.
    """
    with workspace.engine.connect() as connection:
        bodies = [artifact.body for artifact in lineage.find(connection, dataset=dataset)]
    live = {body.get(key) for body in bodies for key in ("mlflow_run", "train_run")}
    kinds: tuple[Kind, ...] = ("train", "shard", "version", "synthesize", "evaluation")
    return frozenset(runs_of(Tracking(workspace.root), experiment=dataset, kinds=kinds)) - live


def _dataset_of(manifest: Path) -> str | None:
    try:
        return parse_manifest(manifest.read_bytes()).dataset
    except (InputError, OSError):  # a damaged one is told by the doctor
        return None


_COPY = "manifest"  # in the body of a version's artifact; versions published before have none


@internal
def manifest_path(ensemble: str, version: int) -> Path:
    """Where a version's manifest lies, relative to the workspace."""
    return Path("ensembles") / ensemble / f"v{version:06d}.json"


@internal
def read_manifest(workspace: Workspace, artifact: Artifact) -> Manifest:
    """Return the manifest of an ensemble's version, from the database where its file is damaged or missing.

    Raises DamagedError where neither is what was published.
    """
    path = workspace.root / (artifact.path or "")
    for content in (content_of(path), str(artifact.body.get(_COPY, "")).encode()):
        with suppress(InputError):
            manifest = parse_manifest(content)
            if manifest.digest == artifact.digest:
                return manifest
    raise DamagedError(
        f"the manifest of {artifact.id} is missing, damaged, of an earlier version or not the published one",
        hint=f"restore it from a backup, or withdraw the ensemble: workbench retire {artifact.body['ensemble']}",
    )


@internal
def is_whole(workspace: Workspace, artifact: Artifact) -> bool:
    """Return whether the file of a version's manifest is the one that was published."""
    path = workspace.root / (artifact.path or "")
    return path.is_file() and file_sha256(path) == artifact.digest


@internal
def evaluate(workspace: Workspace, store: Store, manifest: Manifest) -> dict[str, Estimate]:
    """The ensemble's metrics on the holdout; none where the holdout is empty or every shard abstains."""
    holdout = store.read("holdout")
    votes = votes_of(manifest, objects_of(workspace, manifest.dataset), holdout) if len(holdout) else []
    if not votes:
        return {}
    vote = aggregate(votes, manifest.aggregation)
    return predictive(task_of(store.schema).kind, holdout.target, vote, holdout.points)


@internal
def write_version(
    workspace: Workspace,
    tracking: Tracking,
    manifest: Manifest,
    trained: Mapping[int, Trained],
    metrics: Mapping[str, Estimate],
    *,
    schema: Schema,
    train_run: str,
    reused: Iterable[Artifact] = (),
    tags: Mapping[str, str] | None = None,
    pending: Mapping[int, int] | None = None,
) -> Version:
    """Writes the manifest and logs the version with its new constituents; the caller records it in the database.

    `tags` go on every MLflow run it makes, so that a try that was cut off can be found. `pending` are the shards that have
    not seen all records of their slices, with the first slice concerned.
    """
    tags = tags or {}
    with tracking.held():
        made = [_log_shard(tracking, manifest, shard, train_run, tags) for _, shard in sorted(trained.items())]
        models = [artifact.body["mlflow_model"] for artifact in (*reused, *made) if artifact.body["mlflow_model"]]
        run = log_run(
            tracking,
            RunRecord(
                experiment=manifest.dataset,
                name=f"{manifest.ensemble} version {manifest.version}",
                kind="version",
                params={"ensemble": manifest.ensemble, "version": str(manifest.version), "digest": manifest.digest},
                metrics={
                    k: v for name, e in metrics.items() for k, v in estimate_metrics(f"utility/{name}", e).items()
                },
                tags={
                    "workbench.ensemble": manifest.ensemble,
                    "workbench.parent_version": str(manifest.version - 1) if manifest.version > 1 else "none",
                    "workbench.retrained_shards": ",".join(map(str, sorted(trained))) or "none",
                    "workbench.reused_shards": ",".join(
                        str(s) for s in range(len(manifest.constituents)) if s not in trained
                    )
                    or "none",
                    **tags,
                },
                parent=train_run,
            ),
        )
        link_constituents(tracking, run_id=run, model_ids=models)
        registered = register_version(
            tracking,
            experiment=manifest.dataset,
            run_id=run,
            name=manifest.ensemble,
            workspace=workspace.root,
            ensemble=manifest.ensemble,
            version=manifest.version,
            tags={"workbench.digest": manifest.digest},
            schema=schema,
            answers=task_of(schema).answer_columns(stored_config(manifest.config, TrainConfig).answers),
        )
    path = manifest_path(manifest.ensemble, manifest.version)
    write_atomic(workspace.root / path, manifest.to_bytes())
    version = Artifact(
        id=manifest.id,
        kind="ensemble",
        dataset=manifest.dataset,
        derived_from=[constituent_id(manifest.ensemble, c) for c in manifest.constituents],
        digest=manifest.digest,
        path=str(path),
        body={
            "ensemble": manifest.ensemble,
            "version": manifest.version,
            "metrics": {name: estimate.to_json() for name, estimate in metrics.items()},
            "mlflow_run": run,
            "train_run": train_run,
            "registered": [manifest.ensemble, registered],
            _COPY: manifest.to_bytes().decode(),
            "peak_mb": round(max(map(_peak, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))),
            **({"stale": True, "pending": {str(s): f for s, f in pending.items()}} if pending else {}),
        },
    )
    return Version(manifest=manifest, metrics=metrics, artifacts=(*made, version))


def _peak(who: int) -> float:
    """The most memory that this process, or the largest of its children that have ended, ever had, in MB."""
    return resource.getrusage(who).ru_maxrss / 1024


@internal
def record_version(
    connection: Connection,
    manifest: Manifest,
    artifacts: Iterable[Artifact],
    *,
    retrained: Iterable[int],
    requests: Iterable[str],
) -> None:
    """Makes a version the current one, inside the caller's write transaction."""
    for artifact in artifacts:
        lineage.record(connection, artifact)
    journal.append(
        connection,
        "PUBLISHED",
        ensemble=manifest.ensemble,
        version=manifest.version,
        digest=manifest.digest,
        retrained=sorted(retrained),
        requests=sorted(requests),
    )


@internal
def current_versions(connection: Connection, dataset: str | None = None) -> dict[str, Artifact]:
    """The current version of each ensemble, by the ensemble's name."""
    versions = lineage.find(connection, dataset=dataset, kind="ensemble")
    return {a.body["ensemble"]: a for a in sorted(versions, key=lambda a: int(a.body["version"]))}


def _log_shard(
    tracking: Tracking, manifest: Manifest, trained: Trained, train_run: str, tags: Mapping[str, str]
) -> Artifact:
    """Logs one trained shard as a nested run with its model, and describes it as an artifact."""
    constituent = trained.constituent
    tags = {
        **tags,
        "workbench.ensemble": manifest.ensemble,
        "workbench.shard": str(constituent.shard),
        "workbench.slices": f"{trained.first_slice}..{len(constituent.checkpoints) - 1}",
        "workbench.generation": str(constituent.generation),
        "workbench.ensemble_version": str(manifest.version),
    }
    run = log_run(
        tracking,
        RunRecord(
            experiment=manifest.dataset,
            name=f"shard {constituent.shard}, generation {constituent.generation}",
            kind="shard",
            params={"digest": constituent.digest or "empty"},
            metrics={"seconds": sum(trained.seconds)},
            tags=tags,
            parent=train_run,
        ),
    )
    model = (
        log_constituent(
            tracking,
            experiment=manifest.dataset,
            run_id=run,
            name=f"{manifest.ensemble}-shard-{constituent.shard}",
            digest=constituent.digest,
            tags=tags,
        )
        if constituent.digest
        else ""
    )
    return Artifact(
        id=constituent_id(manifest.ensemble, constituent),
        kind="constituent",
        dataset=manifest.dataset,
        derived_from=[manifest.dataset],
        digest=constituent.digest,
        body={
            "ensemble": manifest.ensemble,
            "shard": constituent.shard,
            "checkpoints": list(constituent.checkpoints),
            "objects": sorted(manifest.files(constituent)),
            "seconds": list(trained.seconds),
            "learnt_with": learnt_with(),
            "mlflow_run": run,
            "mlflow_model": model,
        },
    )
