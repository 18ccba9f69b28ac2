"""Predicting with an ensemble's current version, leaving out every constituent under quarantine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.data.reader import read_chunks
from workbench.erasure.request import quarantined_points, quarantined_shards
from workbench.errors import BusyError, DamagedError, InputError, NotFoundError, QuarantinedError
from workbench.schema import Codec, Schema
from workbench.schema.codec import Values
from workbench.sisa.ensemble import Constituent, Manifest, aggregate, constituent_id, usable
from workbench.sisa.task import Task, task_of
from workbench.sisa.training import learner_of
from workbench.state import reading
from workbench.state.atomic_files import check_output
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.outputs import Judge, judge_now, output
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.results import PredictedRows, PredictResult
from workbench.workflows.training.train_shards import objects_of

Made = TypeVar("Made")


@allowed("operate")
def predict(workspace: Workspace, ensemble: str, data: Path, out: Path) -> PredictResult:
    """Writes one row of predictions per row of the table `data` to a Parquet file, in chunks.

    All of them are by the same constituents. The file is judged as a whole in the moment that it appears: where one of these
    was quarantined or superseded since, all is predicted again without it.
    """
    check_output(out, (".parquet",))
    started = time.perf_counter()
    with output(workspace, out) as result:
        rows = judged(workspace, ensemble, lambda voters: voters.predict_table(data, result.staged), result.place)
    return PredictResult(ensemble=ensemble, path=out, rows=rows, seconds=round(time.perf_counter() - started, 3))


@allowed("operate")
def predict_frame(root: Path, ensemble: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions for a frame of feature columns: `prediction`, and `probability_LABEL` per class where it may tell them.

    Raises QuarantinedError where every constituent saw a subject with an open request, InputError for rows outside the
    schema's domain.
    """
    return judged(Workspace.open(root), ensemble, lambda voters: voters.predict(frame))


@allowed("operate")
def predict_rows(
    workspace: Workspace, ensemble: str, rows: Sequence[Mapping[str, str | float | bool | None]]
) -> PredictedRows:
    """A record of predictions per record of features, as `predict_frame` gives them; what is no feature is not looked at.

    Raises NotFoundError, which quotes nothing, where there is no such ensemble.
    """
    return predict_rows_as(workspace, ensemble, rows, lambda predicted: predicted)


@allowed("operate")
def predict_rows_as(
    workspace: Workspace,
    ensemble: str,
    rows: Sequence[Mapping[str, str | float | bool | None]],
    write: Callable[[PredictedRows], Made],
) -> Made:
    """What `write` makes of what `predict_rows` returns, judged once it is made."""

    def make(voters: Voters) -> Made:
        names = [name for name in features_schema(voters.schema).encoded if any(name in row for row in rows)]
        cells = {name: _cells([row.get(name) for row in rows]) for name in names}
        frame = pd.DataFrame(cells, index=range(len(rows)))
        predictions = voters.predict(frame)
        columns = [predictions[name].tolist() for name in predictions]
        records = (dict(zip(predictions.columns, values, strict=True)) for values in zip(*columns, strict=True))
        return write(PredictedRows(ensemble=ensemble, predictions=tuple(records)))

    try:
        return judged(workspace, ensemble, make)
    except NotFoundError:
        raise NotFoundError("no such ensemble here") from None


def _cells(cells: list[str | float | bool | None]) -> pd.Series:
    try:
        return pd.Series(cells)
    except OverflowError:  # a whole number beyond all floats, which the codec refuses as any other
        return pd.Series(cells, dtype=object)


@internal
def features_schema(schema: Schema) -> Schema:
    """The schema without its target: what a table to predict for must have."""
    columns = {name: column for name, column in schema.columns.items() if column.role not in ("target", "subject_id")}
    constraints = tuple(c for c in schema.constraints if columns.keys() >= set(c.columns))
    return schema.model_copy(update={"columns": columns, "constraints": constraints})


class OutdatedError(BusyError):
    """A constituent that predicted was quarantined or superseded since: what it predicted may not be seen."""


def _outdated() -> OutdatedError:
    return OutdatedError("a model that predicted this may not be used any more", hint="predict again")


@dataclass(frozen=True)
class Voters:
    """The constituents of an ensemble's version that may predict, as they were at one moment."""

    workspace: Workspace
    schema: Schema
    manifest: Manifest
    constituents: tuple[Constituent, ...]

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One row of predictions per row of features; raises InputError for rows outside the schema's domain."""
        features, task = _encode(self.schema, frame), task_of(self.schema)
        config = stored_config(self.manifest.config, TrainConfig)
        learner, objects = learner_of(config), objects_of(self.workspace, self.manifest.dataset)
        votes = [learner.predict(objects.get(str(c.digest)), features, task=task) for c in self.constituents]
        return _told(task, config, aggregate(votes, self.manifest.aggregation))

    def predict_table(self, data: Path, staged: Path) -> int:
        """Write one row of predictions per row of a table to a Parquet file, in chunks; return their number.

        Raises OutdatedError as soon as they may not be seen.
        """
        rows, writer = 0, None
        with ExitStack() as opened:
            for chunk in read_chunks(data, list(features_schema(self.schema).encoded)):
                predictions = self.predict(chunk)
                table = pa.Table.from_pandas(predictions, schema=writer and writer.schema, preserve_index=False)
                writer = writer or opened.enter_context(pq.ParquetWriter(staged, table.schema))
                writer.write_table(table)
                rows += len(predictions)
                judge_now(self.workspace, self.judge)
        return rows

    def judge(self, connection: Connection) -> None:
        """Raise OutdatedError where one of them is under quarantine, or is none of the current version's."""
        current = _artifact(connection, self.manifest.ensemble)
        quarantined = quarantined_shards(connection, self.manifest.dataset, self.manifest.partition)
        used = {constituent_id(self.manifest.ensemble, c) for c in self.constituents}
        if not used.issubset(current.derived_from) or any(c.shard in quarantined for c in self.constituents):
            raise _outdated()


@internal
def judged(
    workspace: Workspace,
    ensemble: str,
    make: Callable[[Voters], Made],
    finish: Callable[[Judge], None] | None = None,
) -> Made:
    """Return what `make` computes, judged as a whole in the last moment; computed again where it is outdated by then.

    `finish` has it judged; without, nothing but the return comes after the judgement.
    """
    while True:
        try:
            voters = _voters(workspace, ensemble)
            try:
                made = make(voters)
            except DamagedError:
                judge_now(
                    workspace, voters.judge
                )  # an erasure that published another version purged the files of this one
                raise
            if finish is None:
                judge_now(workspace, voters.judge)
            else:
                finish(voters.judge)
            return made
        except OutdatedError:
            continue


def _voters(workspace: Workspace, ensemble: str) -> Voters:
    """The constituents that may predict now; raises QuarantinedError where there is none."""
    with reading(workspace.engine) as connection:
        artifact = _artifact(connection, ensemble)
        schema = catalog.entry(connection, artifact.dataset).schema
        points = quarantined_points(connection, artifact.dataset)
    # no file is read in a transaction: it would hold an erasure's purge up
    try:
        manifest = read_manifest(workspace, artifact)
    except DamagedError:
        with reading(workspace.engine) as connection:
            if _artifact(connection, ensemble).id == artifact.id:
                raise
        raise _outdated() from None
    quarantined = {int(shard) for shard in manifest.partition.shard_of(points)}
    constituents = usable(manifest, quarantined)
    if not constituents:
        raise QuarantinedError(
            f"no constituent of {manifest.ensemble} may answer: "
            + ("all are under quarantine" if quarantined else "all shards are empty"),
            hint="finish the open erasure requests" if quarantined else "train on a data set with records",
        )
    return Voters(workspace, schema, manifest, constituents)


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


def _told(task: Task, config: TrainConfig, vote: Values) -> pd.DataFrame:
    if task.kind == "regression":
        return pd.DataFrame({"prediction": vote[:, 0]})
    prediction = np.asarray(task.labels, dtype=object)[vote.argmax(axis=1)]
    first, *probabilities = task.answer_columns(config.answers)
    return pd.DataFrame({first: prediction, **dict(zip(probabilities, vote.T, strict=False))})
