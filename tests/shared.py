"""What the workers of one run share: a folder is built by the first that needs it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
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
            done.touch()
    return folder


def changed(
    factory: pytest.TempPathFactory, name: str, base: Path, change: Callable[[Workspace, Path], object]
) -> Path:
    """Return a workspace that one worker makes from a copy of another, with a folder for its files; copy it before writing."""

    def build(folder: Path) -> None:
        change(Workspace.open(Path(shutil.copytree(base, folder / "workspace"))), folder)

    return shared(factory, name, build) / "workspace"


def copied(root: Path, folder: Path) -> Workspace:
    """Return a fresh copy of a workspace, in a folder of a test."""
    return Workspace.open(Path(shutil.copytree(root, folder / "workspace")))
