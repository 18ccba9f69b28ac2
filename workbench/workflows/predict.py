"""Predicting with an ensemble's current version, leaving out every constituent under quarantine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.reader import read_chunks
from workbench.erasure.request import quarantined_points
from workbench.errors import DamagedError, InputError, NotFoundError, QuarantinedError
from workbench.files import check_output
from workbench.lineage import Artifact
from workbench.roles import allowed, internal
from workbench.schema import Codec, Schema
from workbench.schema.codec import Values
from workbench.sisa.ensemble import Manifest, aggregate, usable
from workbench.sisa.task import Task, task_of
from workbench.sisa.training import learner_of
from workbench.workflows.publish import current_versions, read_manifest
from workbench.workflows.train_shards import objects_of
from workbench.workspace import Workspace


@allowed("operate")
def predict(workspace: Workspace, ensemble: str, data: Path, out: Path) -> dict[str, Any]:
    """Writes one row of predictions per row of the table `data` to a Parquet file."""
    check_output(out, (".parquet",))
    started = time.perf_counter()
    chunks = read_chunks(data, list(features_schema(_schema(workspace, ensemble)).encoded))
    predictions = pd.concat([_predict(workspace, ensemble, chunk) for chunk in chunks], ignore_index=True)
    part = out.with_name(f".part-{out.name}")
    pq.write_table(pa.Table.from_pandas(predictions, preserve_index=False), part)
    part.replace(out)
    return {
        "ensemble": ensemble,
        "path": str(out),
        "rows": len(predictions),
        "seconds": round(time.perf_counter() - started, 3),
    }


@allowed("operate")
def predict_frame(root: Path, ensemble: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions for a frame of feature columns: `prediction`, and `probability_LABEL` per class where it may tell them.

    Raises QuarantinedError where every constituent saw a subject with an open request, InputError for rows outside the
    schema's domain.
    """
    return _predict(Workspace.open(root), ensemble, frame)


@allowed("operate")
def predict_rows(
    workspace: Workspace, ensemble: str, rows: Sequence[Mapping[str, str | float | bool | None]]
) -> list[dict[str, Any]]:
    """A record of predictions per record of features, as `predict_frame` gives them; what is no feature is not looked at.

    Raises NotFoundError, which quotes nothing, where there is no such ensemble.
    """
    try:
        schema = _schema(workspace, ensemble)
    except NotFoundError:
        raise NotFoundError("no such ensemble here") from None
    names = [name for name in features_schema(schema).encoded if any(name in row for row in rows)]
    frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, index=range(len(rows)))
    told = _predict(workspace, ensemble, frame)
    columns = [told[name].tolist() for name in told]
    return [dict(zip(told.columns, values, strict=True)) for values in zip(*columns, strict=True)]


@internal
def features_schema(schema: Schema) -> Schema:
    """The schema without its target: what a table to predict for must have."""
    columns = {name: column for name, column in schema.columns.items() if column.role not in ("target", "subject_id")}
    constraints = tuple(c for c in schema.constraints if columns.keys() >= set(c.columns))
    return schema.model_copy(update={"columns": columns, "constraints": constraints})


def _predict(workspace: Workspace, ensemble: str, frame: pd.DataFrame) -> pd.DataFrame:
    while True:
        version = _version(workspace, ensemble)
        try:
            answer = _answer(workspace, ensemble, frame)
        except DamagedError:
            if _version(workspace, ensemble) == version:
                raise
            continue  # an erasure published another version meanwhile, and purged the files of this one
        if answer is not None:
            return answer


def _answer(workspace: Workspace, ensemble: str, frame: pd.DataFrame) -> pd.DataFrame | None:
    """The predictions; None where a request was accepted meanwhile, or a version published: then they may not be returned."""
    manifest, schema, quarantined = _current(workspace, ensemble)
    vote = _vote(workspace, manifest, schema, quarantined, _encode(schema, frame))
    if _current(workspace, ensemble)[0::2] != (manifest, quarantined):
        return None
    return _told(task_of(schema), TrainConfig.model_validate(manifest.config), vote)


def _current(workspace: Workspace, ensemble: str) -> tuple[Manifest, Schema, frozenset[int]]:
    """The current version, its schema and the shards under quarantine, as they were at one moment."""
    with workspace.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        artifact = _artifact(connection, ensemble)
        schema = catalog.entry(connection, artifact.dataset).schema
        points = quarantined_points(connection, artifact.dataset)
        connection.exec_driver_sql("COMMIT")
    # no file is read in a transaction: it would hold an erasure's purge up
    manifest = read_manifest(workspace, artifact)
    return manifest, schema, frozenset(int(shard) for shard in manifest.partition.shard_of(points))


def _version(workspace: Workspace, ensemble: str) -> str:
    """What the current version is called in the lineage; its files are not read."""
    with workspace.engine.connect() as connection:
        return _artifact(connection, ensemble).id


def _schema(workspace: Workspace, ensemble: str) -> Schema:
    with workspace.engine.connect() as connection:
        return catalog.entry(connection, _artifact(connection, ensemble).dataset).schema


def _artifact(connection: Connection, ensemble: str) -> Artifact:
    artifact = current_versions(connection).get(ensemble)
    if artifact is None:
        raise NotFoundError(f"no ensemble {ensemble!r} in this workspace", hint="workbench lineage DATASET lists them")
    return artifact


def _encode(schema: Schema, frame: pd.DataFrame) -> Values:
    features = features_schema(schema)
    absent = [name for name in features.encoded if name not in frame]
    if absent:
        raise InputError(f"the table lacks the feature columns {absent}")
    values, dropped, violations, _ = Codec(features).encode(frame)
    if violations or dropped.any():
        where = "; ".join(f"column {v.column!r}: {v.rule} (rows {', '.join(map(str, v.rows[:5]))})" for v in violations)
        raise InputError(
            f"the table breaks the schema: {where or 'rows are outside the domain'}",
            hint="mend or leave out those rows",
        )
    return values


def _vote(
    workspace: Workspace, manifest: Manifest, schema: Schema, quarantined: frozenset[int], features: Values
) -> Values:
    constituents = usable(manifest, quarantined)
    if not constituents:
        raise QuarantinedError(
            f"no constituent of {manifest.ensemble} may answer: "
            + ("all are under quarantine" if quarantined else "all shards are empty"),
            hint="finish the open erasure requests" if quarantined else "train on a data set with records",
        )
    task, learner, objects = (
        task_of(schema),
        learner_of(TrainConfig.model_validate(manifest.config)),
        objects_of(workspace, manifest.dataset),
    )
    votes = [learner.predict(objects.get(str(c.digest)), features, task=task) for c in constituents]
    return aggregate(votes, manifest.aggregation)


def _told(task: Task, config: TrainConfig, vote: Values) -> pd.DataFrame:
    if task.kind == "regression":
        return pd.DataFrame({"prediction": vote[:, 0]})
    prediction = np.asarray(task.labels, dtype=object)[vote.argmax(axis=1)]
    first, *probabilities = task.answer_columns(config.answers)
    return pd.DataFrame({first: prediction, **dict(zip(probabilities, vote.T, strict=False))})
