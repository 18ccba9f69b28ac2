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

from workbench.workspace import Workspace

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
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.db-shm", "*.db-wal")))


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
