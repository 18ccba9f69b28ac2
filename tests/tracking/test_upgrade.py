"""A tracking store of an older MLflow is upgraded wholly or not at all, and keeps what is recorded in it."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import alembic.command
import alembic.op
import pytest
from killing import Killed
from sqlalchemy import create_engine

from workbench.errors import BusyError, InputError
from workbench.state import database
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, upgrade

OLDER = "0584bdc529eb"  # of MLflow 2.14; the migrations since make tables anew and add some


@pytest.fixture(scope="module")
def older_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as an older MLflow left it, with an experiment and a run; copy it before writing."""
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    tracking = Tracking(tmp_path_factory.mktemp("older"))
    engine = create_engine(tracking.uri)
    Base.metadata.create_all(engine)
    alembic.command.upgrade(_get_alembic_config(tracking.uri), OLDER)
    engine.dispose()
    with closing(sqlite3.connect(tracking.database)) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'adult', 'active')"
        )
        connection.execute(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, user_id, status, artifact_uri, source_type) "
            "VALUES ('r', 7, 'active', 'me', 'FINISHED', 'file:///gone', 'LOCAL')"
        )
    return tracking.database


@pytest.fixture
def older(older_store: Path, tmp_path: Path) -> Tracking:
    """A fresh copy of it."""
    shutil.copy(older_store, tmp_path)
    return Tracking(tmp_path)


def schema(path: Path) -> set[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {(t, *column[1:3]) for t in tables for column in connection.execute(f"PRAGMA table_info({t})")}


def runs(path: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT run_uuid, experiment_id FROM runs").fetchall()


def test_it_gets_the_tables_of_a_new_store_and_keeps_its_runs(older: Tracking, empty_workspace: Path) -> None:
    new = Tracking(empty_workspace)
    assert schema(older.database) != schema(new.database)
    before, after = upgrade(older)
    assert before == OLDER
    assert schema(older.database) == schema(new.database)
    with older.session() as client:
        assert client.get_experiment("7").name == "adult"
    assert runs(older.database) == [("r", 7)]
    assert upgrade(older) == (after, after)


def test_a_store_that_mlflow_will_not_use_says_what_to_do(workspace: Workspace) -> None:
    tracking = Tracking(workspace.root)
    with closing(sqlite3.connect(tracking.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (OLDER,))
    with pytest.raises(InputError, match="can't use the tracking store") as refused, tracking.session():
        pass
    assert "workbench migrate" in refused.value.hint


def test_a_kill_in_the_middle_leaves_the_older_store(older: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_was, make = schema(older.database), alembic.op.create_table

    def killed(*arguments: Any, **options: Any) -> None:
        make(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(alembic.op, "create_table", killed)
        with pytest.raises(Killed):
            upgrade(older)
    assert schema(older.database) == as_it_was
    upgrade(older)
    assert runs(older.database) == [("r", 7)]


@pytest.mark.parametrize("held", ["BEGIN IMMEDIATE", "BEGIN; SELECT * FROM runs"])
def test_a_store_that_another_process_holds_is_waited_for_and_then_busy(
    older: Tracking, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    with closing(sqlite3.connect(older.database, isolation_level=None, check_same_thread=False)) as other:
        for statement in held.split(";"):
            other.execute(statement).fetchall()
        with monkeypatch.context() as patch:
            patch.setattr(database, "_PATIENCE_MS", 50)
            with pytest.raises(BusyError, match=r"mlflow\.db is locked by another process"):
                upgrade(older)
        assert runs(older.database) == [("r", 7)]
        timer = threading.Timer(0.3, other.execute, ("ROLLBACK",))
        timer.start()
        assert upgrade(older)[0] == OLDER
        timer.join()


def test_what_a_newer_mlflow_wrote_is_refused_and_so_is_what_is_no_database(older: Tracking) -> None:
    with closing(sqlite3.connect(older.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'feedfacefeed'")
    with pytest.raises(InputError, match="newer MLflow"):
        upgrade(older)
    older.database.write_bytes(b"garbage" * 999)
    with pytest.raises(InputError, match="can't be upgraded"):
        upgrade(older)
    older.database.unlink()
    with pytest.raises(BusyError, match="no tracking store"):
        upgrade(older)
