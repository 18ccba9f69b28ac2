"""What a refused ingest has said of the rows: a column that is changed after it was read from the data, and is marked so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workbench import journal
from workbench.data.ingest import BrokenSchemaError
from workbench.files import sha256
from workbench.roles import internal
from workbench.schema import Column, Schema
from workbench.state import writing
from workbench.workspace import Workspace

_REFUSED = "INGEST_REFUSED"


@internal
@contextmanager
def noting_refusals(workspace: Workspace, name: str, schema: Schema) -> Iterator[None]:
    """Note in the journal which columns a refusal names, and how they were declared."""
    try:
        yield
    except BrokenSchemaError as refusal:
        declared = {c: _digest(schema.columns[c]) for c in refusal.columns if c in schema.columns}
        with writing(workspace.engine) as connection:
            journal.append(connection, _REFUSED, dataset=name, population=schema.population, columns=declared)
        raise


@internal
def informed_by_refusals(workspace: Workspace, name: str, schema: Schema) -> Schema:
    """Return the schema with `reviewed: false` at every column that was declared otherwise when its rows were refused."""
    with workspace.engine.connect() as connection:
        refusals = [body for _, body in journal.entries(connection, _REFUSED)]
    changed = {
        column
        for body in refusals
        if name == body["dataset"] or schema.population == body["population"]
        for column, digest in body["columns"].items()
        if column in schema.columns and _digest(schema.columns[column]) != digest
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
