"""Files that are either wholly there or not there at all, also after a crash."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from workbench.errors import InputError

_PART = ".part-"
_BESIDE = "beside"  # the file of a staging folder that names its part outside


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Writes `content` to `path` durably: temporary file, fsync, rename, fsync of the folder.

    A kill leaves `path` as it was; the temporary file then lies there unlocked, for `remove_parts`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, descriptor = _open_part(path, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def _open_part(path: Path, mode: int) -> tuple[Path, int]:
    """A new temporary file beside `path`, locked: until then `remove_parts` may have taken it for a dead one's."""
    while True:
        part = path.with_name(f"{_PART}{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        os.close(descriptor)


def locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder of mode 0700 below `parent`; the open descriptor holds its lock, so `remove_abandoned` leaves it."""
    while True:
        folder = parent / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o700)
        with suppress(FileNotFoundError):  # `remove_abandoned` came before the lock
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def create_private(path: Path) -> int:
    """Create an empty file of mode 0600; return the mode that the user's umask gives to files that are to be read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        usual = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return usual


@contextmanager
def part_beside(staging: Path, target: Path) -> Iterator[Path]:
    """Make an empty file of mode 0600 beside `target`, to be renamed to it; it is removed at the end where it is left.

    The locked folder `staging` names it before it is there: `remove_abandoned` removes both once this process is dead.
    """
    part = target.parent.resolve() / f"{_PART}{secrets.token_hex(8)}"
    write_atomic(staging / _BESIDE, os.fsencode(part), mode=0o600)
    sync(staging.parent)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield part
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)


def check_output(path: Path, endings: tuple[str, ...] | None) -> None:
    """Raises InputError where a result can't be written to `path`: another ending, no such folder, or itself a folder.

    Raises PermissionError where the folder may not be written to: later a result would be lost by it.
    """
    if endings is not None and path.suffix.lower() not in endings:
        raise InputError(f"{path} has no ending the workbench writes", hint=f"name a {' or '.join(endings)} file")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write to", hint="make it, or name another")
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="name a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def remove_parts(root: Path) -> None:
    """Removes the temporary files that killed writers left anywhere below `root`; those being written stay."""
    for folder, _, names in os.walk(root):  # walks on where a folder vanishes meanwhile
        for name in names:
            if name.startswith(_PART):
                _remove_abandoned(Path(folder, name))


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove the unlocked folders in `folder`, with the parts that they name: their makers were killed.

    Returns the parts that can't be removed; the folder of such a part is left, and holds nothing but its name.
    """
    return [part for entry in folder.iterdir() if (part := _remove_abandoned(entry)) is not None]


def _part_of(folder: Path) -> Path | None:
    """Return the part outside that a staging folder names, if it names one."""
    part = Path(os.fsdecode(content_of(folder / _BESIDE)))
    return part if part.name.startswith(_PART) else None


def _is_left(part: Path) -> bool:
    """Remove an abandoned part outside; return whether it is still there."""
    try:
        _remove_abandoned(part)
        return part.exists()
    except OSError:
        return True


def _remove_abandoned(path: Path) -> Path | None:
    """Remove what is not locked, under that lock: its maker may be about to take it, and then finds it gone.

    Returns the part outside that a folder names, where that can't be removed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part = _part_of(path)
        if part is None or not _is_left(part):
            remove(path)
            return None
        for entry in path.iterdir():
            if entry.name != _BESIDE:
                remove(entry)
        return part
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Makes a file's content durable, or the renames and unlinks in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all it holds, durably; what is already gone is fine."""
    if not path.parent.is_dir():
        return
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    sync(path.parent)


def content_of(path: Path) -> bytes:
    """The content of a file; nothing where there is none, or where it goes at this moment."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def strict_json(value: Any) -> str:
    """Return a value as JSON text, with null for every number that JSON lacks (NaN and the infinities)."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a value for JSON with None for every number that JSON lacks."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
