"""The migrations build the very tables that the code uses, also out of an older workspace, and wholly or not at all."""

import errno
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import alembic.op
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import Answer
from killing import Killed
from older import make_older
from sqlalchemy import select

from workbench.errors import BusyError, ForbiddenError, InputError, LockedError, NotFoundError
from workbench.state import HEAD, create_database, database, disk_fault, open_database, upgrading
from workbench.state.roles import Person, acting
from workbench.state.tables import artifacts, journal, metadata
from workbench.state.workspace import Workspace
from workbench.workflows.operations.migrate import migrate


def compared(path: Path) -> Any:
    with open_database(path).connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)


@pytest.fixture
def first_revision(workspace: Workspace) -> Workspace:
    """A workspace as revision 0001 left it, with a request."""
    path = workspace.root / "state.db"
    path.unlink()
    make_older(path, "0001")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO requests (id, status, identity_type, commitment, received, datasets, due, actor, approval) "
            "VALUES ('er-1', 'quarantined', 'x', 'c', '2026-01-01T00:00:00+00:00', '[]', '2026', 'local:me', 'none')"
        )
    return Workspace(workspace.root)


def revision_of(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_the_newest_revision_has_the_tables_of_the_code(tmp_path: Path) -> None:
    create_database(tmp_path / "state.db")
    assert compared(tmp_path / "state.db") == []


def test_an_older_workspace_is_upgraded_by_migrate_and_keeps_its_requests(
    first_revision: Workspace, command: Callable[..., Answer]
) -> None:
    home = ("--workspace", first_revision.root)
    answer = command(*home, "migrate", "--json")
    assert (answer.code, answer.json["database"]) == (0, {"before": "0001", "after": HEAD})
    assert answer.json["changed"] is True
    assert compared(first_revision.root / "state.db") == []
    listed = command(*home, "requests", "list", "--json").json["requests"]
    assert [(r["request"], r["not_before"]) for r in listed] == [("er-1", None)]
    with first_revision.engine.connect() as connection:
        entry = connection.execute(select(journal.c.kind, journal.c.body)).one()
    assert tuple(entry) == ("MIGRATED", {"before": "0001", "after": HEAD})

    again = command(*home, "migrate", "--json").json
    assert (again["changed"], again["database"]["before"]) == (False, HEAD)
    assert again["tracking"]["before"] == again["tracking"]["after"]
    with first_revision.engine.connect() as connection:
        assert len(connection.execute(select(journal.c.kind)).all()) == 1, "what changes nothing is not noted"


def test_what_a_fit_took_leaves_the_lineage_of_generators(tmp_path: Path) -> None:
    """It is a function of the rows without noise, and lineage leaves the workspace with releases."""
    path = tmp_path / "state.db"
    make_older(path, "0009")
    kept = {"private": True, "epsilon": 1.0, "rows": 40, "config": {"dataset": "d", "seconds": "a name"}}
    cost = {"seconds": 1.25, "peak_mb": 400}
    rows = [
        ("g", "generator", kept | cost),
        ("e", "evaluation", {"cost": cost}),
        ("c", "constituent", {"seconds": [1.0]}),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO artifacts (id, kind, dataset, derived_from, body, created) VALUES (?, ?, 'd', '[]', ?, '')",
            [(name, kind, json.dumps(body)) for name, kind, body in rows],
        )
    create_database(path)
    with open_database(path).connect() as connection:
        bodies = dict(connection.execute(select(artifacts.c.id, artifacts.c.body)).tuples().all())
    assert bodies == {"g": kept, "e": {"cost": cost}, "c": {"seconds": [1.0]}}


@pytest.mark.parametrize("words", [("init",), ("requests", "list"), ("ui", "--no-browser")])
def test_nothing_else_upgrades_an_older_workspace(
    first_revision: Workspace, command: Callable[..., Answer], words: tuple[str, ...]
) -> None:
    answer = command("--workspace", first_revision.root, *words)
    assert answer.code == 2
    assert f"revision 0001, this workbench knows {HEAD}" in answer.err
    assert "workbench migrate" in answer.err
    assert revision_of(first_revision.root / "state.db") == "0001"


def test_a_kill_or_a_failure_leaves_the_older_revision_readable(
    first_revision: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = first_revision.root / "state.db"
    add = alembic.op.add_column

    def killed(*arguments: Any) -> None:
        add(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(alembic.op, "add_column", killed)
        with pytest.raises(Killed):
            migrate(first_revision.root)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM requests").fetchall() == [("er-1",)]
        assert "not_before" not in [row[1] for row in connection.execute("PRAGMA table_info(requests)")]
    assert revision_of(path) == "0001"
    assert migrate(first_revision.root).changed is True
    assert compared(path) == []


def test_while_another_writes_nothing_is_upgraded(first_revision: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = first_revision.root / "state.db"
    with first_revision.lock("a.b"), pytest.raises(LockedError, match=r"data set a\.b"):
        migrate(first_revision.root)
    monkeypatch.setattr(database, "_PATIENCE_MS", 50)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked"):
            migrate(first_revision.root)
    assert revision_of(path) == "0001"


def test_no_other_writer_comes_in_while_it_upgrades(first_revision: Workspace) -> None:
    path = first_revision.root / "state.db"
    with upgrading(path), closing(sqlite3.connect(path, timeout=0)) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM requests")
        assert other.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_a_newer_or_damaged_workspace_a_folder_and_a_role_that_may_not_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    with acting(Person(actor="oidc:1", role="operator")), pytest.raises(ForbiddenError):
        migrate(workspace.root)
    with closing(sqlite3.connect(workspace.root / "state.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="revision 9999") as refused:
        migrate(workspace.root)
    assert "newer" in refused.value.hint
    (workspace.root / "state.db").write_bytes(b"garbage" * 999)
    with pytest.raises(InputError, match="cannot be read"):
        migrate(workspace.root)
    (tmp_path / "plain").mkdir()
    for nothing in (tmp_path / "plain", tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match="not a workspace"):
            migrate(nothing)
    assert list((tmp_path / "plain").iterdir()) == []


def test_a_database_of_somebody_else_stays_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.root / "state.db"
    for file in workspace.root.glob("state.db*"):
        file.unlink()
    (tmp_path / "foreign").mkdir()
    for database_ in (path, tmp_path / "foreign" / "state.db"):
        with closing(sqlite3.connect(database_)) as connection, connection:
            connection.execute("CREATE TABLE mine (x)")
        with pytest.raises(InputError):
            migrate(database_.parent)
        with closing(sqlite3.connect(database_)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    assert [file.name for file in (tmp_path / "foreign").iterdir()] == ["state.db"]


def test_a_workspace_that_lost_a_key_is_not_upgraded(first_revision: Workspace) -> None:
    (first_revision.root / "keys" / "token.key").unlink()
    with pytest.raises(InputError, match=r"lost keys/token\.key"):
        migrate(first_revision.root)
    assert revision_of(first_revision.root / "state.db") == "0001"


def test_folders_that_an_older_release_did_not_have_are_made(first_revision: Workspace) -> None:
    (first_revision.root / "uploads").rmdir()
    migrate(first_revision.root)
    assert (first_revision.root / "uploads").is_dir()


@pytest.mark.parametrize(("free", "code"), [(0, errno.ENOSPC), (1 << 30, errno.EIO)])
def test_a_full_disk_is_told_as_such_whatever_sqlite_calls_it(tmp_path, monkeypatch, free, code):
    monkeypatch.setattr(database.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    fault = sqlite3.OperationalError("disk I/O error")
    fault.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert disk_fault(fault, tmp_path / "state.db").errno == code


CHARGES = (  # id, population, data set, purpose, scope
    (1, "folk", "by_mail", "fit a", '[["0", "18446744073709551616"]]'),
    (2, "folk", "by_mail", "shards", '[["0", "9"]]'),
    (3, "folk", "by_mail", "shards", '[["0", "9"]]'),  # the same once more, in one second
    (4, "folk", "by_row", "shards", '[["0", "9"]]'),
    (5, "folk", "gone", "shards", '[["0", "9"]]'),
)


def charged_by_an_earlier_release(path: Path, heads: str) -> None:
    """Make a database of revision 0005 with two data sets and five charges; `heads` are the journal's digests of each."""
    make_older(path, "0005")
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, subject in (("by_mail", "mail"), ("by_row", "row")):
            connection.execute(
                "INSERT INTO datasets VALUES (?, 'folk', ?, ?, 'a1b2', 'run', '2026-01-01', '{}')",
                (name, f"{name}-type", f'{{"subject": "{subject}"}}'),
            )
        for (number, population, dataset, purpose, scope), head in zip(CHARGES, heads, strict=True):
            connection.execute(
                "INSERT INTO charges (id, population, dataset, purpose, event, scope, adjacency, actor, created) "
                "VALUES (?, ?, ?, ?, '{}', ?, 'a', 'me', '2026-01-02')",
                (number, population, dataset, purpose, scope),
            )
            body = f'{{"population": "{population}"}}'
            link = (number, "2026-01-02", "me", "CHARGE", body, "0", head)
            connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", link)


def test_copies_of_an_earlier_release_give_a_charge_one_id_and_each_ingest_of_rows_its_line(tmp_path: Path) -> None:
    """Random ids counted every charge twice where the live workspace and its backup were each upgraded."""
    ids = []
    for copy, heads in (("live", "abcde"), ("backup", "abcde"), ("apart", "abcdX")):
        path = tmp_path / copy
        charged_by_an_earlier_release(path, heads)
        with upgrading(path) as (connection, _):
            rows = connection.exec_driver_sql("SELECT uid, identity_type FROM charges ORDER BY id").all()
        ids.append([row.uid for row in rows])
        assert [row.identity_type for row in rows] == [*["by_mail-type"] * 3, "by_row-type/a1b2", None]
    live, backup, apart = ids
    assert live == backup
    assert live[:4] == apart[:4]
    assert live[4] != apart[4], "alike, but charged in another copy"
    assert len(set(live)) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", uid) for uid in live)


def test_a_charge_of_an_ingest_that_is_not_here_counts_for_everybody(tmp_path: Path) -> None:
    charged_by_an_earlier_release(tmp_path / "older", "abcde")
    with closing(sqlite3.connect(tmp_path / "older")) as older, older:
        older.execute("UPDATE datasets SET created = '2026-01-03'")  # after the charges: a restored copy's
    with upgrading(tmp_path / "older") as (connection, _):
        lines = connection.exec_driver_sql("SELECT DISTINCT identity_type FROM charges").scalars().all()
    assert lines == [None]
