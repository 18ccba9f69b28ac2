"""Taking a table in: validated, tokenised, stored by hash range."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd

from workbench.config import CONFIGS
from workbench.data import catalog
from workbench.data.bundled import BUNDLED, BUNDLED_FILES, bundled_path
from workbench.data.files import LocalFiles
from workbench.data.ingest_table import Ingested, KeyRing, ingest_table
from workbench.data.reader import estimate_rows, read_chunks
from workbench.data.store import Split, Store
from workbench.erasure.free_text import refuse_names, refuse_table_of
from workbench.erasure.suppression import key_ring, refuse_erased_meanwhile
from workbench.errors import InputError, NotFoundError
from workbench.progress import Progress, silent, watched
from workbench.schema import Schema, read_schema
from workbench.schema.schema import ROW_SUBJECT
from workbench.state import journal, lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, internal
from workbench.state.tables import datasets
from workbench.state.workspace import Workspace, check_name
from workbench.tracking import RunRecord, Tracking, log_run, purge_runs
from workbench.workflows.datasets.append import append_rows
from workbench.workflows.datasets.refused_ingests import informed_by_refusals, noting_refusals
from workbench.workflows.datasets.results import AppendResult, IngestResult, RehearsalResult
from workbench.workflows.datasets.same_people import (
    Joined,
    Tokens,
    check_reason,
    join_people,
    name_people,
    record_people,
    refuse_names_in,
    refuse_unknown,
    tokens_of,
)
from workbench.workflows.exclusive import Exclusive, exclusive

Sources = list[tuple[Iterable[pd.DataFrame], Split | None]]


@allowed("operate")
def ingest(
    workspace: Workspace,
    name: str,
    *,
    schema: Path | None = None,
    data: Path | None = None,
    same_people: str | None = None,
    progress: Progress = silent,
) -> IngestResult:
    """Stores a bundled data set, or the table `data` under the schema file `schema`, as data set `name`.

    `same_people` is the reason for which people whom the workspace knows already are taken for the same; see
    `workflows.same_people`. Raises InputError, with nothing stored, where the name is taken, a row breaks the schema, a row is
    of a person who was erased (see `ingest_table`), or its people would get a second budget.
    Columns that were changed since their rows were refused are stored as `reviewed: false`.
    """
    check_name(name, "data set")
    check_reason(workspace, same_people)
    schema_path, data_path = _paths(name, schema, data)
    declared = read_schema(schema_path)
    if schema is not None:  # a bundled schema is as it was before any row was refused
        declared = informed_by_refusals(workspace, declared)
    started = time.perf_counter()
    with exclusive(workspace, name) as held, workspace.staging() as staging:
        joined = _refuse_taken(workspace, name, declared, confirmed=same_people is not None)
        declared = joined.schema
        for called in (name, declared.population, declared.identity_type):
            refuse_names(workspace, called, "the name of a data set, population or identity type")
        target = workspace.data_folder(name)
        shutil.rmtree(target, ignore_errors=True)  # left by an ingest that was killed before it was recorded
        ingest_id = secrets.token_hex(8)
        ring = key_ring(workspace, declared, ingest_id)
        sources = _sources(declared, data_path, schema_path.parent, progress)
        (staging / "raw").mkdir()
        with noting_refusals(workspace, name, declared):
            stored = ingest_table(name, declared, sources, ring, staging=staging / "raw", target=staging / "out")
        taken = Store(name, LocalFiles(staging / "out"), declared, stored.digests, stored.bits)
        refuse_table_of(workspace, taken, [name, declared.population, declared.identity_type])
        tokens = tokens_of(taken)
        refuse_names_in(ring, tokens, same_people)
        with workspace.engine.connect() as connection:
            joined = join_people(connection, workspace, name, joined, tokens, confirmed=same_people is not None)
            refuse_unknown(connection, name, joined, same_people)
        declared = joined.schema
        runs = _log(workspace, name, declared, stored)
        held.on_failure(partial(purge_runs, Tracking(workspace.root), run_ids=runs))
        held.on_failure(partial(shutil.rmtree, target, ignore_errors=True))
        (staging / "out").rename(target)
        tokens = tokens_of(Store(name, LocalFiles(target), declared, stored.digests, stored.bits))
        _record(held, joined, stored, ring, runs, tokens, same_people)
    return IngestResult(
        dataset=name,
        rows=stored.rows,
        subjects=stored.subjects,
        left_out=stored.left_out,
        clipped=stored.clipped,
        unreviewed=declared.unreviewed,
        mlflow_run=runs[0],
        seconds=round(time.perf_counter() - started, 3),
    )


@internal
def rehearse(
    workspace: Workspace,
    name: str,
    schema: Schema,
    data: Path,
    *,
    confirmed: bool = False,
    progress: Progress = silent,
) -> RehearsalResult:
    """What `ingest` would store of a table, in numbers; raises as it does, and keeps nothing."""
    schema = refuse_name(workspace, name, schema, confirmed=confirmed).schema
    with workspace.staging() as staging:
        ring = key_ring(workspace, schema, secrets.token_hex(8))
        (staging / "raw").mkdir()
        sources = _sources(schema, data, data.parent, progress)
        with noting_refusals(workspace, name, schema):
            stored = ingest_table(name, schema, sources, ring, staging=staging / "raw", target=staging / "out")
        tokens = tokens_of(Store(name, LocalFiles(staging / "out"), schema, stored.digests, stored.bits))
        with workspace.engine.connect() as connection:
            join_people(connection, workspace, name, Joined(schema), tokens, confirmed=confirmed)
    return RehearsalResult(rows=stored.rows, left_out=stored.left_out, clipped=stored.clipped)


@internal
def refuse_name(workspace: Workspace, name: str, schema: Schema, *, confirmed: bool = False) -> Joined:
    """Raises InputError where no data set of that name can be taken in under that schema; else the schema with its people."""
    check_name(name, "data set")
    return _refuse_taken(workspace, name, schema, confirmed=confirmed)


def _paths(name: str, schema: Path | None, data: Path | None) -> tuple[Path, Path]:
    if schema is None and data is None:
        if name not in BUNDLED:
            raise NotFoundError(
                f"{name!r} is not among the bundled data sets {sorted(BUNDLED)}",
                hint="for a table of your own: workbench ingest NAME --schema S.yaml --data FILE",
            )
        return CONFIGS / "datasets" / f"{name}.yaml", bundled_path(f"{name}.parquet")
    if schema is None or data is None:
        raise InputError(
            "a table of your own needs both --schema and --data", hint="workbench schema infer proposes a schema"
        )
    return schema, data


@allowed("operate")
def append(
    workspace: Workspace, name: str, *, data: Path, same_people: str | None = None, progress: Progress = silent
) -> AppendResult:
    """Adds the rows of the table `data` to data set `name` under its stored schema, all or nothing, also after a kill.

    Rules such as `max_rows_per_subject` hold over old and new rows together. With a holdout file the new rows are trained
    on. Raises as `append_rows` does.
    """
    started = time.perf_counter()
    check_reason(workspace, same_people)
    with workspace.engine.connect() as connection:
        entry = catalog.entry(connection, name)
    schema = entry.schema
    columns = [column for column, declared in schema.columns.items() if declared.role != "drop"]
    chunks = watched(read_chunks(data, columns), estimate_rows(data), progress)
    with exclusive(workspace, name):
        ring = key_ring(workspace, schema, entry.ingest)
        split: Split | None = "train" if schema.holdout.file is not None else None
        with noting_refusals(workspace, name, schema):
            stored, stale = append_rows(workspace, name, [(chunks, split)], ring, same_people=same_people)
    return AppendResult(
        dataset=name,
        appended_rows=stored.rows,
        new_subjects=stored.subjects,
        left_out=stored.left_out,
        clipped=stored.clipped,
        stale=tuple(stale),
        seconds=round(time.perf_counter() - started, 3),
    )


def _refuse_taken(workspace: Workspace, name: str, schema: Schema, *, confirmed: bool) -> Joined:
    with workspace.engine.connect() as connection:
        if name in catalog.names(connection):
            raise InputError(f"there already is a data set {name!r}", hint="choose another name")
        joined = name_people(connection, name, schema, confirmed=confirmed)
        for other in catalog.names(connection):
            shares_rows = catalog.entry(connection, other).schema.identity_type == joined.schema.identity_type
            if shares_rows and schema.subject == ROW_SUBJECT:
                raise InputError(
                    f"data set {other} already uses identity type {joined.schema.identity_type!r}, and row numbers mean other "
                    "people in every table",
                    hint="give each table with subject: row an identity type of its own",
                )
        return joined


def _sources(schema: Schema, data: Path, beside: Path, progress: Progress) -> Sources:
    columns = [name for name, column in schema.columns.items() if column.role != "drop"]
    if schema.holdout.file is None:
        return [(watched(read_chunks(data, columns), estimate_rows(data), progress), None)]
    local = beside / schema.holdout.file
    if not local.is_file() and schema.holdout.file not in BUNDLED_FILES:
        raise InputError(f"no holdout file at {local}", hint="holdout.file is looked up beside the schema")
    holdout = local if local.is_file() else bundled_path(schema.holdout.file)
    total = estimate_rows(data)
    return [
        (watched(read_chunks(data, columns), total, progress), "train"),
        (read_chunks(holdout, columns), "holdout"),
    ]


def _log(workspace: Workspace, name: str, schema: Schema, stored: Ingested) -> list[str]:
    """The run of the ingest, and below it the counts of rows, which an erasure purges; returns both ids."""
    counts = {f"rows/{split}": float(rows) for split, rows in stored.rows.items()}
    counts |= {f"subjects/{split}": float(subjects) for split, subjects in stored.subjects.items()}
    counts |= {f"left_out/{rule}": float(rows) for rule, rows in stored.left_out.items()}
    counts["clipped"] = float(stored.clipped)
    record = RunRecord(
        experiment=name,
        name=f"ingest {name}",
        kind="ingest",
        params={"schema": schema.digest(), "population": schema.population, "unreviewed": str(len(schema.unreviewed))},
        metrics={},
        tags={},
    )
    tracking = Tracking(workspace.root)
    run = log_run(tracking, record)
    counted = RunRecord(
        experiment=name, name=f"counts of {name}", kind="evaluation", params={}, metrics=counts, tags={}, parent=run
    )
    return [run, log_run(tracking, counted)]


def _record(
    held: Exclusive,
    joined: Joined,
    stored: Ingested,
    ring: KeyRing,
    runs: list[str],
    tokens: Tokens,
    same_people: str | None,
) -> None:
    workspace, name = held.workspace, held.dataset
    with held.publishing() as connection:
        refuse_erased_meanwhile(connection, ring)
        # once more, for what was written since
        joined = join_people(connection, workspace, name, joined, tokens, confirmed=same_people is not None)
        schema = joined.schema
        record_people(connection, name, joined, same_people)
        connection.execute(
            datasets.insert().values(
                name=name,
                population=schema.population,
                identity_type=schema.identity_type,
                schema=schema.model_dump(mode="json"),
                ingest=ring.ingest,
                mlflow_run=runs[0],
                created=journal.now(),
                policy={},
                bucket_bits=stored.bits,
            )
        )
        for (split, bucket), digest in stored.digests.items():
            catalog.record_bucket(connection, name, split, bucket, digest)
        for artifact in (
            Artifact(id=name, kind="dataset", dataset=name, derived_from=[], body={"mlflow_run": runs[0]}),
            Artifact(
                id=f"{name}-counts", kind="evaluation", dataset=name, derived_from=[name], body={"mlflow_run": runs[1]}
            ),
        ):
            lineage.record(connection, artifact)
        journal.append(connection, "INGESTED", dataset=name, schema=schema.digest())
