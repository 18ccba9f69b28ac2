"""The migrations build the very tables that the code uses, also out of an older workspace, and wholly or not at all."""

import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import alembic.op
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import Answer
from killing import Killed
from sqlalchemy import text

from workbench.errors import InputError
from workbench.state import HEAD, create_database, database, disk_fault, open_database
from workbench.state.tables import metadata
from workbench.workspace import Workspace


def compared(path: Path) -> Any:
    with open_database(path).connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)


@pytest.fixture
def first_revision(workspace: Workspace) -> Workspace:
    """A workspace as revision 0001 left it, with a request."""
    with workspace.engine.connect() as connection:
        connection.execute(text("ALTER TABLE requests DROP COLUMN not_before"))
        connection.execute(text("ALTER TABLE jobs DROP COLUMN detail"))
        for table in ("tokens", "answers", "callbacks"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(
            text(
                "INSERT INTO requests (id, status, identity_type, commitment, received, datasets, due, actor, approval) "
                "VALUES ('er-1', 'quarantined', 'x', 'c', '2026-01-01T00:00:00+00:00', '[]', '2026', 'local:me', 'none')"
            )
        )
    return Workspace(workspace.root)


def test_the_newest_revision_has_the_tables_of_the_code(tmp_path: Path) -> None:
    create_database(tmp_path / "state.db")
    assert compared(tmp_path / "state.db") == []


def test_an_older_workspace_is_upgraded_by_init_and_keeps_its_requests(
    first_revision: Workspace, command: Callable[..., Answer]
) -> None:
    with pytest.raises(InputError, match=f"revision 0001, this workbench knows {HEAD}") as refused:
        Workspace.open(first_revision.root)
    assert "workbench init" in refused.value.hint
    assert command("--workspace", first_revision.root, "init").code == 0
    assert compared(first_revision.root / "state.db") == []
    listed = command("--workspace", first_revision.root, "requests", "list", "--json").json["requests"]
    assert [(r["request"], r["not_before"]) for r in listed] == [("er-1", None)]


def test_an_upgrade_that_is_killed_leaves_the_older_revision(
    first_revision: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = alembic.op.add_column

    def killed(*arguments: Any) -> None:
        add(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(alembic.op, "add_column", killed)
        with pytest.raises(Killed):
            create_database(first_revision.root / "state.db")
    create_database(first_revision.root / "state.db")
    assert compared(first_revision.root / "state.db") == []


@pytest.mark.parametrize(("free", "code"), [(0, errno.ENOSPC), (1 << 30, errno.EIO)])
def test_a_full_disk_is_told_as_such_whatever_sqlite_calls_it(tmp_path, monkeypatch, free, code):
    monkeypatch.setattr(database.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    fault = sqlite3.OperationalError("disk I/O error")
    fault.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert disk_fault(fault, tmp_path / "state.db").errno == code
