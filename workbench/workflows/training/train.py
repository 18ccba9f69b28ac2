"""Training a SISA ensemble and publishing its first version."""

from __future__ import annotations

import secrets
import time

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.store import Store
from workbench.erasure.free_text import refuse_names
from workbench.errors import InputError
from workbench.jobs.worker import as_job
from workbench.progress import Progress, silent
from workbench.sisa.ensemble import Manifest
from workbench.sisa.task import task_of
from workbench.sisa.training import partition_of, refuse_unsuited, train_shard
from workbench.state.atomic_files import sha256
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.tracking import RunRecord, Tracking, end_run, purge_runs, start_run
from workbench.workflows.exclusive import Exclusive, exclusive
from workbench.workflows.training.charge_shards import charge_shards
from workbench.workflows.training.publish_version import (
    Version,
    evaluate,
    manifest_path,
    record_version,
    sweep,
    write_version,
)
from workbench.workflows.training.results import TrainedShard, TrainResult
from workbench.workflows.training.train_shards import Trained, train_shards

_NOTHING = "nothing that read its rows is published"
_NOTE = (
    "Metrics and the registered model are those of the version below; each erasure puts the next version in its place."
)


@allowed("operate")
def train(workspace: Workspace, config: TrainConfig, *, progress: Progress = silent) -> TrainResult:
    """Trains every shard slice by slice, publishes version 1 and evaluates it on the holdout, as a job.

    A private learner's training is charged before a row is read: BudgetError where that is refused. Raises InputError where
    there are more shards than subjects, BusyError where a subject asked to be erased meanwhile; then nothing of the training
    is left but a charge.
    """
    return as_job(
        workspace.engine,
        "train",
        config.model_dump(mode="json"),
        lambda tell: _trained(workspace, config, tell),
        progress,
    )


def _trained(workspace: Workspace, config: TrainConfig, progress: Progress) -> TrainResult:
    started = time.perf_counter()
    refuse_words(workspace, config)
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, config.dataset).schema
    refuse_unsuited(config, task_of(schema))
    ensemble = f"{config.dataset}-{config.learner.replace('_', '-')}-{secrets.token_hex(3)}"
    with exclusive(workspace, config.dataset, refused=_NOTHING) as held:
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, config.dataset)
        sweep(workspace, config.dataset)  # what a killed training left
        _refuse_too_many_shards(store, config)
        charge_shards(workspace, schema, config, range(config.shards), purpose=f"train {ensemble}")
        runs: list[str] = []
        held.on_failure(lambda: _withdraw(workspace, config.dataset, ensemble, runs))
        trained = train_shards(workspace, store, config, dict.fromkeys(range(config.shards), 0), progress=progress)
        _require_deterministic(store, config, trained)
        manifest = Manifest(
            ensemble=ensemble,
            version=1,
            dataset=config.dataset,
            config=config.model_dump(mode="json"),
            schema=schema.digest(),
            constituents=tuple(trained[shard].constituent for shard in range(config.shards)),
            aggregation=config.aggregation,
        )
        version = _publish(held, store, manifest, trained, runs, progress)
    seconds = round(time.perf_counter() - started, 3)
    return TrainResult(
        ensemble=ensemble,
        version=1,
        constituents=tuple(TrainedShard(shard=c.shard, digest=c.digest) for c in manifest.constituents),
        metrics=version.metrics,
        mlflow_run=runs[0],
        training_seconds=round(sum(sum(t.seconds) for t in trained.values()), 3),
        seconds=seconds,
    )


@internal
def refuse_words(workspace: Workspace, config: TrainConfig) -> None:
    """Raises NamingError where a config that manifests and MLflow will keep names somebody who is in the data."""
    for text in (config.informed_by or "", *config.spec.settings.of(config).texts):
        refuse_names(workspace, text, "the training config")


def _publish(
    held: Exclusive,
    store: Store,
    manifest: Manifest,
    trained: dict[int, Trained],
    runs: list[str],
    progress: Progress,
) -> Version:
    """Evaluates, logs and records the version; every MLflow run it makes is added to `runs` as soon as it exists."""
    workspace = held.workspace
    tracking = Tracking(workspace.root)
    progress(0.95, "evaluating")
    metrics = evaluate(workspace, store, manifest)
    record = RunRecord(
        experiment=manifest.dataset,
        name=f"train {manifest.ensemble}",
        kind="train",
        params={key: str(value) for key, value in manifest.config.items()},
        metrics={},
        tags={"workbench.ensemble": manifest.ensemble, "mlflow.note.content": _NOTE},
    )
    runs.append(start_run(tracking, record))
    version = write_version(workspace, tracking, manifest, trained, metrics, schema=store.schema, train_run=runs[0])
    runs.extend(version.runs)
    end_run(tracking, runs[0], status="FINISHED")
    with held.publishing() as connection:
        record_version(connection, version.manifest, version.artifacts, retrained=trained, requests=())
    return version


def _refuse_too_many_shards(store: Store, config: TrainConfig) -> None:
    if config.private:  # how many there are is private; the config compares with a declared number
        return
    if not store.has_subjects("train", config.shards):
        raise InputError(
            f"asked for {config.shards} shards, but data set {config.dataset} has fewer subjects to train on",
            hint="lower shards",
        )


def _require_deterministic(store: Store, config: TrainConfig, trained: dict[int, Trained]) -> None:
    """Trains a shard once more where the learner is another library's: without the same bytes, no erasure can be proved."""
    constituents = [t.constituent for t in trained.values() if t.constituent.digest]
    if not config.spec.doubted or not constituents:
        return
    shard, checkpoints = constituents[0].shard, constituents[0].checkpoints
    records = store.read("train", partition_of(config).interval(shard))
    again = tuple(None if model is None else sha256(model) for model in train_shard(records, config, shard=shard))
    if again != checkpoints:
        raise InputError(
            f"{config.learner} gave two models when it was trained twice on the same records: no erasure from it can be exact",
            hint="choose another estimator or other parameters",
        )


def _withdraw(workspace: Workspace, dataset: str, ensemble: str, runs: list[str]) -> None:
    """Removes what a training that was not published has written."""
    sweep(workspace, dataset)
    (workspace.root / manifest_path(ensemble, 1)).unlink(missing_ok=True)
    purge_runs(Tracking(workspace.root), run_ids=runs)
