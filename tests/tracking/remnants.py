"""The search for what a purge should have removed, which doesn't trust the purge."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from workbench.bytescan.folders import holds
from workbench.errors import InputError
from workbench.tracking.mlflow_store import Tracking


def remnants(tracking: Tracking, needles: Collection[bytes]) -> list[str]:
    """Places, relative to the workspace, where the MLflow store still holds any of these byte strings.

    - Read are the bytes and the names of the database, its write-ahead log and every artifact file.
    - Rows are read through SQLite as well: a long value is cut at page borders, where no byte search finds it.
    - Not found is what was encoded, compressed or encrypted.
    """
    if not all(needles):
        raise InputError("an empty needle is found everywhere", hint="leave it out")
    places = [str(path.relative_to(tracking.database.parent)) for path in _files(tracking) if _holds(path, needles)]
    if tracking.database.is_file():
        places += [f"mlflow.db: table {table}" for table in _tables_holding(tracking, needles)]
    return sorted(places)


def _files(tracking: Tracking) -> Iterator[Path]:
    yield from tracking.database.parent.glob("mlflow.*")
    yield from tracking.artifacts.rglob("*")


def _holds(path: Path, needles: Collection[bytes]) -> bool:
    if path.is_dir():
        return any(needle in path.name.encode() for needle in needles)
    return holds(path, needles)


def _tables_holding(tracking: Tracking, needles: Collection[bytes]) -> Iterator[str]:
    with tracking.connection(timeout=30) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if any(_row_holds(row, needles) for row in _rows(connection, table)):
                yield table


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    connection.text_factory = bytes  # text that is not UTF-8 is searched too
    yield from connection.execute(f'SELECT * FROM "{table}"')


def _row_holds(row: tuple[object, ...], needles: Collection[bytes]) -> bool:
    return any(needle in cell for cell in row if isinstance(cell, bytes) for needle in needles)
