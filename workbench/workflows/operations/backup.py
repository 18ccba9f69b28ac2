"""A backup: one file that holds everything a workspace needs to live elsewhere, its secret keys included."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from workbench.data import catalog
from workbench.erasure.request import count_open
from workbench.errors import InputError
from workbench.progress import Progress, silent
from workbench.state import journal, writing
from workbench.state.atomic_files import file_sha256, part_beside, sync
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.datasets.append import finish_append
from workbench.workflows.erasure.execute import recover_interrupted
from workbench.workflows.operations.results import BackupResult

CONTENTS = "contents.json"  # the last member: a backup that was cut off has none
FORMAT = "workbench-backup/1"
ENDINGS = {".tar.zst": "zstd", ".tar.gz": "gzip"}
DATABASES = ("state.db", "mlflow.db")
FOLDERS = (
    "keys",
    "data",
    "objects",
    "ensembles",
    "generators",
    "releases",
    "evaluations",
    "certificates",
    "mlartifacts",
)
_NOTICE = "it holds the secret keys and the records of people: keep it as safe as the workspace, and for no longer"
_OPEN = "; it names the people of open requests, sealed beside the key: replace it once they are over"


@allowed("administer")
def backup(workspace: Workspace, file: Path, *, progress: Progress = silent) -> BackupResult:
    """Writes the workspace as it is at one moment to a new file of mode 0600; it is there whole or not at all.

    - Consistent: no data set can be written while its lock is held here; the databases are snapshots without free pages.
    - With the keys, because rows, tokens and certificates mean nothing without them.
    - It is a copy that no erasure reaches: restoring it takes the suppression list of the workspace of today.
    - A request that is open is in it as it stands, with what its byte scan looks for, and goes on where it is restored.
    Raises BusyError where a data set is being written, InputError where the file can't be made.
    """
    started = time.perf_counter()
    codec = _check(workspace, file)
    recover_interrupted(workspace).results()
    with ExitStack() as held:
        with workspace.engine.connect() as connection:
            names = catalog.names(connection)
        for name in names:
            held.enter_context(workspace.lock(name))
            finish_append(workspace, name)
        folder = held.enter_context(workspace.staging())
        with workspace.engine.connect() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(folder / DATABASES[0]),))
        Tracking(workspace.root).snapshot(folder / DATABASES[1])
        members = {name: folder / name for name in DATABASES} | dict(_files(workspace, names))
        _write(folder, file, codec, members, progress, {"workspace": str(workspace.root)})
    digest = file_sha256(file)
    with writing(workspace.engine) as connection:
        journal.append(connection, "BACKED_UP", digest=digest)
        open_ = count_open(connection)
    return BackupResult(
        path=str(file),
        files=len(members),
        bytes=file.stat().st_size,
        sha256=digest,
        open_requests=open_,
        notice=_NOTICE + (_OPEN if open_ else ""),
        seconds=round(time.perf_counter() - started, 3),
    )


def _check(workspace: Workspace, file: Path) -> str:
    codec = next((codec for ending, codec in ENDINGS.items() if file.name.endswith(ending)), None)
    if codec is None:
        raise InputError(f"{file} has no ending of a backup", hint=f"name a {' or '.join(ENDINGS)} file")
    if not file.parent.is_dir() or file.exists():
        raise InputError(f"{file} can't be made: its folder is missing, or it is there", hint="name a new file")
    if file.resolve().is_relative_to(workspace.root):
        raise InputError("a backup can't lie in the workspace: every erasure would find its people there")
    return codec


def _files(workspace: Workspace, datasets: list[str]) -> Iterator[tuple[str, Path]]:
    """Every file that belongs to the workspace, by its place there; not what is temporary or nobody's."""
    for name in FOLDERS:
        for path in sorted((workspace.root / name).rglob("*")):
            place = path.relative_to(workspace.root)
            foreign = name in ("data", "objects") and place.parts[1] not in datasets
            if path.is_file() and not path.is_symlink() and not foreign and not path.name.startswith("."):
                yield place.as_posix(), path


def _write(
    folder: Path, file: Path, codec: str, members: dict[str, Path], progress: Progress, about: dict[str, str]
) -> None:
    with part_beside(folder, file) as part:
        with part.open("wb") as raw:
            with closing(pa.CompressedOutputStream(pa.PythonFile(_Kept(raw), "w"), codec)) as packed:
                _pack(packed, members, progress, about)
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(file)
    sync(file.parent)


class _Kept:
    """A stream that its writer may not close."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.write, self.flush = stream.write, stream.flush

    def close(self) -> None:
        """Leaves the stream open."""


def _pack(packed: Any, members: dict[str, Path], progress: Progress, about: dict[str, str]) -> None:
    digests = {}
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for done, (name, path) in enumerate(members.items()):
            progress(done / len(members), "writing")
            content = path.read_bytes() if path.stat().st_size < 1 << 26 else None
            digests[name] = file_sha256(path) if content is None else hashlib.sha256(content).hexdigest()
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o600, path.stat().st_size
            if content is not None:
                archive.addfile(member, io.BytesIO(content))
            else:
                with path.open("rb") as stream:
                    archive.addfile(member, stream)
        contents = json.dumps({"format": FORMAT, **about, "sha256": digests}).encode()
        member = tarfile.TarInfo(CONTENTS)
        member.mode, member.size = 0o600, len(contents)
        archive.addfile(member, io.BytesIO(contents))
