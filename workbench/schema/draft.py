"""A schema as a table for a person to review, one row per column, and back. Pure; the schema's own rules judge the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.schema.column import Column
from workbench.schema.kinds.registry import KINDS
from workbench.schema.schema import Schema, parse_schema

Row = dict[str, Any]


def rows_of(schema: Schema) -> list[Row]:
    """The columns as rows: `column`, `kind`, `role`, `domain`, `bins`, `missing` and whether a person `reviewed` them."""
    return [
        {
            "column": name,
            "kind": column.kind,
            "role": column.role,
            "domain": column.spec.write_domain(column),
            "missing": column.missing,
            "reviewed": column.reviewed,
        }
        for name, column in schema.columns.items()
    ]


def with_rows(schema: Schema, rows: Iterable[Mapping[str, Any]], **changes: Any) -> Schema:
    """The schema with its columns as the rows say, and `changes` of its other fields; raises InputError for what is none."""
    document = {**schema.model_dump(mode="json", exclude_defaults=True), **changes}
    document["columns"] = {str(row["column"]): _column(schema.columns[str(row["column"])], row) for row in rows}
    subjects = [name for name, column in document["columns"].items() if column["role"] == "subject_id"]
    document["subject"] = subjects[0] if subjects else "row"
    return parse_schema(document, source="the table")


def _column(before: Column, row: Mapping[str, Any]) -> Row:
    kept = before.model_dump(mode="json", exclude_defaults=True)
    column = {**kept, "kind": row["kind"], "role": row["role"], "missing": bool(row["missing"])}
    column["reviewed"] = bool(row["reviewed"])
    unlike = before.kind != row["kind"]
    changed = ("bins", "out_of_domain", *before.spec.settings.model_fields) if unlike else ()
    for name in ("categories", "other", "bounds", *changed):
        column.pop(name, None)
    if row["role"] in ("drop", "subject_id") or KINDS.get(row["kind"]) is None:
        return column
    text = str(row["domain"] or "").strip()
    return column | KINDS[row["kind"]].read_domain(str(row["column"]), text, before)
