"""What a refused ingest has said of the rows: a column that is changed after it was read from the data, and is marked so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from workbench.data.ingest_table import BrokenSchemaError
from workbench.schema import Column, Schema
from workbench.state import journal, writing
from workbench.state.atomic_files import sha256
from workbench.state.roles import internal
from workbench.state.workspace import Workspace

_REFUSED = "INGEST_REFUSED"


@internal
@contextmanager
def noting_refusals(workspace: Workspace, name: str, schema: Schema) -> Iterator[None]:
    """Note in the journal which columns a refusal names, how they were declared, and the rules that speak of them."""
    try:
        yield
    except BrokenSchemaError as refusal:
        named = {part for column in refusal.columns for part in (column, *column.split(", "))} & schema.columns.keys()
        noted = {
            "columns": {column: _digest(schema.columns[column]) for column in sorted(named)},
            "rules": {column: _rules_digest(schema, column) for column in sorted(named)},
        }
        with writing(workspace.engine) as connection:
            journal.append(connection, _REFUSED, dataset=name, population=schema.population, **noted)
        raise


@internal
def informed_by_refusals(workspace: Workspace, schema: Schema) -> Schema:
    """Return the schema with `reviewed: false` at every column that was declared otherwise when rows were refused for it.

    A column is known by its name, in whichever data set it was refused: another name of the table must not hide it.
    """
    with workspace.engine.connect() as connection:
        refusals = [body for _, body in journal.entries(connection, _REFUSED)]
    changed = {
        column
        for body in refusals
        for column in body["columns"].keys() & schema.columns.keys()
        if _digest(schema.columns[column]) != body["columns"][column]
        or _rules_digest(schema, column) != body.get("rules", {}).get(column, _rules_digest(schema, column))
    }
    if not changed:
        return schema
    marked = {
        column: declared.model_copy(update={"reviewed": False}) if column in changed else declared
        for column, declared in schema.columns.items()
    }
    return schema.model_copy(update={"columns": marked})


def _digest(column: Column) -> str:
    return sha256(column.model_dump_json(exclude={"reviewed"}).encode())


def _rules_digest(schema: Schema, column: str) -> str:
    """The digest of the rules of whole rows that a column is part of: the limit of rows, the row key, constraints."""
    rules = {
        "limit": schema.max_rows_per_subject if column == schema.subject else None,
        "key": schema.row_key if column in schema.row_key else None,
        "constraints": [one.model_dump(mode="json") for one in schema.constraints if column in one.columns],
    }
    return sha256(json.dumps(rules, sort_keys=True).encode())
