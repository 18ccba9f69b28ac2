"""Where a workspace keeps its MLflow store, how it is created once, and how its connections are opened."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.errors import BusyError, InputError, NotFoundError
from workbench.state import disk_fault
from workbench.tracking.new_store import create

# Where MLflow records absolute paths of artifacts.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Tracking:
    """The MLflow store of the workspace in `folder`.

    - No file outside the workspace is written, and MLflow's process-wide tracking URI is neither read nor set.
    - The database exists whole or not at all: a kill while it is created leaves no half-migrated one.
    - Deleted rows are overwritten at once on every connection opened here (`secure_delete`).
    """

    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder.absolute() / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The folder of everything that runs and models keep as files."""
        return self.folder.absolute() / "mlartifacts"

    @property
    def uri(self) -> str:
        """The store's URI, as `mlflow ui --backend-store-uri` takes it."""
        if "?" in str(self.database) or "%" in str(self.database):  # SQLAlchemy reads them as URL syntax
            raise InputError(f"MLflow can't open {self.database}", hint="name a workspace without ? and % in its path")
        return f"sqlite:///{self.database}"

    def initialise(self) -> None:
        """Creates the database; harmless where it exists already, and when several processes do it at once."""
        if self.database.exists():
            return
        _ = self.uri  # a path that MLflow can't open is refused before anything is made there
        with _locked(self.database.with_name("mlflow.lock")):
            if not self.database.exists():
                _create(self)

    @contextmanager
    def session(self) -> Iterator[Any]:
        """An MlflowClient of this store; MLflow's faults become ours, without the values its messages quote."""
        self.require()
        from mlflow.exceptions import MlflowException

        try:
            yield _client(self.uri)
        except MlflowException as error:
            origin = getattr(error.__cause__, "orig", error)
            raise disk_fault(origin, self.database) or _fault(error.error_code) from None

    @contextmanager
    def connection(self, *, timeout: float) -> Iterator[sqlite3.Connection]:
        """A connection of our own, without importing MLflow; waits at most `timeout` seconds for each lock, then BusyError."""
        self.require()
        with closing(sqlite3.connect(self.database, timeout=timeout, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA foreign_keys = ON")
                # VACUUM's copy must not reach a disk outside the workspace
                connection.execute("PRAGMA temp_store = MEMORY")
                yield connection
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise InputError(
                        "the tracking store mlflow.db is damaged", hint="restore it from a backup, then resume"
                    ) from None
                if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise _locked_out() from None
                raise disk_fault(error, self.database) or error from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the database open meanwhile: who closes it last writes the whole log back, after every record otherwise."""
        with self.connection(timeout=10) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # read to its end, or it would hold up a purge
            yield

    def relocate(self, found: str, to: Path | None = None) -> None:
        """Points recorded artifact paths here, in a workspace that was moved or copied from where `found` lies; or `to` where
        it is about to be moved.

        Without it a copy would write its models into the original, where no purge of the copy finds them.
        """
        old = found.rpartition("/")[0]
        if not old.endswith(f"/{self.artifacts.name}"):
            raise InputError(
                "an experiment with this data set's name keeps its files outside the workspace",
                hint="rename that experiment in MLflow",
            )
        new = Tracking(to or self.folder).artifacts.as_uri()
        with self.connection(timeout=30) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table, column in _LOCATIONS:
                moved = f"{column} = ?1 || substr({column}, length(?2) + 1)"
                connection.execute(f"UPDATE {table} SET {moved} WHERE instr({column}, ?2 || '/') = 1", (new, old))
            connection.execute("COMMIT")

    def snapshot(self, target: Path) -> None:
        """Writes the database as it is at this moment, whole and without free pages, to a new file."""
        with self.connection(timeout=30) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")

    def require(self) -> None:
        """Raises BusyError where the store is missing, as MLflow would silently create another: nothing can be recorded until
        it is back, and what was begun stays resumable."""
        if not self.database.is_file():
            raise BusyError(
                "there is no tracking store mlflow.db in the workspace",
                hint="restore it from a backup, or workbench init makes an empty one; then workbench resume",
            )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _create(tracking: Tracking) -> None:
    """Makes a fresh database under another name and renames it when it is whole."""
    draft = tracking.database.with_name("mlflow.db.new")
    for leftover in tracking.database.parent.glob(f"{draft.name}*"):
        leftover.unlink()
    create(draft, tracking.artifacts)
    with closing(sqlite3.connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    draft.rename(tracking.database)


@lru_cache
def _client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient
    from sqlalchemy import event

    client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for store in (client._tracking_client.store, client._get_registry_client().store):
        store.engine.hide_parameters = True  # a failing statement must not print names and tags into a log
        event.listen(store.engine, "connect", _overwrite_deleted)
    return client


def _overwrite_deleted(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA secure_delete = ON")


def _locked_out() -> BusyError:
    return BusyError("the tracking store is locked by another process", hint="try again shortly")


def _fault(code: str) -> Exception:
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFoundError("the tracking store has no such run, model or version", hint="was it purged meanwhile?")
    if code == "TEMPORARILY_UNAVAILABLE":
        return _locked_out()
    if code == "INTERNAL_ERROR":
        return InputError(
            "MLflow can't use the tracking store", hint="workbench migrate, where an older release wrote it"
        )
    return InputError(
        f"MLflow refused the record ({code})",
        hint="names and keys take letters, digits, _ - . and spaces; values have a length limit",
    )
