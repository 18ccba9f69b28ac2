"""Opening and creating the workspace database: SQLite with a write-ahead log, full sync and secure delete."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from workbench.errors import BusyError, DamagedError, InputError, NotFoundError

HEAD = "0012"
_COMPACT_TRIES = 25
_THREADS = 64  # connections that a server keeps at most
_LEAST_SPACE = 65536  # bytes: what SQLite needs to open a database with a write-ahead log
_NEWER = "install the newer workbench that wrote it"
_PATIENCE_MS = 30_000  # how long one waits for others
_LOOK_MS = 3  # SQLite looks after 1 and 3 ms, and would go on to every 100
_PRAGMAS = (
    f"busy_timeout={_PATIENCE_MS}",  # first: the next one may have to wait, while the last connection of another process closes
    *("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"),
    "temp_store=MEMORY",  # VACUUM's copy must not reach a disk outside the workspace
)


# SQLite lets writers wait by sleeping, in no order: one of thirty never finds it free within its patience. So threads of one
# process, then processes, take turns before they come to it
_TURN = threading.RLock()
_held: set[Path] = set()


def _engine(path: Path, pool: type[Pool] = NullPool, **kept: int) -> Engine:
    # hide_parameters: a failing statement must not print tokens into a log
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=pool, hide_parameters=True, **kept)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun explicitly, see `writing`
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    tell_faults(engine, path)
    return engine


def tell_faults(engine: Engine, path: Path) -> None:
    """Has the engine of the database at `path` raise OSError for a fault of the disk, and BusyError where others hold it."""

    @event.listens_for(engine, "handle_error")
    def _tell(context: Any) -> None:
        fault = disk_fault(context.original_exception, path) or _busy(context.original_exception, path)
        if fault is not None:
            raise fault from None


def disk_fault(error: BaseException, path: Path) -> OSError | None:
    """What SQLite calls an operational error, as the fault of the disk that it is; None for any other."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_ours = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
    # On a full disk it may fail at its shared memory first, which it calls an I/O error
    if code == sqlite3.SQLITE_FULL or (is_ours and _is_full(path)):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if is_ours:
        return OSError(errno.EIO, os.strerror(errno.EIO), str(path))
    return None


def _busy(error: BaseException, path: Path) -> BusyError | None:
    """The fault of a database that others held for longer than one waits; None for any other."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return None
    return BusyError(f"the database {path.name} is locked by another process", hint="try again shortly")


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_SPACE
    except OSError:
        return False


def create_database(path: Path) -> None:
    """Creates the database at the newest revision; harmless where it is there already."""
    with upgrading(path):
        pass


@contextmanager
def upgrading(path: Path) -> Iterator[tuple[Connection, str | None]]:
    """One write transaction after which the database is of the newest revision; tells which it was, None where it is new.

    Wholly or not at all: until it ends, and wherever it fails or is killed, readers find the old one.
    Raises InputError for a database of a newer workbench, or none of ours; BusyError while another process writes to it.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = _engine(path)
    try:
        with writing(engine) as connection:
            before = MigrationContext.configure(connection).get_current_revision()
            if before is not None and before > HEAD:
                raise _of_another_revision(path, before)
            if before is None and connection.execute(text("SELECT 1 FROM sqlite_master")).first():
                raise _unreadable(path)  # somebody else's: no table of ours goes into it
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            yield connection, before
    except DatabaseError:
        raise _unreadable(path) from None
    except CommandError:  # the database names a revision that is not among ours
        raise InputError(
            f"workspace {path.parent} has a revision that this workbench does not know", hint=_NEWER
        ) from None
    finally:
        engine.dispose()


def has_tables(path: Path) -> bool:
    """Whether a database was ever made at `path`: an absent or empty file has none, a damaged one counts as made."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except sqlite3.DatabaseError:
        return True


def open_database(path: Path) -> Engine:
    """The engine of an existing database; raises where it is missing, unreadable or of another revision."""
    return _opened(path, _engine(path))


def open_for_threads(path: Path) -> Engine:
    """As `open_database`, for a server: its connections stay open and are used again."""
    return _opened(path, _engine(path, QueuePool, pool_size=_THREADS, max_overflow=0))


def _of_another_revision(path: Path, revision: str) -> InputError:
    return InputError(
        f"workspace {path.parent} has revision {revision}, this workbench knows {HEAD}",
        hint=_NEWER if revision > HEAD else "workbench migrate upgrades it; make a backup first",
    )


def _opened(path: Path, engine: Engine) -> Engine:
    if not path.is_file():
        raise NotFoundError(f"{path.parent} is not a workspace", hint="workbench init makes one")
    try:
        with engine.connect() as connection:
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError:
        raise _unreadable(path) from None
    if revision != HEAD:
        raise _of_another_revision(path, str(revision))
    return engine


def _unreadable(path: Path) -> DamagedError:
    return DamagedError(
        f"the database of workspace {path.parent} cannot be read: damaged, or not the workbench's",
        hint="restore it from a backup",
    )


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: the write lock is taken at its start, so what is read inside stays true until commit."""
    with _turn(engine), engine.connect() as connection:
        _begin(connection)
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            if connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("ROLLBACK")  # else SQLite took it back itself, as on a full disk
            raise


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: all that is read inside is as it was at one moment. Keep it short; it holds no writer up."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("COMMIT")


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """The right to ask SQLite for the write lock. The kernel hands it on in order, and takes it from a process that dies."""
    path = Path(str(engine.url.database))
    lock = path.parent / "locks" / f".{path.name}"
    with _TURN:
        if path in _held or not lock.parent.is_dir():
            yield
            return
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _held.add(path)
            yield
        finally:
            _held.discard(path)
            os.close(descriptor)


def _begin(connection: Connection) -> None:
    """Takes the write lock. It is looked for all the time: SQLite itself looks ever more rarely, and another process that
    writes often would be found at it again and again."""
    patience: Any = connection.connection.dbapi_connection
    deadline = time.monotonic() + _PATIENCE_MS / 1000
    patience.execute(f"PRAGMA busy_timeout={_LOOK_MS}")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except BusyError:
                if time.monotonic() > deadline:
                    raise
    finally:
        patience.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")


def compact(engine: Engine) -> None:
    """Rewrites the database without its free pages and empties its log; raises BusyError where a reader prevents it."""
    for _ in range(_COMPACT_TRIES):  # a reader holds the log only for a moment
        try:
            with _turn(engine), engine.connect() as connection:
                connection.execute(text("VACUUM"))
                if not connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]:
                    return
        except BusyError:
            pass
        time.sleep(0.2)
    raise BusyError(
        "the workspace database is read by another process, so its log can't be cut", hint="workbench resume"
    )
