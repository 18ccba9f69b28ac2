"""Whoever wants to write while another process does: looks often, gives up in the end, and leaves its connection as it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from stored import placed

from workbench.erasure.request import submit
from workbench.errors import BusyError
from workbench.state import compact, database, writing
from workbench.state.tables import budgets, requests
from workbench.state.workspace import Workspace


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


def forked(work: Callable[[], None]) -> int:
    """A process that does the work; it ends with 0, or with 1 where the work fails."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def is_over(pid: int) -> bool:
    """Whether a process ended; it is not yet reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def is_queued(pid: int) -> bool:
    """Whether a process waits for a lock of the kernel."""
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any(fields[1] == "->" and str(pid) in fields for fields in map(str.split, lines))


def test_processes_that_write_wait_for_their_turn_however_long_it_takes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits longer than its patience: that is for a database that others hold without taking turns."""
    monkeypatch.setattr(database, "_PATIENCE_MS", 1)
    go, going = os.pipe(), os.pipe()

    def hold() -> None:
        with writing(Workspace.open(workspace.root).engine):
            os.write(going[1], b".")
            os.read(go[0], 1)

    def write(name: str) -> None:
        with writing(Workspace.open(workspace.root).engine) as connection:
            connection.execute(budgets.insert().values(population=name, epsilon=1.0, delta=0.1))

    pids = [forked(hold)]
    os.read(going[0], 1)
    names = ["a", "b", "c"]
    pids += [forked(partial(write, name)) for name in names]
    while not all(is_queued(pid) or is_over(pid) for pid in pids[1:]):
        os.sched_yield()
    os.write(go[1], b".")
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
    with workspace.engine.connect() as connection:
        assert sorted(connection.execute(budgets.select()).scalars()) == names
    for end in (*go, *going):
        os.close(end)


def test_a_process_that_is_killed_in_its_turn_passes_it_on(workspace: Workspace) -> None:
    going = os.pipe()

    def hold() -> None:
        with writing(Workspace.open(workspace.root).engine):
            os.write(going[1], b".")
            signal.pause()

    pid = forked(hold)
    os.read(going[0], 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with writing(workspace.engine) as connection:
        connection.execute(budgets.insert().values(population="x", epsilon=1.0, delta=0.1))
    for end in going:
        os.close(end)


@pytest.mark.slow
def test_thirty_processes_that_ask_for_erasures_at_once_are_all_accepted(trained: Workspace) -> None:
    """Each hands in three requests, and rewrites the database after each as the end of an erasure does."""
    start = os.pipe()
    keys = [key for split in ("train", "holdout") for key in placed(trained, split)][:90]

    def ask(mine: list[str]) -> None:
        os.close(start[1])
        os.read(start[0], 1)
        for key in mine:
            workspace = Workspace.open(trained.root)
            assert submit(workspace, ["pupils"], key).status == "quarantined"
            compact(workspace.engine)
            workspace.engine.dispose()

    pids = [forked(partial(ask, keys[k::30])) for k in range(30)]
    os.close(start[1])
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 30
    os.close(start[0])
    with trained.engine.connect() as connection:
        assert len(connection.execute(requests.select()).all()) == 90
