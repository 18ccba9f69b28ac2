"""Certifying an erasure whose every step is done: one signed certificate per request, then the erasure is over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.erasure import saga
from workbench.erasure.certificate import sign
from workbench.erasure.environment import environment
from workbench.erasure.plan import HANDED_OUT
from workbench.erasure.saga import DatasetState, EnsembleState, Erasure
from workbench.metrics.estimate import Estimate
from workbench.state import compact, journal, writing
from workbench.state.atomic_files import write_atomic
from workbench.state.roles import internal
from workbench.state.tables import requests, suppressions
from workbench.state.workspace import Workspace
from workbench.tracking import RunRecord, Tracking, find_runs, log_run, purge_runs
from workbench.workflows.erasure.results import ErasedRequest, RetrainedEnsemble

EXCLUDED = (
    "copies outside the workspace: backups, exports and releases already handed out",
    "disk blocks that the file system has freed but not overwritten",
    "what the reviewed public schema says: it was declared, not learnt",
)
_SUPPRESSED = "a keyed token of the person, by which they are refused should their rows be brought in again"

_TAG = "workbench.erasure.certified"

Json = Mapping[str, Any]  # of a statement, which is signed as it is, or of an artifact as the erasure's state keeps it


@internal
def certify(workspace: Workspace, erasure: Erasure) -> dict[str, ErasedRequest]:
    """Signs a certificate per request; each request completes in one transaction, the last one ends the erasure."""
    compact(workspace.engine)
    seconds = max(0.0, time.time() - erasure.started)  # the clock may have been set back
    tracking = Tracking(workspace.root)
    results = {}
    purge_runs(tracking, run_ids=find_runs(tracking, tag=_TAG, value=erasure.id))  # of a try that was cut off
    with tracking.held():
        for dataset, state in erasure.datasets.items():
            log_run(tracking, _erasure_run(dataset, state, erasure, seconds))
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
) -> Json:
    with workspace.engine.connect() as connection:
        bases = [_basis(connection, row.id, name, state) for name, state in datasets.items()]
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
        **({"scan": scan} if (scan := erasure.scans.get(row.id)) else {}),
        "journal_head": head,
        "environment": environment(),
        "stays": [_SUPPRESSED] if token else [],
        "excluded": list(EXCLUDED),
        "notify": sorted({a["id"] for state in datasets.values() for a in _handed_out(state)}),
        # people, for two requests of one would tell each party of the other
        "requests_together": erasure.people or len(erasure.requests),
    }


def _basis(connection: Connection, request: str, dataset: str, state: DatasetState) -> Json:
    """What happened in one data set and on what ground each artifact counts as free of the person."""
    schema = catalog.entry(connection, dataset).schema
    return {
        "dataset": dataset,
        "schema_sha256": schema.digest(),
        "schema_reviewed": not schema.unreviewed,
        "unreviewed_domains": list(schema.unreviewed),
        "artifacts": [*(_model(e, request) for e in state.ensembles), *map(_kept, state.keep), *_replaced(state)],
        "purged": sorted(artifact["kind"] for artifact in state.purge),
    }


def _model(ensemble: EnsembleState, request: str) -> Json:
    """On what ground a version counts as free of the person, and what shows it.

    `constituents_retrained` counts for all requests of the erasure, `constituents_of_person` for this one.
    """
    config, retrained = stored_config(ensemble.new.config, TrainConfig), set(ensemble.retrain)
    told: dict[str, Any] = {
        "artifact": ensemble.new.id,
        "basis": "exact: bit-identical to training from scratch on the remaining records",
        "evidence": "verify --replay retrains and compares digests",
        "constituents_retrained": len(retrained),
        "constituents_reused": len(ensemble.new.constituents) - len(retrained),
        "constituents_of_person": len(ensemble.touched.get(request, ())),
    }
    if config.informed_by:
        told["settings"] = "informed: chosen by measuring on the records, the person's among them perhaps, and kept"
    if config.private:
        silent = sum(c.digest is None for c in ensemble.new.constituents if c.shard in retrained)
        told |= {
            "basis": "trained anew on the remaining records; differentially private",
            "evidence": "lineage: noise is drawn anew and kept nowhere, so no training can be replayed",
            "constituents_retrained": len(retrained) - silent,
            "constituents_abstaining": silent,
            "epsilon": config.epsilon,
            "delta": config.delta,
        }
    return told


def _kept(artifact: Json) -> Json:
    """On what ground a generator, release or export was kept."""
    if artifact["body"]["private"]:
        basis = "kept: differentially private" + (", outside" if artifact["kind"] == "export" else "")
        return {"artifact": artifact["id"], "basis": basis, **_budget(artifact)}
    outside = artifact["kind"] == "export"
    basis = (
        "outside: not private, whoever has it is to be notified"
        if outside
        else "kept: no row of the person was read for it"
    )
    return {"artifact": artifact["id"], "basis": basis}


def _budget(artifact: Json) -> Mapping[str, float]:
    body = artifact["body"]
    return {"epsilon": body["epsilon"], "delta": body["delta"]} if body["private"] else {}


def _handed_out(state: DatasetState) -> Iterator[Json]:
    """Releases and exports that somebody may have, whether they were kept or not."""
    return (a for a in (*state.keep, *state.purge) if a["kind"] in HANDED_OUT)


def _replaced(state: DatasetState) -> Sequence[Json]:
    """What became of the generators that were not kept."""
    told: list[Json] = []
    again = {g.old: g for g in state.remeasure}
    for artifact in state.purge:
        if artifact["kind"] != "generator":
            continue
        made = again[artifact["id"]].artifacts if artifact["id"] in again else ()
        if not made:
            told.append({"artifact": artifact["id"], "basis": "retired"})
        told += [
            {
                "artifact": new["id"],
                "basis": "re-measured on the remaining records, charged"
                if new["body"]["private"]
                else "fitted again on the remaining records; not private",
                **_budget(new),
            }
            for new in made
            if new["kind"] != "evaluation"
        ]
    return told


def _result(workspace: Workspace, path: str, request: str, datasets: Mapping[str, DatasetState]) -> ErasedRequest:
    ensembles = [e for state in datasets.values() for e in state.ensembles]
    return ErasedRequest(
        request=request,
        shards=tuple(sorted({shard for e in ensembles for shard in e.touched.get(request, ())})),
        certificate=str(workspace.root / path),
        ensembles=tuple(map(_retrained, ensembles)),
        retrain_seconds=round(sum(e.seconds for e in ensembles), 3),
        predicted_seconds=round(sum(e.predicted_seconds for e in ensembles), 3),
    )


def _retrained(state: EnsembleState) -> RetrainedEnsemble:
    metrics = {name: Estimate(**estimate) for name, estimate in state.metrics.items()}  # type: ignore[arg-type]
    return RetrainedEnsemble(ensemble=state.new.ensemble, version=state.new.version, metrics=metrics)


def _erasure_run(dataset: str, state: DatasetState, erasure: Erasure, seconds: float) -> RunRecord:
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
        tags={_TAG: erasure.id, "workbench.requests": " ".join(erasure.requests)[:4000]},
    )
