"""How the database of a new MLflow store is made: from a template, or by MLflow.

MLflow runs all migrations since its first release: 4 CPU seconds. A template holds the statements that make what they end
with. It ships with the workbench, is named by the release of MLflow that it is of, and names no workspace. For a release
that no template is of, MLflow makes the database.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

_FOLDER = Path(__file__).parent / "templates"
_TIMES = ("creation_time", "last_update_time")  # of MLflow's experiment "Default"


def template_path() -> Path:
    """Where the template of the installed MLflow is, if there is one."""
    return _FOLDER / f"mlflow-{version('mlflow-skinny')}.sql"


def write_template() -> Path:
    """Write the template of the installed MLflow; `make template` calls it."""
    with TemporaryDirectory() as folder:
        database, artifacts = Path(folder) / "mlflow.db", Path(folder) / "mlartifacts"
        create_by_migrations(database, artifacts)
        template_path().write_text(template_of(database, artifacts), encoding="utf-8")
    return template_path()


def create(database: Path, artifacts: Path) -> None:
    """Make the database of a new store at a path where nothing is."""
    if template_path().is_file():
        create_from_template(database, artifacts)
    else:
        create_by_migrations(database, artifacts)


def create_by_migrations(database: Path, artifacts: Path) -> None:
    """Have MLflow make the database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{database}"
    SqlAlchemyStore(uri, artifacts.as_uri())  # type: ignore[no-untyped-call]
    SqlAlchemyStore._engine_map.pop(uri).dispose()


def create_from_template(database: Path, artifacts: Path) -> None:
    """Make the database by the template of the installed MLflow, in one transaction."""
    values = {"location": _location(artifacts), "now": int(time.time() * 1000)}
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for statement in _statements(template_path().read_text(encoding="utf-8")):
            connection.execute(statement, values)
        connection.execute("COMMIT")


def template_of(database: Path, artifacts: Path) -> str:
    """The template that makes the same store as this new one, wherever and whenever it is made."""
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type != 'table', type, name"
        ).fetchall()
        rows = list(_rows(connection, _location(artifacts)))
    return "\n\n".join([*(f"{sql};" for (sql,) in schema), *rows]) + "\n"


def _rows(connection: sqlite3.Connection, location: str) -> Iterator[str]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        columns = [name for _, name, *_ in connection.execute(f'PRAGMA table_info("{table}")')]
        quoted = ", ".join(f'quote("{name}")' for name in columns)
        for row in connection.execute(f'SELECT {quoted} FROM "{table}"'):
            values = (":now" if name in _TIMES else value for name, value in zip(columns, row, strict=True))
            yield f'INSERT INTO "{table}" VALUES ({", ".join(values)});'.replace(f"'{location}'", ":location")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; a trigger holds semicolons of its own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _location(artifacts: Path) -> str:
    return f"{artifacts.as_uri()}/0"
