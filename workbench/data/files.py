"""Where files are kept: a folder of this machine now, an object store later. A file is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.state.atomic_files import content_of, remove, write_atomic


class Files(Protocol):
    """Files by name. A name is a relative path; a file of a name is never written twice with different content."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; nothing where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Store a file durably, readable by its owner alone."""

    def delete(self, name: str) -> None:
        """Remove a file durably; one that is gone already is fine."""

    def list(self) -> Iterator[str]:
        """Yield the names of all files, those that are being written left out."""

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 where there is none."""


@dataclass(frozen=True)
class LocalFiles:
    """The files below one folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return the place of a file."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the content of a file; nothing where there is none."""
        return content_of(self.path(name))

    def write(self, name: str, content: bytes) -> None:
        """Store a file durably, readable by its owner alone."""
        write_atomic(self.path(name), content, mode=0o600)

    def delete(self, name: str) -> None:
        """Remove a file durably; one that is gone already is fine."""
        remove(self.path(name))

    def list(self) -> Iterator[str]:
        """Yield the names of all files, those that are being written left out."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if not name.startswith("."):
                    yield Path(folder, name).relative_to(self.folder).as_posix()

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self.path(name).is_file()

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 where there is none."""
        path = self.path(name)
        return path.stat().st_size if path.is_file() else 0
