"""The byte scan of an erasure: every file, name and database page is searched for what should be gone.

A token is a strong needle: sixteen random bytes count wherever they are. An identifier counts as a word, in every encoding
the scan knows: beside other digits a number is another number.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.bytescan.folders import Hit, Unread, scan_folder, spellings, words
from workbench.erasure.verify import Check
from workbench.state.workspace import Workspace

_LOG = "-wal"  # the ending of a database's write-ahead log: what is in it will be in the database


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A hit: in which file, relative to the workspace, and which of the needles asked for it is.

    None: the copy of a removed file, or a file that could not be searched to its end (`unread`), which may hold any.
    """

    file: str
    hit: Hit
    needles: frozenset[bytes]

    @property
    def is_strong(self) -> bool:
        """Whether it can't be chance or somebody's words: a token, or the copy of a file that was removed."""
        return self.hit.where == "copy" or self.is_token

    is_token: bool = False
    unread: Unread | None = None

    def concerns(self, needles: Set[bytes]) -> bool:
        """Whether it may be of the person of these needles."""
        return self.hit.where in ("copy", "unread") or not needles.isdisjoint(self.needles)


@dataclass(frozen=True, kw_only=True)
class BytesFound:
    """What the scan found, what it could not read to its end among it, and how much it read.

    `others` are files that are called after another person in the data: their names are not shown either.
    """

    findings: tuple[Finding, ...]
    files: int
    pages: int
    wanted: frozenset[bytes]
    others: frozenset[str] = frozenset()

    def is_named(self, file: str) -> bool:
        """Whether a file is called after the person, or another one, so that its name may not be shown."""
        if file in self.others or any(spelling in os.fsencode(file) for spelling in self.wanted):
            return True
        return any(file == named or file.startswith(f"{named}/") for named in self._named)

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(finding.file for finding in self.findings if finding.hit.where == "name")

    def check(self, left: Sequence[Finding], note: str = "") -> Check:
        """The result, where these findings are left to be looked at; it names no file that is called after the person."""
        unread = [finding for finding in left if finding.unread]
        hits = [finding for finding in left if not finding.unread]
        detail = f"{len(hits)} hits in {self.files} files, {self.pages} pages{note}"
        if hits:
            detail += f", first {self.place(hits[0])}"
        if unread:
            detail += f"; {len(unread)} files can't be searched to their end"
            shown = next((one.unread for one in unread if not self.is_named(one.file)), None)
            detail += f", first {shown.place}: {shown.reason}" if shown and not hits else ""
        return Check(name="byte scan", ok=not left, detail=detail)

    def place(self, finding: Finding) -> str:
        """Where a finding is, in words."""
        hit, folder = finding.hit, finding.file.partition("/")[0]
        if finding.file in self.others:
            return "in a file that is called after a person" + ("" if self.is_named(folder) else f", below {folder}")
        if self.is_named(finding.file):
            return "in the name of a file" + ("" if self.is_named(folder) else f" below {folder}")
        if finding.unread:
            return f"{finding.file} can't be searched to its end: {finding.unread.reason}"
        if hit.where == "name":
            return f"in the name of {finding.file}"
        if hit.where == "copy":
            return f"in {finding.file}, which is a copy of a removed file"
        of = {"": "", "unpacked": " of what is unpacked from it", "rows": " of a text in it"}[hit.where]
        if hit.cell is not None and hit.cell.table:
            column = f"{hit.cell.table}.{hit.cell.column}"
            of = " of a cell in it" if self.is_named(column) else f" of a cell of {column}"
        return f"in {finding.file} at byte {hit.offset}{of}"


def scan_bytes(
    workspace: Workspace,
    *,
    tokens: Collection[bytes] = (),
    identifiers: Collection[bytes] = (),
    removed: Collection[str] = (),
) -> BytesFound:
    """Searches workspace and MLflow store, packed files and database pages included, for needles in every spelling.

    Files whose digest is among `removed` are found whatever they are called.
    """
    wanted: dict[bytes, int] = {}
    origins: dict[bytes, set[bytes]] = {}
    for needle in identifiers:
        for spelling, width in words(needle).items():
            wanted[spelling] = min(width, wanted.get(spelling, width), key=abs)
            origins.setdefault(spelling, set()).add(needle)
    for needle in tokens:
        for spelling in spellings(needle):
            wanted[spelling] = 0
            origins.setdefault(spelling, set()).add(needle)
    scan = scan_folder(workspace.root, wanted, removed)
    strong = frozenset(tokens)
    findings = [
        Finding(
            file=file,
            hit=hit,
            needles=frozenset(origins.get(hit.needle, ())),
            is_token=not strong.isdisjoint(origins.get(hit.needle, ())),
        )
        for file, hit in scan.places
    ]
    return BytesFound(
        findings=(*findings, *map(unsearched, scan.unsearched)),
        files=scan.files,
        pages=scan.pages,
        wanted=frozenset(wanted),
    )


def unsearched(unread: Unread) -> Finding:
    """A file that could not be searched to its end, as a finding."""
    return Finding(file=unread.place, hit=Hit(needle=b"", offset=0, where="unread"), needles=frozenset(), unread=unread)


@dataclass(frozen=True)
class Marks:
    """Recognises a hit by what it is in, also once the file has grown or its pages have moved.

    In a row that is the whole cell, in its table, column and row; else the bytes that are kept on each side of it, also where
    these are few because the file or the text ends there. Of a file that can't be searched it is the file as it is. What is
    kept is a keyed hash: it may hold the person's identifier.
    """

    key: bytes

    def of(self, finding: Finding) -> dict[str, Any]:
        """A hit as it is kept: file, offset if any, and the mark by which it is recognised."""
        if finding.unread is not None:
            return {"file": finding.file, "mark": self._mark(finding), "unread": finding.unread.reason}
        return {"file": finding.file, "offset": finding.hit.offset, "mark": self._mark(finding)}

    def recognises(self, finding: Finding, kept: Mapping[str, Any]) -> bool:
        """Whether a hit is the one that was kept."""
        return _file(finding.file) == _file(kept["file"]) and hmac.compare_digest(self._mark(finding), kept["mark"])

    def _mark(self, finding: Finding) -> str:
        hit, file = finding.hit, _file(finding.file).encode(errors="surrogateescape")
        parts: tuple[bytes, ...] = (b"hit", file, hit.before, hit.needle, hit.after)
        if (cell := hit.cell) is not None:
            place = (cell.table.encode(), cell.column.encode(), cell.row, b"%d" % hit.offset)
            parts = (b"cell", file, *place, hit.needle, cell.value)
        if finding.unread is not None:
            parts = (b"unread", file, finding.unread.content.encode())
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self.key, message, "sha256").hex()


def _file(place: str) -> str:
    return place.removesuffix(_LOG)
