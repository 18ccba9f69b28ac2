"""Making a workspace of a backup, without the people who were erased since it was written."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import shutil
import tarfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa

from workbench import journal
from workbench.data import catalog
from workbench.data.identity import suppression_token
from workbench.data.store import SPLITS
from workbench.erasure.locate import Subject
from workbench.erasure.request import expedite, submit_subjects
from workbench.erasure.suppression import Tokens, listed, suppress
from workbench.errors import BusyError, InputError, NotFoundError
from workbench.files import check_output, remove, sync, write_atomic
from workbench.foreign import parse_json, read_stream
from workbench.progress import Progress, silent
from workbench.roles import allowed
from workbench.state import writing
from workbench.tracking import Tracking, move_models
from workbench.workflows.backup import CONTENTS, DATABASES, ENDINGS, FOLDERS, FORMAT
from workbench.workflows.execute import carry_out_waiting
from workbench.workflows.migrate import migrate
from workbench.workspace import Workspace

LIST_FORMAT = "workbench-suppressions/1"
_CHUNK = 1 << 20
_MOST_CONTENTS = 1 << 28  # bytes: about a million files
_MOST_HEADER = 1 << 16  # bytes
_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error)


@allowed("administer")
def export_suppressions(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Writes the suppression tokens of everyone erased, or about to be, to a JSON file of mode 0600; it names nobody."""
    check_output(file, (".json",))
    with workspace.engine.connect() as connection:
        tokens = listed(connection)
    document = {
        "format": LIST_FORMAT,
        "key": _fingerprint(workspace),
        "suppressions": [
            {"identity_type": kind, "token": token.hex()} for kind in sorted(tokens) for token in sorted(tokens[kind])
        ],
    }
    write_atomic(file, json.dumps(document, indent=1).encode(), mode=0o600)
    return {"path": str(file), "people": len(document["suppressions"])}


@allowed("administer")
def restore(
    root: Path, file: Path, *, suppressions: Path | None = None, without: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """Unpacks a backup into the new or empty folder `root`; returns how many people of the suppression list were erased.

    - There is no workspace at `root` before they are: all is done in a folder beside it, which then takes its name. What a
      kill leaves there is removed by the next try.
    - The backup is data to be doubted: a member outside the folders of a workspace, a link, or a file that does not hash as
      listed refuses the whole.
    - Their erasures are ordinary ones: retrained, purged, verified, certified.
    Raises InputError without a suppression list, unless `without` says that there is none.
    """
    started = time.perf_counter()
    if (suppressions is None) != without:
        raise InputError(
            "a backup may hold people who were erased since",
            hint="--suppressions LIST, from workbench suppressions export; or --without-suppressions",
        )
    _check(root, file)
    with _beside(root.resolve()) as draft:
        progress(0.1, "unpacking")
        files = _unpack(file, draft)
        migrate(draft)  # it may be of an older release
        workspace = Workspace.open(draft)
        tokens = _read_list(workspace, suppressions) if suppressions else {}
        found = _erase(workspace, tokens, progress)
        with writing(workspace.engine) as connection:
            journal.append(connection, "RESTORED", suppressed=found)
        workspace.engine.dispose()
        move_models(Tracking(draft), root.resolve())
        _place(draft, root.resolve())
    return {
        "workspace": str(root.resolve()),
        "files": files,
        "suppressed": found,
        "seconds": round(time.perf_counter() - started, 3),
    }


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


def _unpack(file: Path, target: Path) -> int:
    """Unpacks and checks a backup; returns how many files it holds."""
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
    return len(digests)


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


def _read_list(workspace: Workspace, file: Path) -> Tokens:
    """The tokens of a suppression list; raises InputError where it is none, or of a workspace with another key."""
    try:
        document = json.loads(file.read_bytes())
        key, rows = document["key"], document["suppressions"]
        found: defaultdict[str, set[bytes]] = defaultdict(set)
        for row in rows:
            found[str(row["identity_type"])].add(bytes.fromhex(row["token"]))
        if document["format"] != LIST_FORMAT:
            raise ValueError
    except _DAMAGED:
        raise InputError(f"{file} is not a suppression list", hint="workbench suppressions export FILE") from None
    if not hmac.compare_digest(str(key), _fingerprint(workspace)):
        raise InputError(
            f"{file} is of another workspace than the backup: nobody would be recognised",
            hint="export it from the workspace that the backup was made of",
        )
    return {kind: frozenset(tokens) for kind, tokens in found.items()}


def _erase(workspace: Workspace, tokens: Tokens, progress: Progress) -> int:
    """Erases everyone in the data whose suppression token is listed, whatever the policy says; returns how many."""
    with writing(workspace.engine) as connection:
        suppress(connection, tokens, request="restore")
    people = _people(workspace, tokens)
    for subjects in people:
        receipt = submit_subjects(workspace, subjects)
        expedite(workspace, receipt.duplicate_of or receipt.id)
    carry_out_waiting(workspace, progress)
    if left := _people(workspace, tokens):
        raise InputError(
            f"{len(left)} of {len(people)} people of the suppression list could not be erased; nothing was restored"
        )
    return len(people)


def _people(workspace: Workspace, tokens: Tokens) -> list[list[Subject]]:
    """The subjects of each listed person in all data sets."""
    key = workspace.key("suppression")
    found: defaultdict[bytes, list[Subject]] = defaultdict(list)
    with workspace.engine.connect() as connection:
        for name in catalog.names(connection):
            store = catalog.store(connection, workspace, name)
            wanted = tokens.get(store.schema.identity_type, frozenset())
            for split in SPLITS if wanted else ():
                for token, point, slice_point in store.subjects(split):
                    if suppression_token(key, token) in wanted:
                        subject = Subject(
                            request="", dataset=name, token=token, point=point, slice_point=slice_point, split=split
                        )
                        found[token].append(subject)
    return list(found.values())


def _fingerprint(workspace: Workspace) -> str:
    """Tells suppression keys apart without telling them."""
    return hmac.digest(workspace.key("suppression"), b"fingerprint", "sha256").hex()
