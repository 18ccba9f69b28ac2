"""The byte scan leaves alone what others are at: locks of this process on its databases, and files that come and go."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tracking.remnants import remnants

from workbench.bytescan import archives as searching
from workbench.bytescan.folders import scan_folder
from workbench.errors import is_of_disk
from workbench.tracking import Tracking

_INTRUDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
"""


def intrudes(database: Path) -> bool:
    """Whether another process gets the write lock."""
    done = subprocess.run([sys.executable, "-c", _INTRUDER, str(database)], capture_output=True, text=True)
    assert not done.returncode or "database is locked" in done.stderr, done.stderr
    return not done.returncode


def writer(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES ('a canary')")
    return connection


@pytest.mark.parametrize("has_cat", [True, False])
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("called", ["state.db", "mlflow.db.new", "linked"])
def test_a_scan_keeps_the_locks_of_its_process(tmp_path, monkeypatch, mode, called, has_cat):
    if not has_cat:
        monkeypatch.setattr(searching.shutil, "which", lambda _: None)
    root = tmp_path / "root"
    root.mkdir()
    database = root / called if called != "linked" else tmp_path / "elsewhere.db"
    sqlite3.connect(database).execute("CREATE TABLE t (x)").connection.close()
    if called == "linked":
        (root / "by-another-name").hardlink_to(database)
        (root / "by-a-third").symlink_to(database)
    connection = writer(database, mode)
    assert not intrudes(database)
    assert scan_folder(root, [b"absent"]).unread == ()
    assert not intrudes(database), "the scan dropped the lock"
    connection.execute("COMMIT")
    assert intrudes(database)
    assert scan_folder(root, [b"a canary"]).hits
    connection.close()


def test_the_search_of_the_tracking_store_keeps_them_too(tmp_path):
    tracking = Tracking(tmp_path)
    connection = writer(tracking.database, "WAL")
    assert remnants(tracking, [b"absent"]) == []
    assert not intrudes(tracking.database), "the search dropped the lock"
    connection.close()


@pytest.mark.parametrize("is_read_first", [False, True])
@pytest.mark.parametrize("name", ["bucket=1.parquet", "object", "mlflow.db", "mlflow.db-wal", "state.db-shm"])
def test_what_goes_while_it_is_read_is_not_unread(tmp_path, monkeypatch, name, is_read_first):
    """Another data set's erasure deletes checkpoints, buckets and, with its last connection, a database's side files."""
    head = searching._SQLITE if name.endswith(".db") else b"PAR1"
    (tmp_path / name).write_bytes(head + b"damaged" * 20)
    search = searching.Search.content

    def gone_meanwhile(self, path):
        found = search(self, path) if is_read_first else None
        path.unlink()
        return found or search(self, path)

    monkeypatch.setattr(searching.Search, "content", gone_meanwhile)
    assert scan_folder(tmp_path, [b"absent"]).unread == ()


def test_what_is_being_written_is_read_again(tmp_path, monkeypatch):
    path, reads = tmp_path / "bucket.parquet", []
    path.write_bytes(b"PAR1 half a file")
    search = searching.Search.content

    def finished_meanwhile(self, place):
        found = search(self, place)
        reads.append(found.unread)
        path.write_bytes(b"a canary, whole")
        return found

    monkeypatch.setattr(searching.Search, "content", finished_meanwhile)
    found = scan_folder(tmp_path, [b"canary"])
    assert (found.hits, found.unread, len(reads)) == (("bucket.parquet",), (), 2)


def test_what_stays_damaged_is_unread(tmp_path):
    (tmp_path / "bucket.parquet").write_bytes(b"PAR1 half a file")
    (tmp_path / "a.db").write_bytes(searching._SQLITE + b"x" * 5000)
    assert len(scan_folder(tmp_path, [b"absent"]).unread) == 2


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_looked_into_is_unread(tmp_path, monkeypatch, what):
    """Nobody may skip silently what a needle may be in; as root, who may read everything, the refusal is made up."""
    (tmp_path / "folder").mkdir()
    closed = tmp_path / "folder" if what == "folder" else tmp_path / "folder" / "file"
    (tmp_path / "folder" / "file").write_bytes(b"a canary")
    listed, looked_at = os.scandir, Path.stat

    def scandir(path):
        if str(path) == str(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    def status(path, **options):
        if path == closed and what == "file":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return looked_at(path, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "stat", status)
    found = scan_folder(tmp_path, [b"canary"])
    assert (found.hits, found.unread) == ((), (f"{closed.relative_to(tmp_path)}: Permission denied",))


def test_a_folder_that_goes_meanwhile_is_not_unread(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    listed = os.scandir

    def gone_meanwhile(path):
        if str(path) == str(tmp_path / "folder"):
            (tmp_path / "folder").rmdir()
        return listed(path)

    monkeypatch.setattr(os, "scandir", gone_meanwhile)
    assert scan_folder(tmp_path, [b"canary"]).unread == ()


def test_a_disk_without_room_is_a_fault_of_the_disk_and_no_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES ('needle')")
        for name in ("a.db", "a.db-wal"):  # whoever reads them has to write the index of the log beside them
            shutil.copy(tmp_path / name, tmp_path / "copy")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="no room") as caught:
            scan_folder(tmp_path / "copy", [b"needle"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_of_disk(caught.value)
    assert scan_folder(tmp_path / "copy", [b"needle"]).hits


def test_a_fault_of_the_disk_that_passes_is_searched_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a needle")
    honest, faults = searching.Search.file, [OSError(errno.EIO, "now and then")]

    def failing(self: searching.Search, path: Path) -> searching.Found:
        if faults:
            raise faults.pop()
        return honest(self, path)

    monkeypatch.setattr(searching.Search, "file", failing)
    found = scan_folder(tmp_path, [b"needle"])
    assert found.hits == ("a",)
    assert not found.unsearched
