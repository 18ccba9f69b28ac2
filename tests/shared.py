"""What the workers of one run share: a folder is built by the first that needs it."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from workbench.state.workspace import Workspace

KEPT = "WORKBENCH_TEST_SHARED"  # a folder of several runs, where one names it


def shared(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return a folder that one worker builds; the others wait for it."""
    base = factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    root = Path(os.environ.get(KEPT, root))
    folder, done = root / f"shared-{name}", root / f"shared-{name}.done"
    with (root / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            for database in folder.rglob("*.db"):
                with closing(sqlite3.connect(database)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            done.touch()
    return folder


def copy_of(source: Path, target: Path) -> Path:
    """Return a copy of a folder of the run, without the empty files that come and go with every reader of a database."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(source, target, source.stat().st_mode)
    return target


def _copy(source: Path | str, target: Path | str, mode: int) -> None:
    """Copies a folder with the modes of what is in it; shutil asks and sets more of each file, and nearly every test copies."""
    os.mkdir(target, mode & 0o777)  # noqa: PTH102
    with os.scandir(source) as entries:
        for entry in entries:
            copy, status = f"{target}/{entry.name}", entry.stat()
            if entry.is_dir():
                _copy(entry.path, copy, status.st_mode)
            elif not entry.name.endswith((".db-shm", ".db-wal")):
                read = os.open(entry.path, os.O_RDONLY)
                written = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, status.st_mode & 0o777)
                os.write(written, os.read(read, status.st_size))
                os.close(written)
                os.close(read)


def changed(
    factory: pytest.TempPathFactory, name: str, base: Path, change: Callable[[Workspace, Path], object]
) -> Path:
    """Return a workspace that one worker makes from a copy of another, with a folder for its files; copy it before writing."""

    def build(folder: Path) -> None:
        change(Workspace.open(copy_of(base, folder / "workspace")), folder)

    return shared(factory, name, build) / "workspace"


def copied(root: Path, folder: Path) -> Workspace:
    """Return a fresh copy of a workspace, in a folder of a test."""
    return Workspace.open(copy_of(root, folder / "workspace"))
