"""Work is killed, or made to fail, at every one of its system calls; what was begun then ends as if undisturbed."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import fill, pupils
from harness import STOPPABLE, Deed, Fault, Lab, _accepted
from shared import changed
from sqlalchemy import select
from stored import placed

from workbench.state.tables import appends
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.inbox_worker import work as run_worker
from workbench.workflows.datasets.ingest import append
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.erasure.signing_keys import list_keys, rotate_key
from workbench.workflows.erasure.suppressions import export_suppressions
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.restore import restore

PARTS = 40  # the sweep is cut into as many tests, for pytest -n
STRIDE = int(os.environ.get("WORKBENCH_FAULTS_STRIDE", "1"))
PAIRS = 200
THIN, THINNER = 4, 2
ROOM = ("write", "pwrite64", "ftruncate", "mkdir")  # calls that can find the disk full

needs_stopping = pytest.mark.skipif(not STOPPABLE, reason="the calls of a process can't be stopped on this machine")


@pytest.fixture(scope="session")
def small_workspace(
    tmp_path_factory: pytest.TempPathFactory, empty_workspace: Path, pupils_files: tuple[Path, Path]
) -> Path:
    """Few pupils, a release and an ensemble: what a try costs is mostly reading files that don't matter to it."""
    trees = {"shards": 2, "slices": 2, "rounds": 4, "leaves": 4, "min_rows_per_leaf": 3}

    def change(workspace: Workspace, folder: Path) -> None:
        pupils(40).to_csv(folder / "pupils.csv", index=False)
        fill(workspace, pupils_files[0], folder / "pupils.csv", **trees)

    return changed(tmp_path_factory, "small", empty_workspace, change)


@pytest.fixture(scope="module")
def lab(small_workspace: Path) -> Iterator[Lab]:
    with Lab.opened(small_workspace) as lab:
        yield lab


@pytest.fixture(scope="module")
def points(lab: Lab) -> list[Fault]:
    return lab.points()


def evenly(points: Sequence[Fault], n: int) -> list[tuple[Fault, ...]]:
    """The middles of so many equal parts: little is begun at the first call, and nothing left to do at the last."""
    return [(points[(2 * i + 1) * len(points) // (2 * n)],) for i in range(n)]


def alone(points: Sequence[Fault], part: int) -> list[tuple[Fault, ...]]:
    return [(point,) for point in points[::STRIDE][part::PARTS]]


def test_an_erasure_survives_kills_at_some_of_its_calls(lab: Lab, points: list[Fault]) -> None:
    lab.sweep("erasure", evenly(points, THIN))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_survives_a_kill_at_any_call(lab: Lab, points: list[Fault], part: int) -> None:
    lab.sweep("erasure", alone(points, part))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_and_its_resume_survive_being_killed(lab: Lab, points: list[Fault], part: int) -> None:
    chance = random.Random(0)
    pairs = [(chance.choice(points), chance.choice(points)) for _ in range(PAIRS)]
    lab.sweep("erasure", pairs[::STRIDE][part::PARTS])


@needs_stopping
@pytest.mark.faults
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("part", range(PARTS))
def test_an_erasure_survives_an_error_of_any_call(lab: Lab, points: list[Fault], error: str, part: int) -> None:
    calls = [point for point in points if point.call != "hook" and (error == "EIO" or point.call in ROOM)]
    lab.sweep("erasure", alone([replace(point, error=error) for point in calls], part))


@needs_stopping
@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
def test_an_erasure_survives_a_disk_that_stays_full(lab: Lab, points: list[Fault], part: int) -> None:
    for call in ("pwrite64", "write"):
        calls = [point for point in points if point.call == call]
        full = [replace(point, error="ENOSPC", onward=True) for point in calls]
        lab.sweep("erasure", evenly(full, 24)[part::4])


@needs_stopping
@pytest.mark.faults
@pytest.mark.parametrize("place", ["compact", "sweep"])
def test_an_erasure_survives_a_kill_while_a_database_is_rewritten(lab: Lab, place: str) -> None:
    """`compact` begins with the VACUUM of the state; soon after `sweep`, MLflow's rows are purged and it is rewritten."""
    whens = range(1, 600, 25) if place == "sweep" else range(1, 48, 2)
    lab.sweep(
        "erasure", [(Fault("pwrite64", when),) for when in whens], at=f"workbench.workflows.erasure.steps:{place}"
    )


def more_rows(workspace: Workspace) -> None:
    pupils(12, first=5000, seed=7).to_csv(workspace.root.parent / "more.csv", index=False)


def has_appended(workspace: Workspace) -> bool:
    with workspace.engine.connect() as connection:
        done = connection.execute(select(entries.c.body).where(entries.c.kind == "APPENDED")).all()
        return bool(done or connection.execute(select(appends)).all())


APPEND = Deed(
    work=lambda workspace: append(workspace, "pupils", data=workspace.root.parent / "more.csv"),
    resume=carry_out_waiting,  # whatever the next command that writes is: it removes what killed processes left
    begun=has_appended,
)


def back_up(workspace: Workspace) -> None:
    """A backup, the list of someone who was erased since, and no workspace any more."""
    folder = workspace.root.parent
    backup(workspace, folder / "backup.tar.zst")
    erase(workspace, [placed(workspace, "train")[0]])
    export_suppressions(workspace, folder / "list.json")
    workspace.engine.dispose()
    shutil.rmtree(workspace.root)


def bring_back(workspace: Workspace) -> None:
    folder = workspace.root.parent
    restore(workspace.root, folder / "backup.tar.zst", suppressions=folder / "list.json")


def is_whole_or_absent(workspace: Workspace) -> bool:
    """A restore must end well at its next try; there is a workspace only once it is whole."""
    if workspace.root.exists():
        assert doctor(workspace).healthy, "there is a workspace that is not whole"
    return True


RESTORE = Deed(
    work=bring_back,
    resume=lambda workspace: None if workspace.root.exists() else bring_back(workspace),
    begun=is_whole_or_absent,
)


def has_rotated_again(workspace: Workspace) -> bool:
    with workspace.engine.connect() as connection:
        return len(connection.execute(select(entries.c.body).where(entries.c.kind == "KEY_ROTATED")).all()) == 2


def settle(workspace: Workspace) -> None:
    list_keys(workspace)
    carry_out_waiting(workspace)


ROTATION = Deed(work=rotate_key, resume=settle, begun=has_rotated_again)


def send(folder: Path, keys: Sequence[str]) -> None:
    """A request file in the inbox, as its sender leaves it."""
    shutil.rmtree(folder / "inbox", ignore_errors=True)
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.txt").write_text("\n".join(keys) + "\n")


def work_through(workspace: Workspace) -> None:
    answer = run_worker(workspace, workspace.root.parent / "inbox", stop=threading.Event(), once=True)
    assert answer.poison == 0


def is_taken_or_there(workspace: Workspace) -> bool:
    """A file is carried out whatever happened to its worker; no request may be certified that is not over."""
    _accepted(workspace)
    return True


INBOX = Deed(work=work_through, resume=work_through, begun=is_taken_or_there, beside=send)

DEEDS = {
    "append": (APPEND, more_rows, ["pupil-5003"]),
    "restore": (RESTORE, back_up, ["pupil-5003"]),
    "rotation": (ROTATION, rotate_key, ["pupil-5003"]),
    "inbox": (INBOX, None, []),
}


@pytest.fixture(scope="module", params=DEEDS)
def other(small_workspace: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Lab, list[Fault]]]:
    deed, prepare, keys = DEEDS[request.param]
    with Lab.opened(small_workspace, deed, keys=keys, prepare=prepare) as lab:
        yield request.param, lab, lab.points()


def test_other_work_survives_kills_at_some_of_its_calls(other: tuple[str, Lab, list[Fault]]) -> None:
    what, lab, points = other
    lab.sweep(what, evenly(points, THINNER))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_other_work_survives_a_kill_at_any_call(other: tuple[str, Lab, list[Fault]], part: int) -> None:
    what, lab, points = other
    lab.sweep(what, alone(points, part))
