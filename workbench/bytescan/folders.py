"""Searching a folder, every name, file, log and database page of it, for what should be gone."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from workbench.bytescan.archives import DEPTH, Found, Hit, Search, digest_of
from workbench.errors import has_no_room, is_of_disk

__all__ = ["DEPTH", "Hit", "Scan", "Unread", "holds", "scan_folder", "spellings", "unread_file", "words"]

_TRIES = 10  # at a file that someone is writing


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A file or folder that could not be searched to its end: why, and by what it is recognised as it was.

    That is its digest; where it can't be read, its size and times; of a database with too many hits the cells that hold them.
    """

    place: str
    reasons: tuple[str, ...]
    content: str
    has_more: bool = False

    @property
    def reason(self) -> str:
        """Why, in words."""
        return "; ".join(self.reasons)

    def with_(self, other: Unread) -> Unread:
        """The same file, with what another search of it could not read."""
        reasons = tuple(dict.fromkeys((*self.reasons, *other.reasons)))
        return replace(self, reasons=reasons, has_more=self.has_more or other.has_more)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Where the needles were found, relative to the folder searched; files and database pages that were read.

    `places` are the hits themselves, each with its file. `unsearched` is what could not be looked into to its end: there a
    needle may be left.
    """

    hits: tuple[str, ...]
    places: tuple[tuple[str, Hit], ...] = ()
    files: int
    pages: int = 0
    unsearched: tuple[Unread, ...] = ()

    @property
    def unread(self) -> tuple[str, ...]:
        """Each file that could not be searched to its end, with each reason."""
        return tuple(f"{one.place}: {reason}" for one in self.unsearched for reason in one.reasons)


def scan_folder(root: Path, needles: Collection[bytes] | Mapping[bytes, int], digests: Collection[str] = ()) -> Scan:
    """Reads every file below `root`, name and content, for any of the needles; a mapping says which are words (`Search`).

    - Content is searched as it lies there and unpacked; rows of SQLite databases also as SQLite reads them, since a long
      value is cut at page borders. Every page is read, free ones and those of write-ahead logs too.
    - A file, packed or not, whose SHA-256 is among `digests` is a hit, whatever its name.
    - Not found is what is encrypted, or a number stored in binary.

    Raises OSError where the disk has no room for what reading a database writes.
    """
    search = Search(needles, digests)
    places: list[tuple[str, Hit]] = []
    unread: list[Unread] = []
    files, seen_pages = 0, 0
    for place, path in _walk(root, unread):
        places += [(place, hit) for hit in search.hits(os.fsencode(place), where="name")]
        if path is None:
            continue
        found = _settled(search, path)
        if found is None:
            continue
        files += 1
        seen_pages += found.pages
        places += [(place, hit) for hit in found.hits]
        if found.unread:
            unread.append(unread_file(path, place, found))
    hits = tuple(sorted({place for place, _ in places}))
    return Scan(hits=hits, places=tuple(places), files=files, pages=seen_pages, unsearched=tuple(unread))


def unread_file(path: Path, place: str, found: Found) -> Unread:
    """What a file that could not be searched to its end is recognised by."""
    content = found.cells
    if not content:
        try:
            content = digest_of(path)
        except OSError:
            content = repr(_signature(path))
    return Unread(place=place, reasons=tuple(dict.fromkeys(found.unread)), content=content, has_more=found.has_more)


def holds(path: Path, needles: Collection[bytes]) -> bool:
    """Whether a file's name or content, unpacked too, holds any of the needles; one across two pieces is found too."""
    search = Search(needles)
    return search.find(os.fsencode(path.name)) or search.content(path).hit


def spellings(needle: bytes) -> frozenset[bytes]:
    """The ways in which a text or token may be written: as it is, in UTF-16, escaped for JSON or URLs, in base64."""
    return frozenset(words(needle))


def words(needle: bytes) -> dict[bytes, int]:
    """The spellings of a text, each with the bytes that its characters have, by which it counts as a word (`Search`).

    Base64 has no words: what is beside it there is part of the same number.
    """
    found: dict[bytes, int] = {}
    try:
        text = needle.decode()
    except UnicodeDecodeError:
        found[needle] = 0
    else:
        plain = {needle, json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()}
        found |= dict.fromkeys([*plain, quote(text, safe="").encode()], 1)
        found |= {text.encode("utf-16-le"): 2, text.encode("utf-16-be"): -2}
    for shift in range(3):  # base64 depends on the place among three bytes; what its neighbours share is cut off
        coded = base64.b64encode(b"\x00" * shift + needle)
        found[coded[(0, 2, 3)[shift] : (shift + len(needle)) * 8 // 6]] = 0
    return found


def _settled(search: Search, path: Path) -> Found | None:
    """The search of a file, again where it was being written or the disk failed; None where it has gone.

    Raises OSError where the disk has no room.
    """
    for left in reversed(range(_TRIES)):
        before, of_disk = _signature(path), False
        try:
            found = search.file(path)
        except FileNotFoundError:
            return None
        except OSError as fault:
            if has_no_room(fault):
                raise
            found, of_disk = Found(unread=[os.strerror(fault.errno or 0)]), is_of_disk(fault)
        after = _signature(path)
        if not found.unread or not left or (after == before is not None and not of_disk):
            break
        if after is None:
            return None
        time.sleep(0.1)
    return found


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does; None where there is none, and nothing where it can't be looked at."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _walk(root: Path, unread: list[Unread]) -> Iterator[tuple[str, Path | None]]:
    """Every name below `root`, with its path where it is a file; linked folders are followed, each once.

    Folders that can't be listed, for another reason than that they are gone, are added to `unread`.
    """
    seen = set()

    def skipped(fault: OSError) -> None:
        if not isinstance(fault, FileNotFoundError):
            path = Path(fault.filename)
            found = Found(unread=[os.strerror(fault.errno or 0)])
            unread.append(unread_file(path, str(path.relative_to(root)), found))

    for folder, folders, names in os.walk(root, onerror=skipped, followlinks=True):
        try:
            status = Path(folder).stat()
        except FileNotFoundError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted([*names, *folders]):
            path = Path(folder, name)
            yield str(path.relative_to(root)), path if _is_file(path) else None


def _is_file(path: Path) -> bool:
    """Whether there is a file to read. What can't even be looked at may be one, and is then found to be unreadable."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as fault:
        return fault.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
