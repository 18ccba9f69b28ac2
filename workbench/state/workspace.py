"""A workspace: the folder that holds the data, keys, models, releases, certificates and state of one installation."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from workbench.errors import DamagedError, InputError, LockedError, WorkbenchError
from workbench.state import create_database, has_tables, journal, open_database, open_for_threads
from workbench.state.atomic_files import content_of, locked_folder, remove_abandoned, remove_parts, write_atomic

SECRET_KEYS = ("placement", "token", "suppression")
FOLDERS = (
    "data",
    "objects",
    "ensembles",
    "generators",
    "releases",
    "certificates",
    "keys",
    "locks",
    "staging",
    "appends",
    "fits",
    "evaluations",
    "logs",
    "uploads",
)
_MOST_HOLDER = 200  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str, what: str) -> str:
    """`name`, where it is safe as a file name; raises InputError otherwise."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError(
            f"{what} {name!r} is not a usable name",
            hint="letters, digits, dot, dash and underscore; at most 64; starting with a letter or digit",
        )
    return name


def refuse_maimed(root: Path) -> None:
    """Raises InputError where a workspace lost its database or a key: with new ones nobody in it would be found again."""
    made = has_tables(root / "state.db")
    lost = [f"keys/{name}.key" for name in SECRET_KEYS if made and not (root / "keys" / f"{name}.key").exists()]
    if not made and (root / "data").is_dir() and any((root / "data").iterdir()):
        lost = ["state.db"]
    if lost:
        raise InputError(
            f"workspace {root} has lost {', '.join(lost)}", hint="restore them from a backup, or name a new folder"
        )


@dataclass(frozen=True)
class Workspace:
    """A folder with its database and keys. Opening one checks that this workbench can read it."""

    root: Path
    hindrances: dict[str, WorkbenchError | OSError] = field(default_factory=dict, compare=False, repr=False)
    """By data set, why the last recovery of this process could not finish an append or an erasure of it."""

    @classmethod
    def create(cls, root: Path) -> Workspace:
        """Makes the folders, secret keys (mode 0600) and database that are not there yet; keeps what is.

        A database of an older workbench is refused, not upgraded: that is to be decided on, and told.
        """
        root = root.resolve()
        refuse_maimed(root)
        if root.exists() and not (root / "state.db").exists():
            if not root.is_dir():
                raise InputError(f"{root} is a file, not a folder", hint="name a new or empty folder")
            foreign = sorted(p.name for p in root.iterdir() if p.name not in {"README.md", ".gitignore", *FOLDERS})
            if foreign:
                raise InputError(
                    f"{root} holds files that are not a workspace's: {foreign[:5]}", hint="name a new or empty folder"
                )
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "keys").chmod(0o700)
        for name in SECRET_KEYS:
            if not (root / "keys" / f"{name}.key").exists():
                write_atomic(root / "keys" / f"{name}.key", secrets.token_bytes(32), mode=0o600)
        if not has_tables(root / "state.db"):
            create_database(root / "state.db")
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """The workspace at `root`; raises NotFoundError where there is none, InputError where it can't be read."""
        workspace = cls(root.resolve())
        open_database(workspace.root / "state.db").dispose()
        return workspace

    @classmethod
    def serve(cls, root: Path) -> Workspace:
        """As `open`, for a server of many threads: connections to the database are kept."""
        workspace = cls(root.resolve())
        workspace.__dict__["engine"] = open_for_threads(workspace.root / "state.db")
        return workspace

    @cached_property
    def engine(self) -> Engine:
        """The engine of the workspace database."""
        return open_database(self.root / "state.db")

    def key(self, name: str) -> bytes:
        """A secret key; raises DamagedError where it is missing or damaged."""
        content = content_of(self.root / "keys" / f"{name}.key")
        if len(content) != 32:
            raise DamagedError(
                f"the {name} key of workspace {self.root} is missing or damaged", hint="restore keys/ from a backup"
            )
        return content

    def data_folder(self, dataset: str) -> Path:
        """Where the records of a data set lie."""
        return self.root / "data" / check_name(dataset, "data set")

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A fresh folder of mode 0700 on the same disk, removed with all its content at the end."""
        import shutil

        folder, descriptor = locked_folder(self.root / "staging")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def clear(self) -> list[Path]:
        """Removes what killed processes left half done: temporary files, and staging folders, which hold rows.

        Returns the files outside that they left and that can't be removed.
        """
        remove_parts(self.root)
        return remove_abandoned(self.root / "staging")

    @contextmanager
    def lock(self, dataset: str) -> Iterator[None]:
        """Serialises writers of one data set; raises LockedError at once where another process is at it, and names its job."""
        path = self.root / "locks" / f"{check_name(dataset, 'data set')}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, _MOST_HOLDER, 0).decode(errors="replace")
                raise LockedError(
                    f"another process is writing data set {dataset}{f': {holder}' if holder else ''}",
                    hint="wait for it to end, then try again",
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (journal.job() or "").encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)
