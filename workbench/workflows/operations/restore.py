"""Making a workspace of a backup, without the people who were erased since it was written."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa
from sqlalchemy import select

from workbench.erasure.request import count_open
from workbench.erasure.suppression import Tokens
from workbench.erasure.suppression_list import ForeignList, current_list, read_list
from workbench.errors import BusyError, InputError, NotFoundError, WorkbenchError
from workbench.foreign import parse_json, read_stream
from workbench.privacy import holds
from workbench.progress import Progress, silent
from workbench.state import journal, writing
from workbench.state.atomic_files import content_of, remove, sync
from workbench.state.roles import allowed
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, move_models
from workbench.workflows.erasure.results import HeldBudgets
from workbench.workflows.erasure.suppressions import erase_listed, take_ledger
from workbench.workflows.operations.backup import CONTENTS, DATABASES, ENDINGS, FOLDERS, FORMAT
from workbench.workflows.operations.migrate import migrate
from workbench.workflows.operations.results import RestoreResult

Contents = Mapping[str, Any]  # the last member of a backup: JSON that another program may have written
_CHUNK = 1 << 20
_MOST_CONTENTS = 1 << 28  # bytes: about a million files
_MOST_HEADER = 1 << 16  # bytes
_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error)


@allowed("administer")
def restore(
    root: Path,
    file: Path,
    *,
    suppressions: Path | None = None,
    without: bool = False,
    live: Path | None = None,
    progress: Progress = silent,
) -> RestoreResult:
    """Unpacks a backup into the new or empty folder `root`; returns how many people of the suppression list were erased.

    - There is no workspace at `root` before they are: all is done in a folder beside it, which then takes its name. What a
      kill leaves there is removed by the next try.
    - The backup is data to be doubted: a member outside the folders of a workspace, a link, or a file that does not hash as
      listed refuses the whole.
    - Their erasures are ordinary ones: retrained, purged, verified, certified. One whose byte scan finds what no step
      removes stays open in the new workspace, as does one that the backup brings: `open_requests` counts them.
    - No budget comes back: charges are taken from the workspace that the backup was made of, at `live` or where it was then,
      and from the list. Where that workspace cannot be read, is a restored copy itself, or rests on a statement that the
      backup does not hold, all populations are held (see `privacy.holds`).
    Raises InputError unless one of these is given: a suppression list, the workspace in use, or `without`, which says that
    there is neither.
    """
    started = time.perf_counter()
    if [suppressions is not None, without, live is not None].count(True) != 1:
        raise InputError(
            "a backup may hold people who were erased since",
            hint="--suppressions LIST, from workbench suppressions export; or --live WORKSPACE, the one that is in use; or "
            "--without-suppressions",
        )
    _check(root, file)
    with _beside(root.resolve()) as draft:
        progress(0.1, "unpacking")
        contents = _unpack(file, draft)
        migrate(draft)  # it may be of an older release
        workspace = Workspace.open(draft)
        listed = read_list(workspace, draft / "keys", suppressions) if suppressions else ForeignList()
        current = _in_use(workspace, live) if live else _where_it_was(workspace, contents, root)
        with writing(workspace.engine) as connection:
            before, here = holds.known(connection), holds.identities(connection)
            merged = [take_ledger(connection, one)[0] for one in (listed, current) if one is not None]
            reached = [one.reach for one in (current, listed) if one is not None and one.reach is not None]
            shown = [reach for reach in reached if reach.shows_all(before, here)]
            if current is None or current.reach not in shown:
                # the last journal entry up to which all charges are known: the backup's, or a later one of its workspace
                holds.begin(connection, max([before, *(reach.known for reach in shown)], key=lambda k: k.sequence))
        found = erase_listed(workspace, _people(listed, current if live else None), progress)
        with writing(workspace.engine) as connection:
            left = holds.unlifted(connection)
            charges = sum(one.charges for one in merged)
            journal.append(connection, "RESTORED", suppressed=found, charges=charges, held=bool(left))
            open_ = count_open(connection)
        workspace.engine.dispose()
        move_models(Tracking(draft), root.resolve())
        _place(draft, root.resolve())
    return RestoreResult(
        workspace=str(root.resolve()),
        files=len(contents["sha256"]),
        suppressed=found,
        charges=charges,
        held=HeldBudgets.of(left),
        open_requests=open_,
        seconds=round(time.perf_counter() - started, 3),
    )


def _in_use(workspace: Workspace, live: Path) -> ForeignList:
    """What the workspace at `live` knows now; raises InputError where the backup is not of it."""
    if not (live / "state.db").is_file():
        raise NotFoundError(f"{live} holds no workspace", hint="--live names the one that the backup was made of")
    other = Workspace.open(live)
    if not _same_key(workspace, other.root):
        raise InputError(
            f"the backup is not of workspace {live}: their keys differ", hint="name the one it was made of"
        )
    found = _continuation(workspace, other)
    if found is None:
        raise InputError(
            f"the journal of workspace {live} does not go on from the backup's: it is an older or another copy",
            hint="name the workspace that was in use, or give a --suppressions LIST",
        )
    return found


def _where_it_was(workspace: Workspace, contents: Contents, root: Path) -> ForeignList | None:
    """The same for the folder that the backup was made of, where it still holds that workspace; else None."""
    recorded = contents.get("workspace")
    if not isinstance(recorded, str) or not Path(recorded).is_absolute() or Path(recorded) == root.resolve():
        return None
    try:
        return (
            _continuation(workspace, Workspace.open(Path(recorded))) if _same_key(workspace, Path(recorded)) else None
        )
    except (WorkbenchError, OSError, ValueError):  # ValueError: a path that no system has
        return None


def _same_key(workspace: Workspace, other: Path) -> bool:
    """Whether a folder holds the backup's suppression key; asked before its database is opened, for a backup may name any."""
    return hmac.compare_digest(content_of(other / "keys" / "suppression.key"), workspace.key("suppression"))


def _continuation(workspace: Workspace, other: Workspace) -> ForeignList | None:
    """What another copy knows, where its journal holds the last entry of the backup's; else None."""
    with workspace.engine.connect() as connection:
        last = holds.known(connection).head
    with other.engine.connect() as connection:
        has_it = last == journal.GENESIS or last in set(connection.execute(select(entries.c.digest)).scalars())
        return current_list(connection) if has_it else None


def _people(*lists: ForeignList | None) -> Tokens:
    """Everyone whom any of the lists names."""
    found: dict[str, frozenset[bytes]] = {}
    for one in lists:
        for kind, tokens in (one.tokens if one else {}).items():
            found[kind] = found.get(kind, frozenset()) | tokens
    return found


def _check(root: Path, file: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder", hint="--workspace NEW names where to restore to")
    if not root.resolve().parent.is_dir():
        raise InputError(f"there is no folder {root.resolve().parent} to restore into", hint="make it, or name another")
    if not file.is_file():
        raise NotFoundError(f"no backup at {file}")


@contextmanager
def _beside(root: Path) -> Iterator[Path]:
    """A private folder beside `root`, removed at the end where it is still there; BusyError where another restore uses it."""
    draft = root.with_name(f".{root.name}.restoring")
    draft.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is restoring to {root}", hint="wait for it to end") from None
        try:
            for path in list(draft.iterdir()):  # of a try that was killed
                remove(path)
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    finally:
        os.close(descriptor)


def _place(draft: Path, root: Path) -> None:
    """Gives the finished workspace its name."""
    if root.exists():
        root.rmdir()  # it is empty; anything put there meanwhile stops it
    draft.rename(root)
    sync(root.parent)


def _unpack(file: Path, target: Path) -> Contents:
    """Unpacks and checks a backup; returns its list of contents."""
    codec = next((codec for ending, codec in ENDINGS.items() if file.name.endswith(ending)), None)
    if codec is None:
        raise InputError(f"{file} has no ending of a backup", hint=f"{' or '.join(ENDINGS)}")
    digests: dict[str, str] = {}
    contents: Any = None
    try:
        with (
            file.open("rb") as raw,
            pa.CompressedInputStream(pa.PythonFile(raw, "r"), codec) as packed,
            tarfile.open(fileobj=cast(BinaryIO, packed), mode="r|", tarinfo=_Member) as archive,
        ):
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or contents is not None or member.name in digests or not _belongs(member, target):
                    raise ValueError
                if member.size > shutil.disk_usage(target).free:
                    raise InputError(f"{target.parent} has too little space for this backup")
                if member.name == CONTENTS:
                    what = f"list of contents of {file}"
                    contents = parse_json(
                        read_stream(cast(BinaryIO, stream), most=_MOST_CONTENTS, what=what), what=what
                    )
                else:
                    digests[member.name] = _extract(cast(BinaryIO, stream), target / member.name)
        if contents["format"] != FORMAT or contents["sha256"] != digests or not set(DATABASES) <= set(digests):
            raise ValueError
    except _DAMAGED:
        raise InputError(f"{file} is not a whole backup of this workbench; nothing was restored") from None
    return dict(contents)


class _Member(tarfile.TarInfo):
    """A member as our backups write it: a file, or a short header before one. Others would be read whole into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        is_file = self.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if not is_file and (self.type != tarfile.XHDTYPE or self.size > _MOST_HEADER):
            raise tarfile.ReadError("a member of another kind than a backup has")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError("a sparse member")


def _belongs(member: tarfile.TarInfo, target: Path) -> bool:
    """Whether a member is a file that a workspace keeps, inside it."""
    tarfile.data_filter(member, str(target))  # raises for links, devices, absolute and outside paths
    place = PurePosixPath(member.name)
    plain = place.as_posix() == member.name and ".." not in place.parts and "\\" not in member.name
    if member.name in (*DATABASES, CONTENTS):
        return plain
    return plain and len(place.parts) > 1 and place.parts[0] in FOLDERS


def _extract(stream: BinaryIO, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
