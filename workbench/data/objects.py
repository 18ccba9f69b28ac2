"""Content-addressed files: a checkpoint is stored once, under its SHA-256, and checked whenever it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import DamagedError, InputError
from workbench.state.atomic_files import content_of, file_sha256, remove, sha256, write_atomic


@dataclass(frozen=True)
class Objects:
    """The object files below one folder."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Where the object of that digest lies; raises InputError for what is no SHA-256."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise InputError("an object is named by 64 hexadecimal digits")
        return self.folder / digest[:2] / digest

    def put(self, content: bytes) -> str:
        """Stores content and returns its digest; storing the same twice keeps one file, and mends a damaged one."""
        digest = sha256(content)
        if not self.holds(digest):
            write_atomic(self.path(digest), content, mode=0o600)
        return digest

    def holds(self, digest: str) -> bool:
        """Whether the object of that digest is there and undamaged."""
        path = self.path(digest)
        return path.is_file() and file_sha256(path) == digest

    def get(self, digest: str) -> bytes:
        """The content of that digest; raises DamagedError where it is missing or does not hash to it."""
        content = content_of(self.path(digest))
        if sha256(content) != digest:
            raise DamagedError(
                f"checkpoint {digest[:12]}… is damaged or missing",
                hint="train the ensemble again, or restore the workspace from a backup",
            )
        return content

    def digests(self) -> Iterator[str]:
        """The names of all objects that are stored."""
        return (path.name for path in self.folder.glob("[0-9a-f][0-9a-f]/*") if not path.name.startswith("."))

    def delete(self, digest: str) -> None:
        """Removes an object; one that is gone already is fine."""
        if self.path(digest).exists():
            remove(self.path(digest))
