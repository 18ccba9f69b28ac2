"""The search for identifiers that are too short, or too common a word, to be looked for in all bytes.

They are looked for where they mean something: in names of files, in text columns and cells, in the texts of JSON, and in text
files; as whole words, and not as a number that the workbench wrote. What is not searched is said on the certificate.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workbench import lineage
from workbench.data import catalog
from workbench.erasure.byte_scan import Finding
from workbench.search import Hit, Search, hit_at
from workbench.workspace import Workspace

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
_MOST_BYTES = 64 << 20  # of a file that is read as text; a larger one is named as not searched
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
                            yield Finding(file="state.db", hit=hit, needles=frozenset([needle]))


def scan_short(workspace: Workspace, identifiers: Collection[bytes]) -> tuple[list[Finding], list[str]]:
    """Where short identifiers are a whole word, and the files that could not be read."""
    if not identifiers:
        return [], []
    search, found, unread = Search(dict.fromkeys(identifiers, 1)), [], []
    with workspace.engine.connect() as connection:
        artifacts = lineage.find(connection)
    ids = {name for a in artifacts for name in (a.id, str(a.body.get("ensemble", ""))) if _RANDOM.search(name)}
    for path in sorted(workspace.root.rglob("*")):
        place = path.relative_to(workspace.root).as_posix()
        found += [_finding(place, hit) for hit in _words(search, _without(place, ids), where="name")]
        try:
            values = _values(path) if path.is_file() else ()
            for value in values:
                found += [_finding(place, hit) for hit in _words(search, _without(value, ids), where="rows")]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, sqlite3.Error, pa.ArrowException) as fault:
            unread.append(f"{place}: its texts can't be read ({type(fault).__name__})")
    return found, unread


def _finding(place: str, hit: Hit) -> Finding:
    return Finding(file=place, hit=hit, needles=frozenset([hit.needle]))


def _without(text: str, ids: Iterable[str]) -> bytes:
    for name in ids:
        text = text.replace(name, " " * len(name))
    return text.encode(errors="surrogateescape")


def _words(search: Search, window: bytes, *, where: Any) -> Iterator[Hit]:
    for hit in search.hits(window, where=where):
        before, after = hit.before[-2:], hit.after[:2]
        alone = not before[-1:].isalnum() and not after[:1].isalnum()
        decimal = re.fullmatch(rb"\d\.", before) or re.fullmatch(rb"\.\d", after)
        if alone and not (decimal and hit.needle.isdigit()):
            yield hit


def _values(path: Path) -> Iterator[str]:
    """The texts that a file holds, where it is of a kind that holds any."""
    ending = path.suffix.lower()
    if ending == ".db":
        yield from _cells(path)
    elif ending == ".parquet":
        yield from _columns(path)
    elif ending in (*_TEXT, *_JSON):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        yield from _texts(text) if ending in _JSON or text.lstrip().startswith(("{", "[")) else [text]


def _texts(text: str) -> Iterator[str]:
    """The texts in JSON, or in lines of it; numbers are not texts. What is no JSON is one text."""
    try:
        yield from _strings(json.loads(text))
    except (ValueError, RecursionError):
        for line in text.splitlines():
            try:
                yield from _strings(json.loads(line))
            except (ValueError, RecursionError):
                yield line


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _cells(path: Path) -> Iterator[str]:
    """The texts in a database; in MLflow's a text that is a number is a setting."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute('SELECT * FROM "' + table.replace('"', '""') + '"'):
                for cell in row:
                    if isinstance(cell, str) and not (path.name == "mlflow.db" and cell.isdigit()):
                        yield from _texts(cell) if cell.startswith(("{", "[")) else [cell]


def _columns(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as table:
        names = [field.name for field in table.schema_arrow if any(kind(field.type) for kind in _ROWS)]
        for batch in table.iter_batches(65536, columns=names) if names else ():
            for column in batch.columns:
                with suppress(pa.ArrowException):
                    yield from (str(value) for value in column.unique().to_pylist() if value is not None)
