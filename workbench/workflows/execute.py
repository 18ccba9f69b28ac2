"""Carrying an erasure out, step by step: drop rows, retrain, publish, purge, verify, shred, certify.

A step may be repeated whole after a kill at any of its instants. Its end, and whatever else must become true at that very
moment, is one transaction.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from workbench import journal, lineage
from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.store import Store
from workbench.erasure import saga, vault
from workbench.erasure.certificate import sign
from workbench.erasure.environment import environment
from workbench.erasure.plan import ErasurePlan, pending_of, plan
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import Subject, advance, lift, subjects_of, waiting
from workbench.erasure.saga import DatasetState, EnsembleState, Erasure, artifact_to_json
from workbench.erasure.verify import Check, check_bytes, check_isolation, check_objects, check_removed, check_rows
from workbench.errors import BusyError, CheckFailedError, WorkbenchError
from workbench.files import remove, sha256, write_atomic
from workbench.lineage import Artifact
from workbench.progress import Progress, silent
from workbench.sisa.ensemble import Manifest
from workbench.sisa.training import train_shard
from workbench.state import writing
from workbench.state.tables import requests, suppressions
from workbench.tracking import RunRecord, Tracking, find_runs, log_run, purge_runs
from workbench.workflows.append import finish_append, finish_appends
from workbench.workflows.publish import (
    current_versions,
    evaluate,
    objects_of,
    read_manifest,
    record_version,
    stray_runs,
    sweep,
    train_shards,
    write_version,
)
from workbench.workspace import Workspace

EXCLUDED = (
    "copies outside the workspace: backups, exports and releases already handed out",
    "disk blocks that the file system has freed but not overwritten",
    "what the reviewed public schema says: it was declared, not learnt",
)
_SUPPRESSED = "a keyed token of the person, by which they are refused should their rows be brought in again"
_TAG = "workbench.erasure"
_COMPACT_TRIES = 25

Commit = Callable[[Connection], None]
Result = dict[str, Any]


def carry_out_waiting(workspace: Workspace, progress: Progress = silent) -> dict[str, Result]:
    """Finishes erasures that were interrupted, then carries out all requests that wait, planned together.

    Returns what was done by request id. Raises BusyError where another process is writing one of the data sets.
    """
    results = resume(workspace, progress)
    with workspace.engine.connect() as connection:
        datasets = {subject.dataset for subject in subjects_of(connection, waiting(connection))}
    with _locked(workspace, datasets):
        erasure = _begin(workspace, datasets)
        return results | (_carry_out(workspace, erasure, progress) if erasure else {})


def resume(workspace: Workspace, progress: Progress = silent) -> dict[str, Result]:
    """Finishes what was interrupted: appends, and erasures from their last finished step; returns those by request id."""
    finish_appends(workspace)
    results: dict[str, Result] = {}
    with workspace.engine.connect() as connection:
        begun = saga.unfinished(connection)
    for erasure in begun:
        with _locked(workspace, erasure.datasets):
            with workspace.engine.connect() as connection:  # again: someone else may have gone on with it
                current = next((e for e in saga.unfinished(connection) if e.id == erasure.id), None)
            if current is not None:
                results |= _carry_out(workspace, current, progress)
    return results


@contextmanager
def _locked(workspace: Workspace, datasets: Iterable[str]) -> Iterator[None]:
    with ExitStack() as locks:
        for dataset in sorted(datasets):
            locks.enter_context(workspace.lock(dataset))
            finish_append(workspace, dataset)
        yield


def plans_for(workspace: Workspace, subjects: Sequence[Subject]) -> list[ErasurePlan]:
    """The plan of each data set that the subjects are in."""
    plans = []
    for dataset in sorted({subject.dataset for subject in subjects}):
        with workspace.engine.connect() as connection:
            artifacts = lineage.find(connection, dataset=dataset)
            manifests = [read_manifest(workspace, a) for a in current_versions(connection, dataset).values()]
            policy = ErasurePolicy.model_validate(catalog.entry(connection, dataset).policy)
        plans.append(plan(dataset, [s for s in subjects if s.dataset == dataset], manifests, artifacts, policy))
    return plans


def _begin(workspace: Workspace, datasets: set[str]) -> Erasure | None:
    """Plans the requests that wait in these data sets alone, and makes the plan durable.

    All in one write transaction, so that nobody withdraws a request between its planning and its beginning.
    """
    with writing(workspace.engine) as connection:
        subjects = subjects_of(connection, waiting(connection))
        outside = {subject.request for subject in subjects if subject.dataset not in datasets}  # accepted a moment ago
        subjects = [subject for subject in subjects if subject.request not in outside]
        if not subjects:
            return None
        erasure = Erasure(
            id=f"erasure-{secrets.token_hex(6)}",
            step="planned",
            requests=tuple(sorted({subject.request for subject in subjects})),
            datasets={p.dataset: saga.dataset_state(p) for p in plans_for(workspace, subjects)},
            started=time.time(),
        )
        saga.create(connection, erasure)
        advance(connection, erasure.requests, "planned")
    return erasure


def _carry_out(workspace: Workspace, erasure: Erasure, progress: Progress) -> dict[str, Result]:
    """Runs every step that is left. A fault leaves the requests `failed`, quarantined and resumable."""
    try:
        workspace.clear()
        while erasure.step != "shredded":
            target, step = _STEPS[erasure.step]
            after, commit = step(workspace, erasure, progress)
            erasure = after.model_copy(update={"step": target})
            with writing(workspace.engine) as connection:
                commit(connection)
                saga.save(connection, erasure)
        return _certify(workspace, erasure)
    except (WorkbenchError, OSError) as fault:
        # What is at fault may be that nothing can be written; then the requests stay as they are, resumable too
        with suppress(WorkbenchError, OSError), writing(workspace.engine) as connection:
            over = set(connection.execute(select(requests.c.id).where(requests.c.status == "completed")).scalars())
            advance(connection, set(erasure.requests) - over, "failed", reason=getattr(fault, "code", "file"))
        raise


def _drop_rows(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:
    """Rewrites each bucket file the subjects are in. What it is about to become is recorded before it changes."""
    with writing(workspace.engine) as connection:
        advance(connection, erasure.requests, "executing")
        subjects = subjects_of(connection, erasure.requests)
    for dataset, state in erasure.datasets.items():
        tokens = {subject.token for subject in subjects if subject.dataset == dataset}
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, dataset)
        for split, bucket in state.drops:
            content = store.without(split, bucket, tokens)
            digest = None if content is None else sha256(content)
            with writing(workspace.engine) as connection:
                catalog.announce_bucket(connection, dataset, split, bucket, digest)
            store.replace(split, bucket, content)
            with writing(workspace.engine) as connection:
                catalog.record_bucket(connection, dataset, split, bucket, digest)
    return erasure, lambda connection: _journal(connection, "DROPPED", erasure)


def _retrain(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Commit]:
    """Retrains the affected shards and writes each ensemble's next version, which nobody uses yet."""
    tracking = Tracking(workspace.root)
    purge_runs(tracking, run_ids=find_runs(tracking, tag=_TAG, value=erasure.id))  # of a try that was cut off
    datasets = {}
    for dataset, state in erasure.datasets.items():
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, dataset)
            live = {artifact.id: artifact for artifact in lineage.find(connection, dataset=dataset)}
        ensembles = [_successor(workspace, store, e, live, erasure.id, progress) for e in state.ensembles]
        datasets[dataset] = state.model_copy(update={"ensembles": tuple(ensembles)})
    return erasure.with_datasets(datasets), _nothing


def _successor(
    workspace: Workspace,
    store: Store,
    ensemble: EnsembleState,
    live: Mapping[str, Artifact],
    erasure_id: str,
    progress: Progress,
) -> EnsembleState:
    before = ensemble.old
    config = TrainConfig.model_validate(before.config)

    def tell(fraction: float, what: str) -> None:
        progress(0.1 + 0.6 * fraction, f"retraining {what}")

    _mend(workspace, store, config, before, ensemble.retrain)
    trained = train_shards(workspace, store, config, ensemble.retrain, before, progress=tell)
    manifest = before.successor({shard: t.constituent for shard, t in trained.items()})
    metrics = evaluate(workspace, store, manifest)
    version = write_version(
        workspace,
        Tracking(workspace.root),
        manifest,
        trained,
        metrics,
        schema=store.schema,
        train_run=live[before.id].body["train_run"],
        reused=[live[i] for i in live[before.id].derived_from if int(live[i].body["shard"]) not in trained],
        tags={_TAG: erasure_id},
        pending={shard: first for shard, first in pending_of(live[before.id]).items() if shard not in trained},
    )
    return ensemble.model_copy(
        update={
            "after": manifest.to_bytes().decode(),
            "artifacts": tuple(artifact_to_json(a) for a in version.artifacts),
            "metrics": {name: estimate.to_json() for name, estimate in metrics.items()},
        }
    )


def _mend(
    workspace: Workspace, store: Store, config: TrainConfig, manifest: Manifest, retrain: Mapping[int, int]
) -> None:
    """Restores damaged checkpoints that the next version keeps: training their slices again gives the same bytes."""
    objects = objects_of(workspace, manifest.dataset)
    for constituent in manifest.constituents:
        kept = {d for d in constituent.checkpoints[: retrain.get(constituent.shard)] if d is not None}
        if all(objects.holds(digest) for digest in kept):
            continue
        records = store.read("train", manifest.partition.interval(constituent.shard))
        for model in train_shard(records, config, shard=constituent.shard):
            if model is not None and sha256(model) in kept:
                objects.put(model)


def _publish(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:  # noqa: ARG001
    """The new versions become current and the quarantine ends, all at one moment."""

    def commit(connection: Connection) -> None:
        for dataset, state in erasure.datasets.items():
            lineage.remove(connection, [artifact["id"] for artifact in state.purge])
            for e in state.ensembles:
                record_version(
                    connection,
                    e.new,
                    [Artifact(**artifact) for artifact in e.artifacts],
                    retrained=e.retrain,
                    requests=erasure.requests,
                )
            lift(connection, dataset, erasure.requests)

    return erasure, commit


def _purge(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Commit]:
    """Removes superseded checkpoints, manifests and MLflow entries, whatever of them is still there."""
    progress(0.8, "purging")
    datasets = {}
    for dataset, state in erasure.datasets.items():
        superseded = {d for a in state.purge for d in a["body"].get("checkpoints", ()) if d is not None}
        stray = sweep(workspace, dataset)
        live = {d for e in state.ensembles for d in e.new.objects()}
        for artifact in state.purge:
            if artifact["path"] is not None:
                remove(workspace.root / artifact["path"])
        bodies = [artifact["body"] for artifact in state.purge]
        purge_runs(
            Tracking(workspace.root),
            run_ids={body["mlflow_run"] for body in bodies} | stray_runs(workspace, dataset),
            model_ids=[body["mlflow_model"] for body in bodies if body.get("mlflow_model")],
            registered=[tuple(body["registered"]) for body in bodies if "registered" in body],
        )
        datasets[dataset] = state.model_copy(update={"removed": tuple(sorted(stray | superseded - live))})
    return erasure.with_datasets(datasets), lambda connection: _journal(connection, "PURGED", erasure)


def _verify(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Commit]:
    """Reads everything again, trusting nothing that was said before; raises CheckFailedError where anything is left."""
    progress(0.9, "verifying")
    with writing(workspace.engine) as connection:
        advance(connection, erasure.requests, "verifying")
        boxes = [vault.unseal(connection, request) for request in erasure.requests]
    needles = {bytes.fromhex(needle) for box in boxes for needle in box["needles"]}
    people = [(dataset, bytes.fromhex(token), int(point)) for box in boxes for dataset, token, point in box["subjects"]]
    checks: list[Check] = []
    for dataset, state in erasure.datasets.items():
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, dataset)
        checks.append(check_rows(store, [(token, point) for name, token, point in people if name == dataset]))
        objects = objects_of(workspace, dataset)
        checks.append(check_removed(objects, state.removed))
        for e in state.ensembles:
            checks.append(check_isolation(e.old, e.new, e.retrain))
            checks.append(check_objects(objects, e.new.objects()))
    _compact(workspace)
    checks.append(check_bytes(workspace, needles, _removed(workspace, erasure)))
    failed = [check for check in checks if not check.ok]
    if failed:
        raise CheckFailedError(
            "the erasure could not be verified: " + "; ".join(f"{check.name}: {check.detail}" for check in failed),
            hint="nothing was certified; workbench resume verifies again",
        )
    return erasure.model_copy(update={"checks": tuple(check.to_json() for check in checks)}), _nothing


def _removed(workspace: Workspace, erasure: Erasure) -> set[str]:
    """Digests of checkpoints that may lie nowhere: another data set's may be the very same, and stay."""
    with workspace.engine.connect() as connection:
        live = {d for a in current_versions(connection).values() for d in read_manifest(workspace, a).objects()}
    return {digest for state in erasure.datasets.values() for digest in state.removed} - live


def _shred(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:  # noqa: ARG001
    """Destroys what the requests knew of their people; a suppression token stays where the policy says so."""

    def commit(connection: Connection) -> None:
        for request in erasure.requests:
            for identity_type, token in vault.unseal(connection, request)["suppress"]:
                row = {"token": bytes.fromhex(token), "identity_type": identity_type, "request": request}
                connection.execute(suppressions.insert().prefix_with("OR IGNORE").values(**row))
        vault.destroy(connection, erasure.requests)

    return erasure, commit


def _certify(workspace: Workspace, erasure: Erasure) -> dict[str, Result]:
    """Signs a certificate per request; each request completes in one transaction, the last one ends the erasure."""
    _compact(workspace)
    seconds = time.time() - erasure.started
    tracking = Tracking(workspace.root)
    results = {}
    tag = f"{_TAG}.certified"
    purge_runs(tracking, run_ids=find_runs(tracking, tag=tag, value=erasure.id))  # of a try that was cut off
    for dataset, state in erasure.datasets.items():
        log_run(tracking, _erasure_run(dataset, state, erasure, seconds, tag))
    with workspace.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(requests.select().where(requests.c.id.in_(erasure.requests)))}
        head = journal.head(connection)
    for request in erasure.requests:
        mine = {name: state for name, state in erasure.datasets.items() if name in rows[request].datasets}
        path = f"certificates/{request}.json"
        results[request] = _result(workspace, path, request, mine)
        if rows[request].status == "completed":  # before this try was cut off
            continue
        subject = {e.new.id: e.new.digest for state in mine.values() for e in state.ensembles}
        predicate = _predicate(workspace, rows[request], mine, erasure, head)
        write_atomic(workspace.root / path, sign(workspace.root / "keys", subject | {"journal": head}, predicate))
        with writing(workspace.engine) as connection:
            values = {"status": "completed", "completed": predicate["completed"], "certificate": path, "reason": None}
            connection.execute(requests.update().where(requests.c.id == request).values(**values))
            journal.append(connection, "CERTIFIED", request=request)
    with writing(workspace.engine) as connection:
        saga.finish(connection, erasure)
    return results


def _predicate(
    workspace: Workspace, row: Any, datasets: Mapping[str, DatasetState], erasure: Erasure, head: str
) -> dict[str, Any]:
    with workspace.engine.connect() as connection:
        bases = [_basis(connection, name, state) for name, state in datasets.items()]
        token = connection.execute(select(suppressions.c.token).where(suppressions.c.request == row.id)).first()
    return {
        "request": row.id,
        "commitment": {
            "algorithm": "SHA-256(nonce || identifier), of several: sorted, joined by line feeds",
            "value": row.commitment,
        },
        "received": row.received,
        "completed": journal.now(),
        "datasets": bases,
        "removed_checkpoints": sorted({digest for state in datasets.values() for digest in state.removed}),
        "checks": list(erasure.checks),
        "journal_head": head,
        "environment": environment(),
        "stays": [_SUPPRESSED] if token else [],
        "excluded": list(EXCLUDED),
        "notify": sorted({a["id"] for state in datasets.values() for a in state.keep if a["kind"] == "release"}),
    }


def _basis(connection: Connection, dataset: str, state: DatasetState) -> dict[str, Any]:
    """What happened in one data set and on what ground each artifact counts as free of the person."""
    schema = catalog.entry(connection, dataset).schema
    models = [
        {
            "artifact": e.new.id,
            "basis": "exact: bit-identical to training from scratch on the remaining records",
            "evidence": "verify --replay retrains and compares digests",
            "constituents_retrained": len(e.retrain),
            "constituents_reused": len(e.new.constituents) - len(e.retrain),
        }
        for e in state.ensembles
    ]
    private = [
        {
            "artifact": artifact["id"],
            "basis": "kept: differentially private",
            "epsilon": artifact["body"]["epsilon"],
            "delta": artifact["body"]["delta"],
        }
        for artifact in state.keep
    ]
    return {
        "dataset": dataset,
        "schema_sha256": schema.digest(),
        "schema_reviewed": not schema.unreviewed,
        "unreviewed_domains": list(schema.unreviewed),
        "artifacts": models + private,
        "purged": sorted(artifact["kind"] for artifact in state.purge),
    }


def _result(workspace: Workspace, path: str, request: str, datasets: Mapping[str, DatasetState]) -> Result:
    ensembles = [e for state in datasets.values() for e in state.ensembles]
    return {
        "status": "completed",
        "shards": sorted({shard for e in ensembles for shard in e.touched.get(request, ())}),
        "certificate": str(workspace.root / path),
        "ensembles": [{"ensemble": e.new.ensemble, "version": e.new.version, "metrics": e.metrics} for e in ensembles],
        "retrain_seconds": round(sum(e.seconds for e in ensembles), 3),
        "predicted_seconds": round(sum(e.predicted_seconds for e in ensembles), 3),
    }


def _erasure_run(dataset: str, state: DatasetState, erasure: Erasure, seconds: float, tag: str) -> RunRecord:
    return RunRecord(
        experiment=dataset,
        name=erasure.id,
        kind="erase",
        params={"requests": str(len(erasure.requests))},
        metrics={
            "seconds": seconds,
            "retrain_seconds": sum(e.seconds for e in state.ensembles),
            "predicted_seconds": sum(e.predicted_seconds for e in state.ensembles),
            "constituents_retrained": float(sum(len(e.retrain) for e in state.ensembles)),
        },
        tags={tag: erasure.id, "workbench.requests": " ".join(erasure.requests)[:4000]},
    )


def _compact(workspace: Workspace) -> None:
    """Rewrites the database without its free pages and empties its log; raises BusyError where a reader prevents it."""
    for _ in range(_COMPACT_TRIES):  # a reader holds the log only for a moment
        try:
            with workspace.engine.connect() as connection:
                connection.execute(text("VACUUM"))
                if not connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]:
                    break
        except OperationalError:  # locked
            pass
        time.sleep(0.2)
    else:
        raise BusyError(
            "the workspace database is read by another process, so its log can't be cut", hint="workbench resume"
        )


def _journal(connection: Connection, kind: Literal["DROPPED", "PURGED"], erasure: Erasure) -> None:
    journal.append(connection, kind, erasure=erasure.id, requests=list(erasure.requests))


def _nothing(_: Connection) -> None:
    """Nothing but the step's end is to be recorded."""


_Do = Callable[[Workspace, Erasure, Progress], tuple[Erasure, Commit]]
_STEPS: dict[saga.Step, tuple[saga.Step, _Do]] = {
    "planned": ("dropped", _drop_rows),
    "dropped": ("retrained", _retrain),
    "retrained": ("published", _publish),
    "published": ("purged", _purge),
    "purged": ("verified", _verify),
    "verified": ("shredded", _shred),
}
