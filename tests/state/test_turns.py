"""Whoever wants to write while another process does: looks often, gives up in the end, and leaves its connection as it was."""

from __future__ import annotations

import threading

import pytest

from workbench.errors import BusyError
from workbench.state import database, writing
from workbench.state.tables import budgets
from workbench.workspace import Workspace


def held(workspace: Workspace, release: threading.Event, taken: threading.Event) -> None:
    """Another process' write transaction: it takes no turn in this one."""
    with workspace.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        taken.set()
        release.wait(60)
        connection.exec_driver_sql("ROLLBACK")


def test_a_writer_waits_for_another_process_and_gives_up_after_its_patience(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, taken = threading.Event(), threading.Event()
    other = threading.Thread(target=held, args=(workspace, release, taken))
    other.start()
    taken.wait(60)
    served = Workspace.serve(workspace.root)
    with monkeypatch.context() as patch:
        patch.setattr(database, "_PATIENCE_MS", 50)
        with pytest.raises(BusyError, match="another process"), writing(served.engine):
            raise AssertionError
    threading.Timer(0.3, release.set).start()
    with writing(served.engine) as connection:
        assert release.is_set()
        connection.execute(budgets.insert().values(population="x", epsilon=1.0, delta=0.1))
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == database._PATIENCE_MS
    other.join()
    with workspace.engine.connect() as connection:
        assert connection.execute(budgets.select()).one().population == "x"
