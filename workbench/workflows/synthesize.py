"""Fitting a DP generator and releasing a synthetic table: charged first, then read."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench import journal, lineage
from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.store import Store
from workbench.files import file_sha256
from workbench.generators.marginals.domain import Domain
from workbench.generators.mst import FittedMst, Mst
from workbench.lineage import Artifact
from workbench.metrics.estimate import Estimate
from workbench.metrics.fidelity import mean_tvd
from workbench.metrics.utility import classification, regression
from workbench.privacy.ledger import Ledger
from workbench.progress import Progress, silent
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.sisa.task import task_of
from workbench.state import writing
from workbench.tracking import RunRecord, Tracking, estimate_metrics, log_run, purge_runs
from workbench.workflows.execute import settle
from workbench.workflows.sample import write_rows
from workbench.workspace import Workspace

_JUDGE = GradientBoosting(rounds=100, learning_rate=0.1, leaves=31, min_rows_per_leaf=20)


def synthesize(workspace: Workspace, config: SynthesizeConfig, *, progress: Progress = silent) -> dict[str, Any]:
    """Charges the ledger, fits the generator, writes a release and how good it is; raises BudgetError before reading.

    The release and generator are private with the stated epsilon. The evaluation reads real rows, so it is internal.
    """
    started = time.perf_counter()
    settle(workspace, config.dataset)
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, config.dataset).schema
    generator = Mst(epsilon=config.epsilon, delta=config.delta)
    name = f"{config.dataset}-{config.generator}-{secrets.token_hex(3)}"
    with workspace.lock(config.dataset):
        Ledger(workspace.engine).charge(
            schema.population, generator.event, dataset=config.dataset, purpose=f"fit {config.generator} as {name}"
        )
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, config.dataset)
        fitted = _fit(generator, store.read("train"), progress)
        folder = workspace.root / "generators" / name
        release = workspace.root / "releases" / f"{name}.parquet"
        runs: list[str] = []
        try:
            folder.mkdir()
            fitted.save(folder)
            rows = config.rows or max(1, round(fitted.total))
            progress(0.85, f"sampling {rows:,} rows")
            write_rows(release, Codec(schema), fitted, rows, rng=np.random.default_rng())
            progress(0.9, "evaluating")
            metrics = _evaluate(store, release)
            runs += _log(workspace, config, name, rows, metrics)
            _record(workspace, config, name, release, runs, metrics)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            release.unlink(missing_ok=True)
            purge_runs(Tracking(workspace.root), run_ids=runs)
            raise
    return {
        "generator": name,
        "release": f"{name}-release",
        "path": str(release),
        "rows": rows,
        "private": True,
        "epsilon": config.epsilon,
        "delta": config.delta,
        "metrics": {key: value.to_json() if isinstance(value, Estimate) else value for key, value in metrics.items()},
        "mlflow_run": runs[0],
        "seconds": round(time.perf_counter() - started, 3),
    }


def _fit(generator: Mst, records: Dataset, progress: Progress) -> FittedMst:
    codec = records.codec
    return generator.fit(
        codec.bin(records.values),
        Domain(codec.names, codec.sizes),
        max_rows_per_subject=records.schema.max_rows_per_subject,
        progress=lambda fraction, text: progress(0.8 * fraction, text),
    )


def _evaluate(store: Store, release: Path) -> dict[str, float | Estimate]:
    """Marginal distances to the training rows, and how well a model trained on the release does on the holdout."""
    real, holdout = store.read("train"), store.read("holdout")
    codec = real.codec
    table: pa.Table = pq.read_table(release)
    values = codec.encode(table.to_pandas()).values
    bins, synthetic = codec.bin(real.values), codec.bin(values)
    metrics: dict[str, float | Estimate] = {
        f"fidelity/tvd{way}": mean_tvd(bins, synthetic, codec.sizes, way=way) for way in (1, 2)
    }
    if store.schema.target is not None and len(holdout):
        metrics |= {f"utility/tstr_{name}": value for name, value in _train_on_synthetic(holdout, values).items()}
    return metrics


def _train_on_synthetic(holdout: Dataset, values: Values) -> dict[str, Estimate]:
    task, target = task_of(holdout.schema), holdout.target_position
    features = np.delete(values, target, axis=1)
    model = _JUDGE.fit(features, values[:, target], task=task, resume=None, rounds=_JUDGE.rounds, seed=0)
    predicted = _JUDGE.predict(model, holdout.features, task=task)
    if task.kind == "regression":
        return regression(holdout.target, predicted[:, 0], holdout.points)
    return classification(holdout.target, predicted, holdout.points)


def _log(
    workspace: Workspace, config: SynthesizeConfig, name: str, rows: int, metrics: dict[str, float | Estimate]
) -> list[str]:
    """The run of the fit, which is public, and below it the evaluation, which is not; returns both ids."""
    tracking = Tracking(workspace.root)
    fit = log_run(
        tracking,
        RunRecord(
            experiment=config.dataset,
            name=f"synthesize {name}",
            kind="synthesize",
            params={key: str(value) for key, value in config.model_dump().items()},
            metrics={"privacy/epsilon": config.epsilon, "privacy/delta": config.delta, "rows": float(rows)},
            tags={"workbench.audience": "release", "workbench.private": "true"},
        ),
    )
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        flat |= estimate_metrics(key, value) if isinstance(value, Estimate) else {key: value}
    evaluation = RunRecord(
        experiment=config.dataset,
        name=f"evaluate {name}",
        kind="evaluation",
        params={},
        metrics=flat,
        tags={},
        parent=fit,
    )
    return [fit, log_run(tracking, evaluation)]


def _record(
    workspace: Workspace,
    config: SynthesizeConfig,
    name: str,
    release: Path,
    runs: list[str],
    metrics: dict[str, float | Estimate],
) -> None:
    private = {"private": True, "epsilon": config.epsilon, "delta": config.delta, "mlflow_run": runs[0]}
    numbers = {key: value.to_json() if isinstance(value, Estimate) else value for key, value in metrics.items()}
    artifacts = (
        Artifact(
            id=name,
            kind="generator",
            dataset=config.dataset,
            derived_from=[config.dataset],
            path=f"generators/{name}",
            body=private | {"generator": config.generator},
        ),
        Artifact(
            id=f"{name}-release",
            kind="release",
            dataset=config.dataset,
            derived_from=[name],
            path=f"releases/{release.name}",
            digest=file_sha256(release),
            body=private,
        ),
        Artifact(
            id=f"{name}-evaluation",
            kind="evaluation",
            dataset=config.dataset,
            derived_from=[f"{name}-release", config.dataset],
            body={"metrics": numbers, "mlflow_run": runs[1]},
        ),
    )
    with writing(workspace.engine) as connection:
        for artifact in artifacts:
            lineage.record(connection, artifact)
        journal.append(connection, "RELEASED", release=f"{name}-release", epsilon=config.epsilon, delta=config.delta)
