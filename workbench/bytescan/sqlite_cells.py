"""The cells of a SQLite database: as SQLite reads them, and as its pages hold them (sqlite.org/fileformat2.html).

A text of a row is in the page of its table, and again in those of its indexes. Only a page that is parsed shows where such a
copy begins and ends, and of which row it is.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
_NO_ROOM = {  # SQLite could not write the index that it keeps beside a database
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # bytes of a value by its serial type; texts and blobs come after these


class Text(bytes):
    """A value that SQLite keeps as text; a blob is plain bytes."""


@dataclass(frozen=True)
class Cell:
    """One value of one row: of which table and column, by which key, and with which other texts beside it."""

    table: str
    column: str
    row: bytes
    value: bytes
    rowid: int | None = None
    beside: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Stored:
    """A value as a page holds it, as far as it is in that page: where it begins, of which row, and the row's other texts."""

    value: bytes
    start: int
    is_whole: bool
    rowid: int
    beside: frozenset[bytes]

    def is_copy_of(self, cell: Cell) -> bool:
        """Whether this is that cell's value in that cell's row."""
        same = self.value == cell.value if self.is_whole else cell.value.startswith(self.value)
        return same and self.rowid == cell.rowid and self.beside <= cell.beside


def read_rows(path: Path) -> Iterator[list[Cell]]:
    """Yield the texts and blobs of each row of every table, with the row's primary key, or else its number.

    Raises OSError where the disk has no room for the index that SQLite writes beside a database, sqlite3.Error where it
    can't be read.
    """
    with (
        _disk_faults(),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection,
    ):
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = Text  # text that is not UTF-8 is searched too
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            name = table.decode().replace('"', '""')
            columns = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
            keys = [number for number, column in enumerate(columns) if column[5]]
            try:
                rows = connection.execute(f'SELECT *, _rowid_ FROM "{name}"')
            except sqlite3.OperationalError:  # a table without row numbers
                rows = connection.execute(f'SELECT *, NULL FROM "{name}"')
            for row in rows:
                yield _cells(table.decode(), [column[1].decode() for column in columns], keys, row)


@contextmanager
def _disk_faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as fault:
        if getattr(fault, "sqlite_errorcode", None) in _NO_ROOM:  # faults of the module itself have no code
            raise OSError(errno.ENOSPC, "no room for the index that SQLite writes beside a database") from fault
        raise


def _cells(table: str, columns: list[str], keys: list[int], row: tuple[object, ...]) -> list[Cell]:
    *values, rowid = row
    key = repr([values[number] for number in keys] if keys else rowid).encode()
    texts = frozenset(value for value in values if isinstance(value, bytes))
    return [
        Cell(table, column, key, value, rowid if isinstance(rowid, int) else None, texts)
        for column, value in zip(columns, values, strict=False)
        if isinstance(value, bytes) and len(value) > 1
    ]


def value_at(page: bytes, at: int, *, reserved: int = 0, is_first: bool = False) -> Stored | None:
    """Return the value that a page of a table or an index holds at a byte; None where no live row of it is there."""
    try:
        return _value_at(page, at, len(page) - reserved, 100 if is_first else 0)
    except IndexError:  # no page of rows
        return None


def _value_at(page: bytes, at: int, usable: int, header: int) -> Stored | None:
    kind = page[header]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
        return None
    pointers = header + (12 if kind == _INDEX_INTERIOR else 8)
    for number in range(_integer(page, header + 3)):
        start = _integer(page, pointers + 2 * number) + (4 if kind == _INDEX_INTERIOR else 0)
        size, body = _varint(page, start)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, body = _varint(page, body)
        end = body + _local(size, usable, is_table=kind == _TABLE_LEAF)
        if start <= at < end <= usable:
            return _record(page, body, end, at, rowid, is_cut=end - body < size)
    return None


def _record(page: bytes, body: int, end: int, at: int, rowid: int | None, *, is_cut: bool) -> Stored | None:
    """The value at a byte of one record; the last value of an index's record is the row's number."""
    size, place = _varint(page, body)
    types = []
    while place < body + size:
        kind, place = _varint(page, place)
        types.append(kind)
    place, found, texts = body + size, None, set()
    for kind in types:
        length = _SIZES[kind] if kind < len(_SIZES) else (kind - 12) // 2
        value = page[place : min(place + length, end)]
        if place <= at < place + length:
            found = value, place, place + length <= end
        if kind >= 12 and place + length <= end:
            texts.add(value)
        place += length
    if rowid is None and types and not is_cut:
        rowid = _number(types[-1], page[place - (_SIZES[types[-1]] if types[-1] < len(_SIZES) else 0) : place])
    if found is None or rowid is None:
        return None
    return Stored(*found, rowid=rowid - (1 << 64) if rowid >= 1 << 63 else rowid, beside=frozenset(texts))


def _number(kind: int, value: bytes) -> int | None:
    return kind - 8 if kind in (8, 9) else int.from_bytes(value, "big", signed=True) if 1 <= kind <= 6 else None


def _local(size: int, usable: int, *, is_table: bool) -> int:
    """How many bytes of a record are in its page; the rest is in others."""
    most = usable - 35 if is_table else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (usable - 12) * 32 // 255 - 23
    kept = least + (size - least) % (usable - 4)
    return kept if kept <= most else least


def _integer(page: bytes, at: int) -> int:
    return page[at] << 8 | page[at + 1]


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(9):
        byte = page[at + number]
        if number == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    raise AssertionError("nine bytes at most")
