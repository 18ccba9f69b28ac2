"""Runs: what was done, with which settings and which results."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import uuid4

from workbench.tracking.mlflow_store import Tracking
from workbench.tracking.purge import purge_runs

Kind = Literal["ingest", "synthesize", "train", "shard", "version", "evaluation", "erase"]

PARENT = "mlflow.parentRunId"
KIND = "workbench.kind"
AUDIENCE = "workbench.audience"
_AT_ONCE = 1000  # metrics of a batch, at most


class Interval(Protocol):
    """What `estimate_metrics` needs of an Estimate."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run of the experiment (the data set's name). `parent` is the run it is shown under.

    Nothing here may be a raw row, an identifier or a token of a person: what is logged is there to be read.
    """

    experiment: str
    name: str
    kind: Kind
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    parent: str | None = None


def log_run(tracking: Tracking, record: RunRecord) -> str:
    """Logs a run that is over; returns its id.

    - It is FINISHED, carries its kind as a tag and is nested below its parent.
    - Metrics count as computed from personal rows (`workbench.audience=internal`) unless the tags say otherwise.
    - Where MLflow refuses a part, nothing of the run remains.
    """
    run_id = start_run(tracking, record)
    end_run(tracking, run_id, status="FINISHED")
    return run_id


def start_run(tracking: Tracking, record: RunRecord) -> str:
    """Opens a run of long work, with what is known at its start; `end_run` ends it. Same guarantees as `log_run`."""
    with tracking.session() as client:
        tags = {KIND: record.kind, **_audience(record.metrics), **record.tags}
        if record.parent is not None:
            tags[PARENT] = record.parent
        experiment = experiment_id(tracking, client, record.experiment)
        run_id = str(client.create_run(experiment, tags=tags, run_name=record.name).info.run_id)
        try:
            _log_batch(client, run_id, params=record.params, metrics=record.metrics, tags={})
        except BaseException:
            purge_runs(tracking, run_ids=[run_id])  # the caller never learns this id, so nobody could purge it later
            raise
    return run_id


def end_run(
    tracking: Tracking,
    run_id: str,
    *,
    status: Literal["FINISHED", "FAILED", "KILLED"],
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Ends an open run with its results, under the same rule for the audience of metrics as `log_run`."""
    metrics, tags = metrics or {}, tags or {}
    with tracking.session() as client:
        if metrics or tags:
            _log_batch(client, run_id, params={}, metrics=metrics, tags={**_audience(metrics), **tags})
        client.set_terminated(run_id, status)


def log_figures(tracking: Tracking, run_id: str, figures: Sequence[tuple[str, float, int]]) -> None:
    """Adds figures, each a name, a value and its step, to an open run; the run's audience is not changed by them."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    with tracking.session() as client:
        for first in range(0, len(figures), _AT_ONCE):
            metrics = [Metric(name, value, now, step) for name, value, step in figures[first : first + _AT_ONCE]]
            client.log_batch(run_id, metrics=metrics, synchronous=True)


def log_text(tracking: Tracking, run_id: str, name: str, text: str) -> None:
    """Adds a text file to a run's artifacts; as internal as the run is."""
    with tracking.session() as client:
        client.log_text(run_id, text, name)


def find_runs(tracking: Tracking, *, tag: str, value: str) -> tuple[str, ...]:
    """Ids of the runs with this tag, deleted ones included: how a restart finds runs whose id a kill kept from it."""
    with tracking.connection(timeout=10) as connection:
        rows = connection.execute(
            "SELECT run_uuid FROM tags WHERE key = ? AND value = ? ORDER BY run_uuid", (tag, value)
        )
        return tuple(run_id for (run_id,) in rows)


def runs_of(tracking: Tracking, *, experiment: str, kinds: Collection[Kind]) -> tuple[str, ...]:
    """Ids of the runs of these kinds in an experiment, deleted ones included."""
    with tracking.connection(timeout=10) as connection:
        rows = connection.execute(
            """SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
            WHERE experiments.name = ? AND tags.key = ? AND tags.value IN (SELECT value FROM json_each(?))
            ORDER BY run_uuid""",
            (experiment, KIND, json.dumps(list(kinds))),
        )
        return tuple(run_id for (run_id,) in rows)


def experiment_of(tracking: Tracking, run_id: str) -> str | None:
    """The id of the experiment that a run is in, which addresses in MLflow's pages need; None where there is no such run."""
    with tracking.connection(timeout=1) as connection:
        row = connection.execute("SELECT experiment_id FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    return str(row[0]) if row else None


def open_runs(tracking: Tracking, *, experiment: str, kinds: Collection[Kind]) -> tuple[str, ...]:
    """Ids of the runs of these kinds in an experiment that were begun and not ended; those in MLflow's bin are left out."""
    with tracking.connection(timeout=10) as connection:
        rows = connection.execute(
            """SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
            WHERE experiments.name = ? AND tags.key = ? AND tags.value IN (SELECT value FROM json_each(?))
            AND runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active' ORDER BY run_uuid""",
            (experiment, KIND, json.dumps(list(kinds))),
        )
        return tuple(run_id for (run_id,) in rows)


def estimate_metrics(name: str, estimate: Interval) -> dict[str, float]:
    """An estimate as metrics: `name`, and beside it `name_low`, `name_high` and `name_n`."""
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_n": float(estimate.n),
    }


def experiment_id(tracking: Tracking, client: Any, name: str) -> str:
    """The id of the experiment, created when it is new and taken out of MLflow's bin if it lies there."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = (tracking.artifacts / uuid4().hex).as_uri()
        try:
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another process was faster
    if not experiment.artifact_location.startswith(f"{tracking.artifacts.as_uri()}/"):
        tracking.relocate(experiment.artifact_location)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _audience(metrics: Mapping[str, float]) -> dict[str, str]:
    return {AUDIENCE: "internal"} if metrics else {}


def _log_batch(
    client: Any, run_id: str, *, params: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
        synchronous=True,
    )
