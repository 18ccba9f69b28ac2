"""Databases as SQL: the statements that make the tables and rows which a series of migrations ends with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path


def template_of(database: Path, values: Mapping[str, str] | None = None) -> str:
    """The statements that make a database again; `values` are what is written in place of a column's, by its name."""
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type != 'table', type, name"
        ).fetchall()
        return "\n\n".join([*(f"{sql};" for (sql,) in schema), *_rows(connection, values or {})]) + "\n"


def statements(template: str) -> Iterator[str]:
    """The statements of a template; a trigger holds semicolons of its own."""
    statement = ""
    for line in template.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _rows(connection: sqlite3.Connection, values: Mapping[str, str]) -> Iterator[str]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        columns = [name for _, name, *_ in connection.execute(f'PRAGMA table_info("{table}")')]
        quoted = ", ".join(f'quote("{name}")' for name in columns)
        for row in connection.execute(f'SELECT {quoted} FROM "{table}"'):
            written = ", ".join(values.get(name, value) for name, value in zip(columns, row, strict=True))
            yield f'INSERT INTO "{table}" VALUES ({written});'
