"""The way of records and erasures through an ensemble: bucket, shard, checkpoints, constituent, version. It reads no row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.data.partition import LINE
from workbench.data.store import SPLITS, Store
from workbench.errors import NotFoundError
from workbench.sisa.ensemble import Constituent, Manifest, constituent_id
from workbench.state import journal, lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import open_to_all
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, experiment_of
from workbench.workflows.operations.results import (
    FedShard,
    FeedingBucket,
    MlflowPlace,
    TracedBucket,
    TracedCheckpoint,
    TracedConstituent,
    TracedEnsemble,
    TracedRequest,
    TracedShard,
    TracedTraining,
    TracedVersion,
)
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train_shards import objects_of


@open_to_all
def trace_request(workspace: Workspace, request: str) -> TracedRequest:
    """What came of an erasure request: the versions that were published because of it, with the shards that were trained again.

    Raises NotFoundError where there is none of that id.
    """
    with workspace.engine.connect() as connection:
        row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
        if row is None:
            raise NotFoundError(f"no request {request!r} here", hint="workbench requests list")
        current = current_versions(connection)
        entries = [entry for entry in journal.about(connection, request) if entry["kind"] == "PUBLISHED"]
    return TracedRequest(
        request=request,
        status=row.status,
        datasets=tuple(row.datasets),
        certificate=row.certificate is not None,
        versions=tuple(_version(entry["body"], entry["at"], current) for entry in entries),
    )


def _version(body: Mapping[str, Any], at: str, current: Mapping[str, Artifact]) -> TracedVersion:
    """A published version; `now` is the version that stands for it today, if one does."""
    now = current.get(body["ensemble"])
    return TracedVersion(
        ensemble=body["ensemble"],
        version=body["version"],
        shards=tuple(body["retrained"]),
        at=at,
        now=now.id if now else None,
    )


@open_to_all
def trace_bucket(workspace: Workspace, dataset: str, bucket: int) -> TracedBucket:
    """A file of records by its stretch of the hash line: digests by split, and the shards of each ensemble that it feeds."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
        versions = current_versions(connection, dataset).values()
    if not 0 <= bucket < 1 << store.bits:
        raise NotFoundError("no such bucket here", hint=f"they are numbered from 0 to {(1 << store.bits) - 1}")
    low, high = store.interval_of(bucket)
    return TracedBucket(
        dataset=dataset,
        bucket=bucket,
        stretch=(low / LINE, high / LINE),
        digests={split: store.digests.get((split, bucket)) for split in SPLITS},
        shards=tuple(fed for version in versions for fed in _fed(read_manifest(workspace, version), low, high)),
    )


def _fed(manifest: Manifest, low: int, high: int) -> tuple[FedShard, ...]:
    intervals = ((c.shard, manifest.partition.interval(c.shard)) for c in manifest.constituents)
    return tuple(
        FedShard(id=manifest.id, ensemble=manifest.ensemble, shard=shard, stretch=(left / LINE, right / LINE))
        for shard, (left, right) in intervals
        if left < high and low < right
    )


@open_to_all
def trace_ensemble(workspace: Workspace, version: str) -> TracedEnsemble:
    """The shards of an ensemble's version, each with its constituent; raises NotFoundError where there is none of that id."""
    manifest, _ = _read(workspace, version)
    return TracedEnsemble(
        id=version,
        ensemble=manifest.ensemble,
        slices=manifest.partition.n_slices,
        shards=tuple(
            TracedConstituent(
                shard=one.shard,
                generation=one.generation,
                digest=one.digest,
                constituent=constituent_id(manifest.ensemble, one),
            )
            for one in manifest.constituents
        ),
    )


@open_to_all
def trace_shard(workspace: Workspace, version: str, shard: int) -> TracedShard:
    """One shard: its stretch of the hash line, the files of records that feed it, its checkpoints, and when it was trained.

    Raises NotFoundError where the version or the shard is not there.
    """
    manifest, dataset = _read(workspace, version)
    constituent = next((one for one in manifest.constituents if one.shard == shard), None)
    if constituent is None:
        raise NotFoundError(f"{version} has no such shard", hint=f"workbench lineage {version}")
    low, high = manifest.partition.interval(shard)
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
        made = _made(connection, manifest.ensemble, shard)
    buckets = range(store.bucket_at(low), store.bucket_at(high - 1) + 1)
    return TracedShard(
        id=version,
        ensemble=manifest.ensemble,
        dataset=dataset,
        shard=shard,
        generation=constituent.generation,
        constituent=constituent_id(manifest.ensemble, constituent),
        stretch=(low / LINE, high / LINE),
        buckets=tuple(_feeding(store, b) for b in buckets if (SPLITS[0], b) in store.digests),
        checkpoints=_checkpoints(workspace, manifest, constituent),
        trained=made,
    )


def _feeding(store: Store, bucket: int) -> FeedingBucket:
    low, high = store.interval_of(bucket)
    return FeedingBucket(bucket=bucket, stretch=(low / LINE, high / LINE), digest=store.digests[SPLITS[0], bucket])


def _checkpoints(workspace: Workspace, manifest: Manifest, constituent: Constituent) -> tuple[TracedCheckpoint, ...]:
    """The checkpoint after each slice, and whether it is stored: by itself, or as the beginning of the last."""
    objects, stored = objects_of(workspace, manifest.dataset), manifest.files(constituent)
    grows = bool(constituent.sizes)
    there = constituent.digest is not None and objects.path(constituent.digest).is_file()
    return tuple(
        TracedCheckpoint(
            slice=number,
            digest=digest,
            stored=digest is not None and (there if grows else digest in stored and objects.path(digest).is_file()),
        )
        for number, digest in enumerate(constituent.checkpoints)
    )


def _made(connection: Connection, ensemble: str, shard: int) -> tuple[TracedTraining, ...]:
    """The versions for which the shard was trained, and because of which requests."""
    published = [body for _, body in journal.entries(connection, "PUBLISHED") if body["ensemble"] == ensemble]
    return tuple(
        TracedTraining(version=b["version"], requests=tuple(b["requests"]))
        for b in published
        if shard in b["retrained"]
    )


@open_to_all
def in_mlflow(workspace: Workspace, artifact_id: str) -> MlflowPlace:
    """Where MLflow shows an artifact: its run with the experiment, and name and version of its registered model; else None."""
    with workspace.engine.connect() as connection:
        body = lineage.get(connection, artifact_id).body
    run, registered = body.get("mlflow_run"), body.get("registered")
    return MlflowPlace(
        run=run,
        experiment=experiment_of(Tracking(workspace.root), run) if run else None,
        registered=tuple(registered) if registered else None,
    )


@open_to_all
def buckets_of(workspace: Workspace, dataset: str) -> Sequence[int]:
    """The numbers of the files that hold training records of a data set."""
    with workspace.engine.connect() as connection:
        digests = catalog.store(connection, workspace, dataset).digests
    return sorted(bucket for split, bucket in digests if split == SPLITS[0])


def _read(workspace: Workspace, version: str) -> tuple[Manifest, str]:
    with workspace.engine.connect() as connection:
        artifact = lineage.get(connection, version)
    if artifact.kind != "ensemble":
        raise NotFoundError(f"{version} is no ensemble's version", hint="workbench lineage DATASET")
    return read_manifest(workspace, artifact), artifact.dataset
