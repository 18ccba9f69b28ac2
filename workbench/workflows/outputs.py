"""Put a result file in place: staged in the workspace, judged as a whole, renamed while no request can be accepted.

Acceptance and the rename both take the write lock of the workspace database. So a file is either in place before a request is
accepted, or judged by it. Until then the file is in a locked staging folder (mode 0700, the file 0600). A killed process leaves
an unlocked folder, which the next `resume` or erasure removes (docs/adr/0034).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from workbench.errors import InputError, is_of_disk
from workbench.state import reading, writing
from workbench.state.atomic_files import create_private, part_beside, sync
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace

Judge = Callable[[Connection], None]
"""Raises where a result may not be seen any more."""


@dataclass(frozen=True)
class Output:
    """A file under way to `target`: its rows are written to `staged`, then it is placed."""

    workspace: Workspace
    target: Path
    staged: Path
    mode: int

    def place(self, judge: Judge) -> None:
        """Judge the file and rename it to its target in one write transaction; it is not there where the judge raises."""
        sync(self.staged)
        try:
            self._rename(self.staged, judge)
        except OSError as fault:
            if fault.errno != errno.EXDEV:
                raise
            self._place_elsewhere(judge)
        sync(self.target.parent)

    def _place_elsewhere(self, judge: Judge) -> None:
        """Do so on another file system, where a file can't be renamed to: by a copy beside the target, which is on record."""
        with part_beside(self.staged.parent, self.target) as part:
            with self.staged.open("rb") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            self._rename(part, judge)

    def _rename(self, source: Path, judge: Judge) -> None:
        with writing(self.workspace.engine) as connection:
            judge(connection)
            source.replace(self.target)
        with suppress(PermissionError):  # a file system that knows no modes
            self.target.chmod(self.mode)


@internal
@contextmanager
def output(workspace: Workspace, target: Path, *, private: bool = False) -> Iterator[Output]:
    """Stage a file for `target`; where it is not placed, nothing of it is left.

    Its final mode is what the umask gives, or 0600 where it is to stay `private`.
    """
    with workspace.staging() as folder:
        staged = folder / f"output{target.suffix}"
        usual = create_private(staged)
        yield Output(workspace, target, staged, 0o600 if private else usual)


@internal
def place_bytes(workspace: Workspace, target: Path, content: bytes, judge: Judge, *, private: bool = False) -> None:
    """Put a small file in place, as `Output.place` does."""
    with output(workspace, target, private=private) as result:
        result.staged.write_bytes(content)
        result.place(judge)


@internal
@contextmanager
def reserved(workspace: Workspace, target: Path) -> Iterator[Callable[[bytes], None]]:
    """Make the file beside `target` before its content is paid for; yield what writes the content and renames it.

    Raises InputError where the place can't be written to.
    """
    with workspace.staging() as folder, ExitStack() as opened:
        usual = create_private(folder / "mode")
        try:
            part = opened.enter_context(part_beside(folder, target))
        except OSError as fault:
            if is_of_disk(fault):
                raise
            raise InputError(f"{target} can't be written: {fault.strerror}", hint="name another place") from None

        def place(content: bytes) -> None:
            part.write_bytes(content)
            part.chmod(usual)
            sync(part)
            part.replace(target)
            sync(target.parent)

        yield place


@open_to_all
def judge_now(workspace: Workspace, judge: Judge) -> None:
    """Judge an answer by all that was accepted until now; the caller returns it without doing anything more."""
    with reading(workspace.engine) as connection:
        judge(connection)
