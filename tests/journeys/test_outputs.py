"""Files that leave the workspace: staged in it, for nobody else to read, and gone after a kill with the next resume."""

from __future__ import annotations

import itertools
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import pupils
from instants import instants
from stored import ensemble_of

from workbench.data import reader
from workbench.errors import InputError, QuarantinedError
from workbench.state import lineage
from workbench.state.atomic_files import part_beside
from workbench.state.workspace import Workspace
from workbench.workflows import outputs
from workbench.workflows.erasure.execute import resume
from workbench.workflows.operations.backup import backup
from workbench.workflows.outputs import output, place_bytes
from workbench.workflows.synthesis import sample as sampling
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.training.predict import predict

Work = Callable[[Workspace, Path], Any]


def generator_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return lineage.find(connection, kind="generator")[0].id


def exports(workspace: Workspace) -> int:
    with workspace.engine.connect() as connection:
        return len(lineage.find(connection, kind="export"))


def sampled(workspace: Workspace, folder: Path) -> None:
    sample(workspace, generator_of(workspace), 8, folder / "out.csv")


def predicted(workspace: Workspace, folder: Path) -> None:
    rows = workspace.root.parent / "rows.parquet"
    if not rows.exists():
        pupils(4).drop(columns=["pupil", "passed"]).head(5).to_parquet(rows, index=False)
    predict(workspace, ensemble_of(workspace), rows, folder / "out.parquet")


@pytest.fixture(params=["here", "on another file system"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty folder to write to."""
    if request.param == "here":
        (tmp_path / "out").mkdir()
        yield tmp_path / "out"
        return
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir=memory) as other:
        yield Path(other)


@pytest.fixture
def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_ROWS", 2)
    monkeypatch.setattr(sampling, "_BATCH", 3)


def killed_at(at: int, work: Callable[[], Any]) -> bool:
    """Does the work in a forked process that is killed at that instant; returns whether it came to that."""
    child = os.fork()
    if child == 0:
        left = [at]

        def instant() -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with instants(instant):
                work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "it failed by itself"
    return os.WIFSIGNALED(status)


def is_for_others(path: Path) -> bool:
    """Whether others may read a file: by its own mode, and by that of the staging folder that it is in."""
    closed = any(parent.parent.name == "staging" and not parent.stat().st_mode & 0o077 for parent in path.parents)
    return bool(path.stat().st_mode & 0o077) and not closed


def try_kill(workspace: Workspace, folder: Path, work: Work, at: int) -> bool:
    staging = workspace.root / "staging"
    killed = killed_at(at, lambda: work(workspace, folder))
    whole = {"out.csv", "out.parquet"}
    seen = [path for path in folder.iterdir() if path.name not in whole]
    assert not [path for path in (*seen, *staging.rglob("*")) if path.is_file() and is_for_others(path)]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in staging.iterdir())
    if work is sampled and (folder / "out.csv").exists():
        assert exports(workspace), "a file was handed out that is not on record"
    resume(workspace)
    assert list(staging.iterdir()) == []
    assert {path.name for path in folder.iterdir()} <= whole
    for path in folder.iterdir():
        path.unlink()
    return killed


def counted(workspace: Workspace, folder: Path, work: Work) -> tuple[int, int]:
    """The number of instants, and the last one at which the file is not in place yet."""
    number, last = 0, 0

    def instant() -> None:
        nonlocal number, last
        number += 1
        if not any(path.name.startswith("out.") for path in folder.iterdir()):
            last = number

    with instants(instant):
        work(workspace, folder)
    for path in folder.iterdir():
        path.unlink()
    return number, last


@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("work", [sampled, predicted])
def test_a_kill_leaves_nothing_that_others_read_or_that_resume_does_not_remove(
    trained: Workspace, folder: Path, work: Work
) -> None:
    """While rows are staged, before the file is put in place, and just as it is."""
    count, last = counted(trained, folder, work)
    for at in (count // 2, last - 6, last):
        assert try_kill(trained, folder, work, at)


@pytest.mark.slow
@pytest.mark.usefixtures("in_batches")
@pytest.mark.parametrize("work", [sampled, predicted])
def test_nor_does_a_kill_at_any_other_instant(trained: Workspace, folder: Path, work: Work) -> None:
    counted(trained, folder, work)
    tried = next(at for at in itertools.count(1) if not try_kill(trained, folder, work, at))
    assert tried > 15, "it has hardly an instant"


def test_a_file_gets_the_mode_that_the_umask_gives_and_a_private_one_0600(workspace: Workspace, folder: Path) -> None:
    before = os.umask(0o027)
    try:
        place_bytes(workspace, folder / "usual.csv", b"x", lambda _: None)
        place_bytes(workspace, folder / "private.csv", b"x", lambda _: None, private=True)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"usual.csv": 0o640, "private.csv": 0o600}


def test_what_is_refused_in_the_end_leaves_the_file_that_was_there(workspace: Workspace, folder: Path) -> None:
    def refuse(_: object) -> None:
        raise QuarantinedError("no")

    (folder / "out.csv").write_text("before")
    with pytest.raises(QuarantinedError):
        place_bytes(workspace, folder / "out.csv", b"after", refuse)
    assert [path.name for path in folder.iterdir()] == ["out.csv"]
    assert (folder / "out.csv").read_text() == "before"
    assert list((workspace.root / "staging").iterdir()) == []


def test_a_part_that_is_being_written_stays_and_is_no_obstacle(workspace: Workspace, tmp_path: Path) -> None:
    with workspace.staging() as folder, part_beside(folder, tmp_path / "out.csv") as part:
        assert resume(workspace) == {}
        assert part.exists()
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


def test_a_part_that_can_not_be_removed_is_told_and_its_rows_in_the_workspace_go(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its disk was made read-only since: an erasure does not wait for that."""
    left = workspace.root / "staging" / "0123456789abcdef"
    left.mkdir()
    part = tmp_path / "away" / ".part-1"
    part.parent.mkdir()
    part.write_text("rows")
    (left / "output.csv").write_text("rows")
    (left / "beside").write_bytes(os.fsencode(part))
    unlink = Path.unlink

    def read_only(path: Path, **options: Any) -> None:
        if path == part:
            raise PermissionError(13, "read-only", str(path))
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        with pytest.raises(InputError, match="was left by a process that was killed"):
            resume(workspace)
        assert [path.name for path in left.iterdir()] == ["beside"]
    resume(workspace)
    assert not part.exists()
    assert not left.exists()


def test_a_name_that_is_no_part_is_never_removed(workspace: Workspace, tmp_path: Path) -> None:
    left, victim = workspace.root / "staging" / "0123456789abcdef", tmp_path / "victim"
    left.mkdir()
    victim.write_text("mine")
    (left / "beside").write_bytes(os.fsencode(victim))
    resume(workspace)
    assert victim.exists()
    assert not left.exists()


def test_a_folder_that_may_not_be_written_to_is_refused_before_a_row_is_made(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(outputs, "create_private", lambda _: pytest.fail("it was staged"))
    with pytest.raises(PermissionError):
        sampled(trained, tmp_path)


def test_predictions_of_many_chunks_are_those_of_one(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pupils(40).drop(columns=["pupil", "passed"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    predict(trained, ensemble_of(trained), tmp_path / "rows.csv", tmp_path / "whole.parquet")
    monkeypatch.setattr(reader, "CHUNK_ROWS", 7)
    told = predict(trained, ensemble_of(trained), tmp_path / "rows.csv", tmp_path / "parts.parquet")
    assert told.rows == len(rows)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "parts.parquet"), pd.read_parquet(tmp_path / "whole.parquet")
    )


def test_a_killed_backup_leaves_nothing_after_the_next_resume(trained: Workspace, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    child = os.fork()
    if child == 0:
        try:
            backup(trained, tmp_path / "out" / "b.tar.gz", progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()] == [".part"]
    resume(trained)
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_left_of_an_output_that_is_given_up(workspace: Workspace, folder: Path) -> None:
    with output(workspace, folder / "out.csv") as result:
        result.staged.write_text("rows")
        assert stat.S_IMODE(result.staged.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == []
    assert list((workspace.root / "staging").iterdir()) == []
