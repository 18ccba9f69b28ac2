"""The search for identifiers that are too short, or too common a word, to be looked for in all bytes.

They are looked for where they mean something: in names of files, in text columns and cells, in the texts of JSON, and in text
files; as whole words, and not as a number that the workbench wrote. What is not searched is said on the certificate.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from workbench.bytescan.archives import Found, Hit, Search, hit_at
from workbench.bytescan.folders import Unread, unread_file
from workbench.bytescan.sqlite_cells import Cell, Text, read_rows
from workbench.data import catalog
from workbench.erasure.byte_scan import Finding
from workbench.erasure.json_texts import parsed
from workbench.errors import has_no_room
from workbench.state import lineage
from workbench.state.workspace import Workspace

SHORT = (
    "bytes, and numbers of the workbench's records, for an identifier of 5 to 7 characters: it was searched as a whole word in "
    "names of files, text columns, cells, JSON texts and text files"
)
COMMON = (
    "bytes and texts for an identifier that is a word of the workbench or of a public schema: it was searched as request id "
    "and as the name of who acted"
)
_TEXT = (".csv", ".tsv", ".txt", ".log", ".md", ".yaml", ".yml")
_JSON = (".json", ".jsonl")
_MOST_BYTES = 64 << 20  # of a JSON file whose texts are told from its numbers; in a larger one both are searched
_WORD = re.compile(rb"[A-Za-z][A-Za-z_.-]*")
_RANDOM = re.compile(r"-\d{5,7}\Z")  # an id whose random ending is made of digits alone
_ROWS = pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary


def is_common(workspace: Workspace, identifier: bytes) -> bool:
    """Whether an identifier is a word of the workbench, of its databases or of a public schema, and so in every workspace.

    Only letters make a word: a number or an address is somebody's, wherever else it is written.
    """
    if not _WORD.fullmatch(identifier):
        return False
    word = re.compile(rb"(?<![A-Za-z0-9])" + re.escape(identifier) + rb"(?![A-Za-z0-9])")
    return any(word.search(text) for text in (_vocabulary(), *_declared(workspace)))


@lru_cache(maxsize=1)
def _vocabulary() -> bytes:
    root = Path(__file__).parents[1]
    return b"\n".join(path.read_bytes() for path in sorted(root.rglob("*.py")))


def _declared(workspace: Workspace) -> Iterator[bytes]:
    with workspace.engine.connect() as connection:
        for name in catalog.names(connection):
            yield json.dumps(
                catalog.entry(connection, name).schema.model_dump(mode="json"), ensure_ascii=False
            ).encode()
    for name in ("state.db", "mlflow.db"):
        path = workspace.root / name
        if path.is_file():
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as raw:
                yield "\n".join(str(sql) for (sql,) in raw.execute("SELECT sql FROM sqlite_master")).encode()


def scan_common(workspace: Workspace, identifiers: Collection[bytes]) -> Iterator[Finding]:
    """Where a common word is the id of a request or the name of somebody who acted, before names were kept apart."""
    cells = {"requests": "id", "journal": "actor"}
    if identifiers:
        with workspace.engine.connect() as connection:
            for table, column in cells.items():
                for (value,) in connection.exec_driver_sql(f"SELECT DISTINCT {column} FROM {table}"):
                    text = value.encode()
                    for needle in identifiers:
                        if needle in (text, text.partition(b":")[2]):
                            hit = hit_at(text, needle, text.find(needle), where="rows")
                            cell = Cell(table=table, column=column, row=b"", value=text)
                            yield _finding("state.db", replace(hit, cell=cell))


def scan_short(workspace: Workspace, identifiers: Collection[bytes]) -> tuple[list[Finding], list[Unread]]:
    """Where short identifiers are a whole word, and the files that could not be read to their end."""
    if not identifiers:
        return [], []
    search = Search(dict.fromkeys(identifiers, 1))
    findings: list[Finding] = []
    unread: list[Unread] = []
    with workspace.engine.connect() as connection:
        artifacts = lineage.find(connection)
    ids = {name for a in artifacts for name in (a.id, str(a.body.get("ensemble", ""))) if _RANDOM.search(name)}
    for path in sorted(workspace.root.rglob("*")):
        place = path.relative_to(workspace.root).as_posix()
        hits = list(search.hits(os.fsencode(place), where="name"))
        found = Found()
        try:
            found = _searched(search, path) if path.is_file() else found
        except FileNotFoundError:
            continue
        except (OSError, ValueError, sqlite3.Error, pa.ArrowException) as fault:
            if isinstance(fault, OSError) and has_no_room(fault):
                raise
            found.unread.append(f"its texts can't be read ({type(fault).__name__})")
        findings += [_finding(place, hit) for hit in (*hits, *found.hits) if _is_alone(hit, ids)]
        if found.unread:
            unread.append(unread_file(path, place, found))
    return findings, unread


def _finding(place: str, hit: Hit) -> Finding:
    return Finding(file=place, hit=hit, needles=frozenset([hit.needle]))


def _is_alone(hit: Hit, ids: Collection[str]) -> bool:
    """Whether a hit is a whole word, and neither a decimal fraction nor the random ending of an artifact's id."""
    before, after = hit.before[-2:], hit.after[:2]
    decimal = re.fullmatch(rb"\d\.", before) or re.fullmatch(rb"\.\d", after)
    if before[-1:].isalnum() or after[:1].isalnum() or (decimal and hit.needle.isdigit()):
        return False
    ends = [name.encode().removesuffix(hit.needle)[-len(hit.before) :] for name in ids if name.endswith(_text(hit))]
    return not any(hit.before.endswith(end) for end in ends if end)


def _text(hit: Hit) -> str:
    return hit.needle.decode(errors="surrogateescape")


def _searched(search: Search, path: Path) -> Found:
    """The search of the texts that a file holds, where it is of a kind that holds any; no file is too large."""
    ending = path.suffix.lower()
    if ending in _TEXT and not _begins_as_json(path):
        return search.content(path)
    if ending in (*_TEXT, *_JSON) and path.stat().st_size > _MOST_BYTES:
        return search.content(path)
    found = Found()
    for cell in _texts(path, ending):
        hits = [replace(hit, cell=cell) for hit in search.hits(cell.value, where="rows")]
        if hits:
            found.note(cell)
            found.add(hits)
    return found


def _begins_as_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).lstrip().startswith((b"{", b"["))


def _texts(path: Path, ending: str) -> Iterator[Cell]:
    """The texts in a database, a Parquet file or JSON, each with its place."""
    if ending == ".db":
        yield from _cells(path)
    elif ending == ".parquet":
        yield from _columns(path)
    elif ending in (*_TEXT, *_JSON):
        yield from _inside(path.read_text(encoding="utf-8", errors="surrogateescape"))


def _inside(text: str, table: str = "", column: str = "", row: bytes = b"") -> Iterator[Cell]:
    for place, inner in parsed(text):
        value = inner.encode(errors="surrogateescape")
        yield Cell(table=table, column=column, row=row + repr(place).encode(), value=value)


def _cells(path: Path) -> Iterator[Cell]:
    """The texts in a database; in MLflow's a text that is a number is a setting."""
    for row in read_rows(path):
        for cell in row:
            if not isinstance(cell.value, Text) or (path.name == "mlflow.db" and cell.value.isdigit()):
                continue
            if cell.value.startswith((b"{", b"[")):
                text = cell.value.decode(errors="surrogateescape")
                yield from _inside(text, cell.table, cell.column, cell.row)
            else:
                yield cell


def _columns(path: Path) -> Iterator[Cell]:
    with pq.ParquetFile(path) as table:
        names = [field.name for field in table.schema_arrow if any(kind(field.type) for kind in _ROWS)]
        for number, batch in enumerate(table.iter_batches(65536, columns=names) if names else ()):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                with suppress(pa.ArrowException):
                    for count in column.value_counts().to_pylist():
                        if count["values"] is not None:
                            row = repr((number, count["counts"])).encode()
                            value = str(count["values"]).encode(errors="surrogateescape")
                            yield Cell(table="", column=name, row=row, value=value)
