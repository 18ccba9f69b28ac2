"""The migrations build the very tables that the code uses."""

import errno
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from workbench.state import create_database, database, disk_fault, open_database
from workbench.state.tables import metadata


def test_the_newest_revision_has_the_tables_of_the_code(tmp_path: Path) -> None:
    create_database(tmp_path / "state.db")
    with open_database(tmp_path / "state.db").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(("free", "code"), [(0, errno.ENOSPC), (1 << 30, errno.EIO)])
def test_a_full_disk_is_told_as_such_whatever_sqlite_calls_it(tmp_path, monkeypatch, free, code):
    monkeypatch.setattr(database.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    fault = sqlite3.OperationalError("disk I/O error")
    fault.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert disk_fault(fault, tmp_path / "state.db").errno == code
