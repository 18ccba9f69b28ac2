"""Does something at one instant of a piece of work: before a transaction, its commit, a file operation or a batch."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, event

from workbench.generators.marginals.table import FittedTable

_FILES = ("open", "rename", "replace", "unlink", "rmdir", "mkdir", "link", "chmod", "fsync")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@contextmanager
def instants(instant: Callable[[], None]) -> Iterator[None]:
    """Calls `instant` at every instant of what is inside, but for those of `instant` itself.

    A read transaction is one judgement, so it counts once, where it begins.
    """
    inside, reading = [False], [False]

    def reached() -> None:
        if not inside[0]:
            inside[0] = True
            try:
                instant()
            finally:
                inside[0] = False

    def stated(_: Any, __: Any, statement: str, *___: Any) -> None:
        words = statement.upper()
        if words == "BEGIN":
            reached()
            reading[0] = True
        elif words == "COMMIT" and reading[0]:
            reading[0] = False
        elif not reading[0]:
            reached()

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            reads = function.__name__ == "open" and not int(arguments[1]) & _WRITING
            if not reads:
                reached()
            return function(*arguments, **options)

        return called

    event.listen(Engine, "before_cursor_execute", stated)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in _FILES:
                patch.setattr(os, name, before(getattr(os, name)))
            patch.setattr(pq.ParquetWriter, "write_table", before(pq.ParquetWriter.write_table))
            patch.setattr(pq.ParquetFile, "iter_batches", before(pq.ParquetFile.iter_batches))
            patch.setattr(pq, "read_table", before(pq.read_table))
            patch.setattr(FittedTable, "sample", before(FittedTable.sample))
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", stated)


def is_locked(root: Path) -> bool:
    """Whether somebody holds the write lock of the workspace's database: nothing can be accepted at this instant."""
    connection = sqlite3.connect(root / "state.db", timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False
