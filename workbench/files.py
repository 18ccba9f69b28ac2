"""Files that are either wholly there or not there at all, also after a crash."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from workbench.errors import InputError

_PART = ".part-"


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Writes `content` to `path` durably: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_PART}{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Raises InputError where a result can't be written to `path`: another ending, no such folder, or itself a folder."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{path} has no ending the workbench writes", hint=f"name a {' or '.join(endings)} file")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write to", hint="make it, or name another")
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="name a file")


def sync_folder(folder: Path) -> None:
    """Makes renames and unlinks in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
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
    sync_folder(path.parent)


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
