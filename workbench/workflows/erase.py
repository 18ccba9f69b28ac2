"""Erasing people: quarantine, plan, drop rows, retrain what they touched, purge, verify, certify."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from workbench import journal, lineage
from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.store import Store
from workbench.erasure.certificate import sign
from workbench.erasure.environment import environment
from workbench.erasure.plan import EnsemblePlan, ErasurePlan, plan
from workbench.erasure.request import ErasureRequest, Subject, lift, locate, submit
from workbench.erasure.verify import Check, check_bytes, check_isolation, check_objects, check_removed, check_rows
from workbench.errors import BusyError, CheckFailedError, InputError, NotFoundError, WorkbenchError
from workbench.files import remove, sha256, write_atomic
from workbench.lineage import Artifact
from workbench.progress import Progress, silent
from workbench.schema import Schema
from workbench.sisa.ensemble import Manifest
from workbench.sisa.training import train_shard
from workbench.state import writing
from workbench.state.tables import requests
from workbench.tracking import RunRecord, Tracking, log_run, purge_runs
from workbench.workflows.publish import (
    Version,
    current_versions,
    evaluate,
    objects_of,
    read_manifest,
    record_version,
    train_shards,
    write_version,
)
from workbench.workspace import Workspace

EXCLUDED = (
    "copies outside the workspace: backups, exports and releases already handed out",
    "disk blocks that the file system has freed but not overwritten",
    "what the reviewed public schema says: it was declared, not learnt",
)


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was done to one data set, with the checks of its result."""

    plan: ErasurePlan
    schema: Schema
    versions: tuple[Version, ...]
    removed: frozenset[str]
    checks: tuple[Check, ...]

    @property
    def retrain_seconds(self) -> float:
        """What training the affected slices again took."""
        made = (artifact for version in self.versions for artifact in version.artifacts)
        return float(sum(sum(a.body["seconds"]) for a in made if a.kind == "constituent"))


def erase(
    workspace: Workspace,
    keys: Sequence[str],
    *,
    dataset: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Erases the subjects of those keys from `dataset`, or from every data set where there is one identity type only.

    All are planned together: one retraining per shard. An unknown subject is answered `rejected`, never "erased". Raises
    CheckFailedError, with the requests left open, where the verification finds anything.
    """
    started = time.perf_counter()
    datasets = _datasets(workspace, dataset)
    if not keys:
        raise InputError("no key was given", hint="name keys as arguments, or --file FILE (- for standard input)")
    keys = list(dict.fromkeys(keys))
    if dry_run:
        return _dry_run(workspace, datasets, keys)
    results: list[dict[str, Any]] = []
    accepted: list[ErasureRequest] = []
    for key in keys:
        try:
            accepted.append(submit(workspace, datasets, key))
        except (NotFoundError, InputError) as fault:
            results.append(_rejected(fault))
    if accepted:
        results = _execute(workspace, accepted, started, progress) + results
    return {"requests": results, "seconds": round(time.perf_counter() - started, 3)}


def _datasets(workspace: Workspace, dataset: str | None) -> list[str]:
    with workspace.engine.connect() as connection:
        if dataset is not None:
            return [catalog.entry(connection, dataset).name]
        names = catalog.names(connection)
        types = {catalog.entry(connection, name).schema.identity_type for name in names}
    if not names:
        raise NotFoundError("the workspace has no data set", hint="workbench ingest NAME")
    if len(types) > 1:
        raise InputError(
            f"the data sets {names} identify people in different ways, so a key alone is ambiguous",
            hint="add --dataset NAME",
        )
    return names


def _rejected(fault: WorkbenchError) -> dict[str, Any]:
    return {
        "request": None,
        "status": "rejected",
        "shards": [],
        "certificate": None,
        "reason": str(fault),
        "exit": fault.exit_code,
    }


def _dry_run(workspace: Workspace, datasets: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    results, subjects = [], list[Subject]()
    for key in keys:
        found, _ = locate(workspace, datasets, key)
        subjects += found
        if not found:
            results.append(_rejected(NotFoundError(f"nothing found of this subject in {', '.join(datasets)}")))
    plans = [_plan(workspace, name, [s for s in subjects if s.dataset == name])[0] for name in _touched(subjects)]
    if plans:
        shards = sorted({shard for p in plans for shard in p.shards})
        results.insert(0, {"request": None, "status": "planned", "shards": shards, "certificate": None})
    return {"requests": results, "plan": [p.to_json() for p in plans], "seconds": 0.0}


def _touched(subjects: Sequence[Subject]) -> list[str]:
    return sorted({subject.dataset for subject in subjects})


def _plan(
    workspace: Workspace, dataset: str, subjects: Sequence[Subject]
) -> tuple[ErasurePlan, Mapping[str, Artifact]]:
    """The plan, and the live artifacts of the data set by id."""
    with workspace.engine.connect() as connection:
        artifacts = lineage.find(connection, dataset=dataset)
        manifests = [read_manifest(workspace, a) for a in current_versions(connection, dataset).values()]
    return plan(dataset, subjects, manifests, artifacts), {artifact.id: artifact for artifact in artifacts}


def _execute(
    workspace: Workspace, accepted: Sequence[ErasureRequest], started: float, progress: Progress
) -> list[dict[str, Any]]:
    subjects = [subject for request in accepted for subject in request.subjects]
    erased: dict[str, Erased] = {}
    with ExitStack() as locks:
        for dataset in _touched(subjects):
            locks.enter_context(workspace.lock(dataset))
        for dataset in _touched(subjects):
            erased[dataset] = _erase_dataset(
                workspace, dataset, [s for s in subjects if s.dataset == dataset], progress
            )
        progress(0.95, "verifying")
        scan = _scan(workspace, accepted)
        checks = [check for e in erased.values() for check in e.checks] + [scan]
        failed = [check for check in checks if not check.ok]
        if failed:
            raise CheckFailedError(
                "the erasure could not be verified: " + "; ".join(f"{check.name}: {check.detail}" for check in failed),
                hint="the request stays open and nothing was certified; ask again to repeat it",
            )
        seconds = time.perf_counter() - started
        return [_certify(workspace, request, erased, checks, seconds) for request in accepted]


def _erase_dataset(workspace: Workspace, dataset: str, subjects: Sequence[Subject], progress: Progress) -> Erased:
    planned, live = _plan(workspace, dataset, subjects)
    _advance(workspace, planned.requests, "executing")
    _drop_rows(workspace, planned)
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
    versions = tuple(_successor(workspace, store, ensemble, live, progress) for ensemble in planned.ensembles)
    with writing(workspace.engine) as connection:
        lineage.remove(connection, [artifact.id for artifact in planned.purge])
        for version, ensemble in zip(versions, planned.ensembles, strict=True):
            record_version(connection, version, retrained=ensemble.retrain, requests=planned.requests)
        lift(connection, dataset, planned.requests)
    removed = _purge(workspace, planned)
    objects = objects_of(workspace)
    checks = [check_rows(store, subjects), check_removed(objects, removed)]
    for version, ensemble in zip(versions, planned.ensembles, strict=True):
        checks.append(check_isolation(ensemble.manifest, version.manifest, ensemble.retrain))
        checks.append(check_objects(objects, version.manifest.objects()))
    return Erased(plan=planned, schema=store.schema, versions=versions, removed=removed, checks=tuple(checks))


def _drop_rows(workspace: Workspace, planned: ErasurePlan) -> None:
    """Rewrites each bucket file the subjects are in; a file and its recorded digest change one after the other."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, planned.dataset)
    for (split, bucket), tokens in sorted(planned.drops.items()):
        digest = store.drop("train" if split == "train" else "holdout", bucket, tokens)
        with writing(workspace.engine) as connection:
            catalog.record_bucket(connection, planned.dataset, split, bucket, digest)
            journal.append(connection, "DROPPED", dataset=planned.dataset, requests=list(planned.requests))


def _successor(
    workspace: Workspace, store: Store, ensemble: EnsemblePlan, live: Mapping[str, Artifact], progress: Progress
) -> Version:
    """Retrains the affected shards and writes the ensemble's next version, reusing every other constituent."""
    before = ensemble.manifest
    config = TrainConfig.model_validate(before.config)
    _mend(workspace, store, config, before, ensemble.retrain)
    trained = train_shards(
        workspace,
        store,
        config,
        ensemble.retrain,
        before,
        progress=lambda f, t: progress(0.1 + 0.6 * f, f"retraining {t}"),
    )
    manifest = before.successor({shard: t.constituent for shard, t in trained.items()})
    metrics = evaluate(workspace, store, manifest)
    reused = [live[i] for i in live[before.id].derived_from if int(live[i].body["shard"]) not in trained]
    train_run = live[before.id].body["train_run"]
    return write_version(
        workspace,
        Tracking(workspace.root),
        manifest,
        trained,
        metrics,
        schema=store.schema,
        train_run=train_run,
        reused=reused,
    )


def _mend(
    workspace: Workspace, store: Store, config: TrainConfig, manifest: Manifest, retrain: Mapping[int, int]
) -> None:
    """Restores damaged checkpoints that the next version keeps: training their slices again gives the same bytes."""
    objects = objects_of(workspace)
    for constituent in manifest.constituents:
        kept = {d for d in constituent.checkpoints[: retrain.get(constituent.shard)] if d is not None}
        if all(objects.holds(digest) for digest in kept):
            continue
        records = store.read("train", manifest.partition.interval(constituent.shard))
        for model in train_shard(records, config, shard=constituent.shard):
            if model is not None and sha256(model) in kept:
                objects.put(model)


def _purge(workspace: Workspace, planned: ErasurePlan) -> frozenset[str]:
    """Removes superseded checkpoints, manifests and MLflow entries; returns the digests of the checkpoints removed."""
    with workspace.engine.connect() as connection:
        used = {d for a in current_versions(connection).values() for d in read_manifest(workspace, a).objects()}
    superseded = {d for a in planned.purge for d in a.body.get("checkpoints", ()) if d is not None}
    for digest in superseded - used:
        objects_of(workspace).delete(digest)
    for artifact in planned.purge:
        if artifact.path is not None:
            remove(workspace.root / artifact.path)
    purge_runs(
        Tracking(workspace.root),
        run_ids=[a.body["mlflow_run"] for a in planned.purge],
        model_ids=[a.body["mlflow_model"] for a in planned.purge if a.body.get("mlflow_model")],
        registered=[tuple(a.body["registered"]) for a in planned.purge if "registered" in a.body],
    )
    return frozenset(superseded - used)


def _scan(workspace: Workspace, accepted: Sequence[ErasureRequest]) -> Check:
    """Compacts the workspace database, then searches every byte for the identifiers and tokens of all requests."""
    with workspace.engine.connect() as connection:
        connection.execute(text("VACUUM"))
        busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
    if busy:
        raise BusyError("the workspace database is read by another process, so its log can't be cut", hint="ask again")
    return check_bytes(workspace, sorted({needle for request in accepted for needle in request.needles}))


def _advance(workspace: Workspace, ids: Sequence[str], status: str) -> None:
    with writing(workspace.engine) as connection:
        connection.execute(requests.update().where(requests.c.id.in_(ids)).values(status=status))
        for request in ids:
            journal.append(connection, status.upper(), request=request)


def _certify(
    workspace: Workspace, request: ErasureRequest, erased: Mapping[str, Erased], checks: Sequence[Check], seconds: float
) -> dict[str, Any]:
    """Signs the certificate and completes the request."""
    mine = {name: erased[name] for name in _touched(request.subjects)}
    path = f"certificates/{request.id}.json"
    run = _log_erasure(workspace, request, mine, seconds)
    with workspace.engine.connect() as connection:
        received = connection.execute(requests.select().where(requests.c.id == request.id)).one().received
        head = journal.head(connection)
    subject = {version.manifest.id: version.manifest.digest for e in mine.values() for version in e.versions}
    predicate = {
        "request": request.id,
        "commitment": {"algorithm": "SHA-256(nonce || identifier)", "value": request.commitment},
        "received": received,
        "completed": journal.now(),
        "datasets": [_dataset_basis(e) for e in mine.values()],
        "removed_checkpoints": sorted({digest for e in mine.values() for digest in e.removed}),
        "checks": [check.to_json() for check in checks],
        "journal_head": head,
        "environment": environment(),
        "excluded": list(EXCLUDED),
        "notify": sorted({a.id for e in mine.values() for a in e.plan.keep if a.kind == "release"}),
    }
    certificate = sign(workspace.root / "keys", subject | {"journal": head}, predicate)
    write_atomic(workspace.root / path, certificate)
    with writing(workspace.engine) as connection:
        connection.execute(
            requests.update()
            .where(requests.c.id == request.id)
            .values(status="completed", completed=predicate["completed"], certificate=path)
        )
        journal.append(connection, "CERTIFIED", request=request.id)
    return {
        "request": request.id,
        "status": "completed",
        "shards": sorted({shard for e in mine.values() for shard in e.plan.shards}),
        "certificate": str(workspace.root / path),
        "nonce": request.nonce,
        "ensembles": [
            {
                "ensemble": version.manifest.ensemble,
                "version": version.manifest.version,
                "metrics": {name: estimate.to_json() for name, estimate in version.metrics.items()},
            }
            for e in mine.values()
            for version in e.versions
        ],
        "retrain_seconds": round(sum(e.retrain_seconds for e in mine.values()), 3),
        "predicted_seconds": round(sum(p.predicted_seconds for e in mine.values() for p in e.plan.ensembles), 3),
        "mlflow_run": run,
    }


def _dataset_basis(erased: Erased) -> dict[str, Any]:
    """What happened in one data set and on what ground each artifact counts as free of the person."""
    models = [
        {
            "artifact": version.manifest.id,
            "basis": "exact: bit-identical to training from scratch on the remaining records",
            "evidence": "verify --replay retrains and compares digests",
            "constituents_retrained": len(ensemble.retrain),
            "constituents_reused": len(version.manifest.constituents) - len(ensemble.retrain),
        }
        for version, ensemble in zip(erased.versions, erased.plan.ensembles, strict=True)
    ]
    private = [
        {
            "artifact": artifact.id,
            "basis": "kept: differentially private",
            "epsilon": artifact.body["epsilon"],
            "delta": artifact.body["delta"],
        }
        for artifact in erased.plan.keep
    ]
    return {
        "dataset": erased.plan.dataset,
        "schema_sha256": erased.schema.digest(),
        "schema_reviewed": not erased.schema.unreviewed,
        "unreviewed_domains": list(erased.schema.unreviewed),
        "artifacts": models + private,
        "purged": sorted(artifact.kind for artifact in erased.plan.purge),
    }


def _log_erasure(workspace: Workspace, request: ErasureRequest, erased: Mapping[str, Erased], seconds: float) -> str:
    runs = [
        log_run(
            Tracking(workspace.root),
            RunRecord(
                experiment=name,
                name=f"erase {request.id}",
                kind="erase",
                params={"request": request.id},
                metrics={
                    "seconds": seconds,
                    "predicted_seconds": sum(e.predicted_seconds for e in done.plan.ensembles),
                    "constituents_retrained": float(sum(len(e.retrain) for e in done.plan.ensembles)),
                },
                tags={"workbench.request": request.id},
            ),
        )
        for name, done in erased.items()
    ]
    return runs[0]
