"""A byte search that looks inside: what should be gone must not be found, however it was packed.

Files are read in pieces, and what is packed (gzip, bzip2, xz, zstd, tar, zip and so npz, Parquet, Arrow) is unpacked on the
way, in memory alone, as deep as `DEPTH` and as far as `_allowance`. Hyperscan looks for all needles at once: the time is
linear in the bytes, whatever their number.

A database file is read by a process of its own: closing a descriptor of one drops every lock that SQLite holds on it in the
same process (POSIX locks; sqlite.org/howtocorrupt.html, 2.2), and a thread may be writing to it.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from workbench.bytescan.column_values import array_values, arrow_values, parquet_values
from workbench.bytescan.sqlite_cells import Cell, read_rows, value_at
from workbench.later import Later

if TYPE_CHECKING:
    import hyperscan
    import pyarrow as pa
else:  # commands that search nothing need neither
    hyperscan, pa = Later("hyperscan"), Later("pyarrow")

DEPTH = 4  # containers within containers
_CHUNK = 1 << 20
_LONGEST = (
    1 << 10
)  # bytes of a needle that are looked for at first: Hyperscan takes no expression of over 16,000 characters
CONTEXT = 32  # bytes on each side of a hit that are kept with it
_MOST_HITS = 1000  # in one file; more are not listed, and make the file one that was not searched to its end
_MORE = f"more than {_MOST_HITS} hits"
_HEX_RUN = 32  # hexadecimal digits in a row that are a digest or an id, whatever decimal number stands in them
_HEX = re.compile(rb"[0-9a-f]+")
_ESCAPE = re.compile(rb"(%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[abfnrtv])\Z")
_HEAD = 512  # enough to tell a tar
_IN_MEMORY = 256 << 20  # the largest packed zip or Parquet file: they need seeking
_SQLITE = b"SQLite format 3\x00"
_LOGS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # of a database: what its write-ahead log begins with
_ARROW, _NPY = b"ARROW1\x00\x00", b"\x93NUMPY"
_ADJOINED = (
    _SQLITE,
    *_LOGS,
    _ARROW,
    _NPY,
)  # beginnings of files in which values follow each other with nothing between
_LOG = "-wal"
_DATABASE = re.compile(r"\.(db|sqlite3?)(\b|[-.~])")  # its name, and those of its logs, journals and drafts
_COPY = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
_STREAMS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream)),
    b"BZh": lambda stream: cast(BinaryIO, bz2.BZ2File(stream)),
    b"\xfd7zXZ\x00": lambda stream: cast(BinaryIO, lzma.LZMAFile(stream)),  # noqa: SIM115 (closed by `_unpack`)
    b"\x28\xb5\x2f\xfd": lambda stream: cast(
        BinaryIO, pa.CompressedInputStream(pa.PythonFile(_Borrowed(stream), "r"), "zstd")
    ),
}
_DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError, struct.error),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)


Where = Literal["", "unpacked", "rows", "name", "copy", "unread"]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A needle that was found: at which byte, with the bytes around it.

    `where` says of what the offset is: of the file as it is (empty), of what is unpacked from it, of a cell of a database's
    rows (`cell`), of the file's own name, or of nothing, where the whole file is a copy of what was removed or can't be
    searched to its end.
    """

    needle: bytes
    offset: int
    before: bytes = b""
    after: bytes = b""
    where: Where = ""
    cell: Cell | None = None


@dataclass
class Found:
    """What the search of one file found, and what of it could not be read.

    Of cells with more hits than are kept, `cells` is the digest of all that hold one.
    """

    hits: list[Hit] = field(default_factory=list)
    size: int = 0
    head: bytes = b""
    pages: int = 0
    unread: list[str] = field(default_factory=list)
    _cells: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def cells(self) -> str:
        """The digest of the cells with hits, where there are more than are kept; nothing else."""
        nothing = self._cells.digest() == hashlib.sha256().digest()
        return "" if nothing or not self.has_more else self._cells.hexdigest()

    def note(self, cell: Cell) -> None:
        """Take a cell that holds a hit into the digest of all of them."""
        self._cells.update(repr((cell.table, cell.column, cell.row, cell.value)).encode())

    @property
    def has_more(self) -> bool:
        """Whether there are more hits than are kept."""
        return _MORE in self.unread

    @property
    def hit(self) -> bool:
        """Whether anything was found."""
        return bool(self.hits)

    def add(self, hits: Iterable[Hit]) -> None:
        """Adds hits; of too many the file counts as not searched to its end, so that none goes unjudged."""
        self.hits += islice(hits, _MOST_HITS + 1)
        if len(self.hits) > _MOST_HITS:
            del self.hits[_MOST_HITS:]
            self.unread.append(_MORE)


class Search:
    """A search for many needles at once.

    Needles are found wherever their bytes are. A mapping says which of them count as words alone, by the bytes that a
    character has: 1, or 2 and -2 for UTF-16 in little and big endian; 0 for a needle that counts anywhere. A word that begins
    or ends with a digit has no digit beside it there, one that begins or ends with a letter no letter: 12345678 is in
    `x_12345678.txt` and `id12345678;` but not in `0.123456789`.
    """

    def __init__(self, needles: Collection[bytes] | Mapping[bytes, int], digests: Collection[str] = ()) -> None:
        self.digests = frozenset(digests)
        self.overlap = max(map(len, needles), default=1) - 1
        self._widths = dict(needles) if isinstance(needles, Mapping) else dict.fromkeys(needles, 0)
        self._needles = tuple(self._widths)
        self._compiled = _compiled([needle[:_LONGEST] for needle in self._needles])

    def find(self, window: bytes) -> bool:
        """Whether a piece of memory holds any needle."""
        return next(self.occurrences(window), None) is not None

    def occurrences(self, window: bytes, *, is_adjoined: bool = False) -> Iterator[tuple[bytes, int]]:
        """Each needle in a piece of memory, with its place there.

        In the pages of a database one value follows another without anything between them (`is_adjoined`): there a needle of
        letters and digits counts anywhere.
        """
        if self._compiled is None:
            return
        met: list[bytes] = []
        self._compiled.scan(window, match_event_handler=lambda number, *_: met.append(self._needles[number]))
        for needle in met:
            width = self._widths[needle]
            anywhere = width == 0 or (is_adjoined and not needle.isdigit() and not needle.isalpha())
            start = window.find(needle)
            while start >= 0:
                if anywhere or _is_word(window, start, start + len(needle), width):
                    yield needle, start
                start = window.find(needle, start + 1)

    def hits(self, window: bytes, *, where: Where, offset: int = 0, is_adjoined: bool = False) -> Iterator[Hit]:
        """The hits in a piece of memory that begins at `offset` of what it is a piece of."""
        for needle, start in self.occurrences(window, is_adjoined=is_adjoined):
            yield hit_at(window, needle, start, where=where, offset=offset)

    def content(self, path: Path) -> Found:
        """The search of a file's content, and of what is packed in it."""
        found = Found(size=path.stat().st_size)
        with _opened(path) as raw:
            self._stream(raw, found, _Budget(_allowance(found.size)))
        return found

    def file(self, path: Path) -> Found:
        """The search of a file's content, and of the rows of a database.

        A hit in a page that is the copy of a row's cell, in its table, an index or the log, is told once: as that cell.
        """
        found = self.content(path)
        if found.head.startswith(_SQLITE):
            size = int.from_bytes(found.head[16:18], "big")
            layout = _Layout(size=65536 if size == 1 else size or 512, reserved=found.head[20])
            cells = self._cells(path, found)
            self._fold(path, found, layout, cells)
            found.add(hit for hits in cells.values() for hit in hits)
        elif path.name.endswith(_LOG) and found.head.startswith(_LOGS) and len(found.head) >= 32:
            layout = _Layout(size=int.from_bytes(found.head[8:12], "big"), start=32, before=24)
            database = path.with_name(path.name.removesuffix(_LOG))
            if found.hits and database.is_file():
                self._fold(path, found, layout, self._cells(database, Found()))
        else:
            return found
        found.pages = (found.size - layout.start) // (layout.size + layout.before)
        return found

    def _stream(self, raw: BinaryIO, found: Found, budget: _Budget, depth: int = 0) -> None:
        """Searches a stream to its end, and whatever is packed in it."""
        tap = _Tap(raw, self, budget if depth else None, "unpacked" if depth else "")
        stream = io.BufferedReader(tap, _CHUNK)
        try:
            head = stream.peek(_HEAD)
            if not depth:
                found.head = head[:100]
            if depth < DEPTH:
                self._unpack(stream, head, raw, found, budget, depth)
            elif _packing(head):
                found.unread.append(f"packed more than {DEPTH} times")
        except (*_DAMAGED, pa.ArrowException):
            found.unread.append("damaged or encrypted")
        try:
            while stream.read(_CHUNK):
                pass
        except (*_DAMAGED, pa.ArrowException):
            found.unread.append("damaged or encrypted")
        found.add(tap.finish())
        if tap.digest in self.digests:
            found.add([Hit(needle=b"", offset=0, where="copy")])

    def _unpack(
        self, stream: io.BufferedReader[_Tap], head: bytes, raw: BinaryIO, found: Found, budget: _Budget, depth: int
    ) -> None:
        kind = _packing(head)
        try:
            if kind in _STREAMS:
                with closing(_STREAMS[kind](cast(BinaryIO, stream))) as inner:
                    self._stream(inner, found, budget, depth + 1)
            elif kind == b"ustar":
                self._tar(stream, found, budget, depth)
            elif kind == _NPY:
                self._windows(array_values(cast(BinaryIO, stream)), found, budget)
            elif kind is not None:
                self._seekable(kind, stream, raw, found, budget, depth)
        except _TooLargeError:
            if depth:
                raise
            found.unread.append("unpacks to more than is read")

    def _tar(self, stream: io.BufferedReader[_Tap], found: Found, budget: _Budget, depth: int) -> None:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                inner = archive.extractfile(member) if member.isreg() else None
                if inner is not None:
                    self._stream(cast(BinaryIO, inner), found, budget, depth + 1)

    def _seekable(
        self, kind: bytes, stream: io.BufferedReader[_Tap], raw: BinaryIO, found: Found, budget: _Budget, depth: int
    ) -> None:
        """A zip, Parquet or Arrow file: read from the disk where it lies there, else from memory."""
        if depth or not raw.seekable():
            content = stream.read(_IN_MEMORY)
            if stream.peek(1):
                raise _TooLargeError
            file: BinaryIO = io.BytesIO(content)
        else:
            while stream.read(_CHUNK):
                pass
            file = raw
        try:
            self._inside(kind, file, found, budget, depth)
        finally:
            if file is raw:
                raw.seek(0, io.SEEK_END)  # else the rest of it would be hashed a second time

    def _inside(self, kind: bytes, file: BinaryIO, found: Found, budget: _Budget, depth: int) -> None:
        if kind in (b"PAR1", _ARROW):
            self._windows(parquet_values(file) if kind == b"PAR1" else arrow_values(file), found, budget)
            return
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                found.add(self.hits(info.filename.encode() + b"\x00" + info.comment, where="unpacked"))
                with archive.open(info) as inner:
                    self._stream(cast(BinaryIO, inner), found, budget, depth + 1)

    def _windows(self, windows: Iterable[tuple[bytes, bool]], found: Found, budget: _Budget) -> None:
        """Searches what is decoded, each piece with whether its values are adjoined."""
        offset = 0
        for window, is_adjoined in windows:
            budget.spend(len(window))
            found.add(self.hits(window, where="unpacked", offset=offset, is_adjoined=is_adjoined))
            offset += len(window)

    def _cells(self, path: Path, found: Found) -> dict[Cell, list[Hit]]:
        """The hits in rows as SQLite reads them, by cell: a long value is in several pages."""
        cells: dict[Cell, list[Hit]] = {}
        try:
            for row in read_rows(path):
                if self.find(b"\x00".join(cell.value for cell in row)):
                    for cell in row:
                        hits = [replace(hit, cell=cell) for hit in self.hits(cell.value, where="rows")]
                        if hits:
                            found.note(cell)
                        if hits and len(cells) <= _MOST_HITS:
                            cells[cell] = hits
        except (sqlite3.Error, UnicodeDecodeError):
            found.unread.append("a damaged or locked database, whose pages were searched but not its rows")
        return cells

    def _fold(self, path: Path, found: Found, layout: _Layout, cells: Mapping[Cell, Sequence[Hit]]) -> None:
        """Leaves out the hits in pages that are copies of these cells."""
        raw = [hit for hit in found.hits if hit.where == ""]
        if not raw or not cells:
            return
        by_row: dict[int | None, list[Cell]] = {}
        for cell in cells:
            by_row.setdefault(cell.rowid, []).append(cell)
        pages_read = layout.read(path, {layout.page_of(hit.offset) for hit in raw})

        def is_copy(hit: Hit) -> bool:
            number, at = layout.page_of(hit.offset), layout.within(hit.offset)
            page, is_first = pages_read.get(number, (b"", False))
            stored = value_at(page, at, reserved=layout.reserved, is_first=is_first) if at >= 0 else None
            if stored is None or at + len(hit.needle) > stored.start + len(stored.value):
                return False
            place = (hit.needle, at - stored.start)
            return any(
                stored.is_copy_of(cell) and place in {(one.needle, one.offset) for one in cells[cell]}
                for cell in by_row.get(stored.rowid, ())
            )

        copies = {id(hit) for hit in raw if is_copy(hit)}
        found.hits = [hit for hit in found.hits if id(hit) not in copies]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the pages of a database file, or of its write-ahead log, begin."""

    size: int
    reserved: int = 0
    start: int = 0
    before: int = 0  # bytes before each page: the header of a frame of the log, which begins with the page's number

    def page_of(self, offset: int) -> int:
        """The place among the pages of the one that a byte is in."""
        return (offset - self.start) // (self.size + self.before)

    def within(self, offset: int) -> int:
        """The place of a byte in its page; negative outside of pages."""
        return (offset - self.start) % (self.size + self.before) - self.before if offset >= self.start else -1

    def read(self, path: Path, numbers: Collection[int]) -> dict[int, tuple[bytes, bool]]:
        """Pages by their place, each with whether it is the first of the database."""
        found: dict[int, tuple[bytes, bool]] = {}
        with _opened(path) as raw, io.BufferedReader(cast(io.RawIOBase, raw), _CHUNK) as stream:
            stream.read(self.start)
            number = 0
            while frame := stream.read(self.before + self.size):  # to the end: a child that reads it would fail else
                if number in numbers:
                    is_first = int.from_bytes(frame[:4], "big") == 1 if self.before else number == 0
                    found[number] = frame[self.before :], is_first
                number += 1
        return found


def _compiled(needles: Sequence[bytes]) -> hyperscan.Database | None:
    """What finds any of the needles, each told once a piece by its place among them; None where there are none."""
    if not needles:
        return None
    spelt = [b"".join(b"\\x%02x" % byte for byte in needle) for needle in needles]  # literals would end at a null byte
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = [hyperscan.HS_FLAG_SINGLEMATCH] * len(spelt)
    database.compile(expressions=spelt, ids=list(range(len(spelt))), elements=len(spelt), flags=flags)
    database.scratch = hyperscan.Scratch(database)
    return database


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes. What may be a database that this process has open, by its name or another, is read by a child."""
    if not _DATABASE.search(path.resolve().name) and path.stat().st_nlink == 1:
        with path.open("rb") as raw:
            yield raw
        return
    cat = shutil.which("cat")
    command = [cat, "--"] if cat else [sys.executable, "-I", "-S", "-c", _COPY]
    with subprocess.Popen([*command, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as child:
        assert child.stdout is not None
        yield cast(BinaryIO, child.stdout)
    if child.returncode:
        path.stat()  # raises where it is gone
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, which may be a database that this process has open."""
    with _opened(path) as raw:
        digest = hashlib.sha256()
        while chunk := raw.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class _TooLargeError(Exception):
    """What is unpacked goes on longer than it may."""


class _Budget:
    """How many bytes a file may unpack to, over all that is packed in it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooLargeError


def _allowance(size: int) -> int:
    """The bytes that are read of a file of that size, itself and unpacked: a bomb's end is not waited for."""
    return max(1 << 30, 100 * size)


class _Tap(io.RawIOBase):
    """A stream that is searched, and hashed where that is asked for, as it is read."""

    def __init__(self, raw: BinaryIO, search: Search, budget: _Budget | None, where: Where) -> None:
        self._raw, self._search, self._budget, self._where = raw, search, budget, where
        self._tail, self._hash = b"", hashlib.sha256() if search.digests else None
        self._read, self._judged = 0, 0  # bytes read; up to which byte a hit and what follows it were seen
        self._is_adjoined = False
        self._hits: list[Hit] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._raw.read(len(buffer))
        if self._budget is not None:
            self._budget.spend(len(chunk))
        if self._hash is not None:
            self._hash.update(chunk)
        if chunk:
            if not self._read:
                self._is_adjoined = chunk.startswith((_SQLITE, *_LOGS))
            self._tail += chunk
            self._read += len(chunk)
            self._judge(self._read - CONTEXT)
            self._tail = self._tail[max(0, len(self._tail) - self._search.overlap - 2 * CONTEXT - 1) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def finish(self) -> list[Hit]:
        """All hits, once the stream was read to its end or as far as it goes."""
        self._judge(self._read)
        return self._hits

    def _judge(self, upto: int) -> None:
        """Keeps the hits that end after those judged before and by `upto`: what follows them was read, too."""
        base = self._read - len(self._tail)
        for needle, start in self._search.occurrences(self._tail, is_adjoined=self._is_adjoined):
            if self._judged < base + start + len(needle) <= upto and len(self._hits) <= _MOST_HITS:
                self._hits.append(hit_at(self._tail, needle, start, where=self._where, offset=base))
        self._judged = max(self._judged, upto)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest() if self._hash is not None else ""


def hit_at(window: bytes, needle: bytes, start: int, *, where: Where, offset: int = 0) -> Hit:
    """The hit of a needle in a piece of memory that begins at `offset` of what it is a piece of."""
    end = start + len(needle)
    before, after = window[max(0, start - CONTEXT) : start], window[end : end + CONTEXT]
    return Hit(needle=needle, offset=offset + start, before=before, after=after, where=where)


def _is_word(window: bytes, start: int, end: int, width: int) -> bool:
    """Whether what is at [start, end) is a word there, and not part of a longer one or of a number."""
    step = abs(width)
    at = 1 if width == -2 else 0  # where in a character of UTF-16 the byte is that tells it
    first, last = window[start + at : start + at + 1], window[end - step + at : end - step + at + 1]
    before = window[start - step : start] if start >= step else b""
    if _alike(first, _character(before, width)) and not _ESCAPE.search(window, max(0, start - 6), start):
        return False
    if _alike(last, _character(window[end : end + step], width)):
        return False
    return not (width == 1 and window[start:end].isdigit() and _in_digest(window, start, end))


def _character(unit: bytes, width: int) -> bytes:
    """The ASCII character of one unit of a text; nothing for another, or for none."""
    if abs(width) == 2:
        character, other = (unit[:1], unit[1:]) if width == 2 else (unit[1:], unit[:1])
        return character if other == b"\x00" else b""
    return unit


def _alike(edge: bytes, neighbour: bytes) -> bool:
    return (edge.isdigit() and neighbour.isdigit()) or (edge.isalpha() and neighbour.isalpha())


def _in_digest(window: bytes, start: int, end: int) -> bool:
    """Whether a decimal number is in a row of hexadecimal digits that is too long to be anything but a digest or an id."""
    low = start
    while low > 0 and start - low < _HEX_RUN and _HEX.match(window, low - 1, low):
        low -= 1
    run = _HEX.match(window, low, end + _HEX_RUN)
    return run is not None and run.end() - low >= _HEX_RUN


class _Borrowed:
    """A stream that its reader may not close."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read

    def close(self) -> None:
        """Leaves the stream open."""


def _packing(head: bytes) -> bytes | None:
    """What a stream that begins so is packed as, if it is."""
    if head[257:262] == b"ustar":
        return b"ustar"
    return next((magic for magic in (*_STREAMS, b"PK\x03\x04", b"PAR1", _ARROW, _NPY) if head.startswith(magic)), None)
