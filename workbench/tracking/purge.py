"""Deletion that deletes: rows, files, free pages and the write-ahead log.

MLflow's own deletion only marks; `mlflow gc` leaves logged models, registered versions, dataset rows and the bytes in
free pages. This talks to the store's SQLite file directly: one transaction, and no import of MLflow.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.errors import BusyError, InputError
from workbench.tracking.mlflow_store import Tracking

# Tables and the column that names the run or model they describe; children before the parents they refer to.
RUN_TABLES = {
    "metrics": "run_uuid",
    "latest_metrics": "run_uuid",
    "params": "run_uuid",
    "tags": "run_uuid",
    "logged_model_metrics": "run_id",
    "assessments": "run_id",
    "issues": "source_run_id",
    "runs": "run_uuid",
}
MODEL_TABLES = {
    "logged_model_metrics": "model_id",
    "logged_model_params": "model_id",
    "logged_model_tags": "model_id",
    "logged_models": "model_id",
}
LINK_TABLES = ("inputs", "entity_associations")  # edges between ids of any kind
VERSION_TABLES = ("registered_model_aliases", "model_version_tags", "model_versions")

_ID = re.compile(r"[A-Za-z0-9_-]+")
_IN = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class PurgeReport:
    """What a purge removed; all zero where everything was gone already."""

    runs: int = 0
    models: int = 0
    versions: int = 0
    datasets: int = 0
    traces: int = 0
    rows: int = 0
    files: int = 0


@dataclass(frozen=True)
class _Doomed:
    runs: frozenset[str]
    models: frozenset[str]
    versions: frozenset[tuple[str, int]]
    datasets: frozenset[str]
    traces: frozenset[str]


def purge_runs(
    tracking: Tracking,
    *,
    run_ids: Collection[str],
    model_ids: Collection[str] = (),
    registered: Collection[tuple[str, str | int]] = (),
    timeout: float = 30.0,
) -> PurgeReport:
    """Removes these runs, logged models and registered versions, and everything in the store that belongs to them.

    - What belongs: aliases, models logged by these runs, versions registered from them, traces, datasets no other run
      used, links, artifact files. Runs nested below a purged run are not touched: the caller names them.
    - Nothing of it is left in a row, in a free page or in the write-ahead log. Raises BusyError where a lock or an open
      reader prevents that for `timeout` seconds; calling again finishes it.
    - Files go before the rows are committed: a kill in between leaves the rows, and calling again finds the rest.
    - Ids that are gone already are no error.
    """
    for name in (*run_ids, *model_ids):
        if not _ID.fullmatch(name):
            raise InputError(
                "a purge was asked for something that is not an id", hint="pass ids as MLflow returned them"
            )
    with tracking.connection(timeout=timeout) as connection:
        try:
            report = _delete(connection, tracking.artifacts, run_ids, model_ids, registered)
            connection.execute("VACUUM")
            is_cut = _cut_log(connection, timeout)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            raise _busy() from None
        if not is_cut:
            raise _busy()
    return report


def _cut_log(connection: sqlite3.Connection, timeout: float) -> bool:
    """Empties the write-ahead log. SQLite waits for readers, but not for another process that is just doing the same."""
    deadline = time.monotonic() + timeout
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _busy() -> BusyError:
    return BusyError(
        "the tracking store could not be purged: another process is using it",
        hint="close MLflow's user interface or other readers of this workspace, then resume",
    )


def _delete(
    connection: sqlite3.Connection,
    artifacts: Path,
    run_ids: Collection[str],
    model_ids: Collection[str],
    registered: Collection[tuple[str, str | int]],
) -> PurgeReport:
    """Deletes in one transaction whose write lock is taken first, so that nothing joins the doomed meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        doomed = _closure(connection, run_ids, model_ids, {(name, int(version)) for name, version in registered})
        before = connection.total_changes
        report = PurgeReport(
            versions=_delete_versions(connection, doomed.versions),
            models=_delete_ids(connection, MODEL_TABLES, doomed.models),
            traces=_delete_ids(
                connection, {"review_queue_items": "item_id", "trace_info": "request_id"}, doomed.traces
            ),
            datasets=_delete_ids(connection, {"datasets": "dataset_uuid"}, doomed.datasets),
            runs=_delete_ids(connection, RUN_TABLES, doomed.runs),
        )
        _delete_links(connection, doomed.runs | doomed.models | doomed.datasets | doomed.traces)
        rows = connection.total_changes - before
        files = _delete_files(artifacts, doomed)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return replace(report, rows=rows, files=files)


def _closure(
    connection: sqlite3.Connection,
    run_ids: Collection[str],
    model_ids: Collection[str],
    registered: Collection[tuple[str, int]],
) -> _Doomed:
    """The ids asked for, and what the store knows to belong to them."""
    runs = frozenset(run_ids)
    locations = {
        location
        for pair in registered
        for location in _texts(
            connection, "SELECT storage_location FROM model_versions WHERE (name, version) = (?, ?)", *pair
        )
    }
    models = frozenset(model_ids) | _texts(
        connection,
        f"SELECT model_id FROM logged_models WHERE source_run_id {_IN} OR artifact_location {_IN}",
        _json(runs),
        _json(locations),
    )
    versions = connection.execute(
        f"""SELECT name, version FROM model_versions WHERE run_id {_IN}
            OR storage_location IN (SELECT artifact_location FROM logged_models WHERE model_id {_IN})""",
        (_json(runs), _json(models)),
    )
    datasets = _texts(
        connection,
        f"""SELECT source_id FROM inputs WHERE source_type = 'DATASET' AND destination_id {_IN}
            EXCEPT SELECT source_id FROM inputs WHERE source_type = 'DATASET' AND destination_id NOT {_IN}""",
        *[_json(runs)] * 2,
    )
    traces = _texts(
        connection,
        f"""SELECT request_id FROM trace_request_metadata WHERE value {_IN}
            UNION SELECT source_id FROM entity_associations WHERE source_type = 'trace' AND destination_id {_IN}""",
        *[_json(runs | models)] * 2,
    )
    return _Doomed(runs, models, frozenset(registered) | frozenset(versions), datasets, traces)


def _delete_ids(connection: sqlite3.Connection, tables: dict[str, str], ids: frozenset[str]) -> int:
    """Deletes the rows of these ids; returns how many the last table lost."""
    removed = 0
    for table, column in tables.items():
        removed = connection.execute(f"DELETE FROM {table} WHERE {column} {_IN}", (_json(ids),)).rowcount
    return removed


def _delete_versions(connection: sqlite3.Connection, versions: frozenset[tuple[str, int]]) -> int:
    """Deletes versions, the aliases on them first; a registered model goes with its last version."""
    removed = 0
    for version in versions:
        for table in VERSION_TABLES:
            removed += connection.execute(f"DELETE FROM {table} WHERE (name, version) = (?, ?)", version).rowcount * (
                table == "model_versions"
            )
    emptied = _json(name for name, _ in versions)
    for table in ("registered_model_tags", "registered_models"):
        connection.execute(
            f"DELETE FROM {table} WHERE name {_IN} AND name NOT IN (SELECT name FROM model_versions)", (emptied,)
        )
    return removed


def _delete_links(connection: sqlite3.Connection, ids: frozenset[str]) -> None:
    ends = (_json(ids), _json(ids))
    edges = f"source_id {_IN} OR destination_id {_IN}"
    connection.execute(
        f"DELETE FROM input_tags WHERE input_uuid IN (SELECT input_uuid FROM inputs WHERE {edges})", ends
    )
    for table in LINK_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE {edges}", ends)


def _delete_files(artifacts: Path, doomed: _Doomed) -> int:
    """Removes what these ids keep below `artifacts`, found by id: recorded paths are stale once it moved."""
    patterns = [
        *(f"*/{run_id}" for run_id in doomed.runs),
        *(f"*/models/{model_id}" for model_id in doomed.models),
        *(f"*/traces/{trace_id}" for trace_id in doomed.traces),
    ]
    removed = 0
    for folder in (folder for pattern in patterns for folder in artifacts.glob(pattern)):
        removed += sum(path.is_file() for path in folder.rglob("*"))
        shutil.rmtree(folder)
    return removed


def _json(values: Iterable[str]) -> str:
    return json.dumps(list(values))


def _texts(connection: sqlite3.Connection, query: str, *arguments: str | int) -> frozenset[str]:
    return frozenset(text for (text,) in connection.execute(query, arguments))
