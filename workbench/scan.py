"""A byte search through files: what should be gone must not be found."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Where the needles were found, relative to the folder searched, and how many files were read."""

    hits: tuple[str, ...]
    files: int


def scan_folder(root: Path, needles: Collection[bytes]) -> Scan:
    """Reads every file below `root`, name and content, for any of the needles; compressed content is not unpacked."""
    paths = list(_files(root))
    hits = tuple(sorted(str(path.relative_to(root)) for path in paths if holds(path, needles)))
    return Scan(hits=hits, files=len(paths))


def holds(path: Path, needles: Collection[bytes]) -> bool:
    """Whether a file's name or content holds any of the needles; one across two chunks is found too."""
    if any(needle in path.name.encode() for needle in needles):
        return True
    overlap = max(map(len, needles), default=1) - 1
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            if any(needle in window for needle in needles):
                return True
            tail = window[max(0, len(window) - overlap) :]
    return False


def _files(root: Path) -> Iterator[Path]:
    yield from (path for path in sorted(root.rglob("*")) if path.is_file())
