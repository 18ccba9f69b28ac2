"""A schema as a table for a person to review, one row per column, and back. Pure; the schema's own rules judge the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.errors import InputError
from workbench.schema.column import CATEGORICAL_KINDS, NUMERIC_KINDS, Column
from workbench.schema.schema import Schema, parse_schema

Row = dict[str, Any]

BETWEEN = " .. "  # bounds are written low .. high
OR = " | "  # categories are written one | other


def rows_of(schema: Schema) -> list[Row]:
    """The columns as rows: `column`, `kind`, `role`, `domain`, `bins`, `missing` and whether a person `reviewed` them."""
    return [
        {
            "column": name,
            "kind": column.kind,
            "role": column.role,
            "domain": _domain(column),
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


def _domain(column: Column) -> str:
    if column.kind in CATEGORICAL_KINDS:
        return OR.join(column.categories or ())
    if column.bounds is None:
        return ""
    return BETWEEN.join(f"{b:g}" if isinstance(b, float) and abs(b) < 1e6 else _plain(b) for b in column.bounds)


def _plain(bound: Any) -> str:
    if isinstance(bound, float):
        return str(int(bound)) if bound.is_integer() else repr(bound)
    return str(bound.isoformat())


def _column(before: Column, row: Mapping[str, Any]) -> Row:
    kept = before.model_dump(mode="json", exclude_defaults=True)
    column = {**kept, "kind": row["kind"], "role": row["role"], "missing": bool(row["missing"])}
    column["reviewed"] = bool(row["reviewed"])
    unlike = before.kind != row["kind"]
    for name in ("categories", "other", "bounds", *(("bins", "out_of_domain") if unlike else ())):
        column.pop(name, None)
    if row["role"] in ("drop", "subject_id"):
        return column
    text = str(row["domain"] or "").strip()
    if row["kind"] in CATEGORICAL_KINDS:
        column["categories"] = [category.strip() for category in text.split(OR.strip()) if category.strip()]
        if before.other in column["categories"]:
            column["other"] = before.other
    elif row["kind"] in NUMERIC_KINDS:
        column["bounds"] = _bounds(str(row["column"]), str(row["kind"]), text)
    return column


def _bounds(name: str, kind: str, text: str) -> list[Any]:
    ends = [end.strip() for end in text.split(BETWEEN.strip())]
    try:
        if len(ends) == 2:
            return ends if kind == "datetime" else [float(end) for end in ends]
    except ValueError:
        pass
    raise InputError(f"column {name!r} needs bounds", hint="write the lowest and the highest value, such as 0 .. 100")
