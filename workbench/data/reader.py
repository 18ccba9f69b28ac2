"""Reads tables of any size from CSV (also gzipped) and Parquet in chunks, or says what is wrong with them."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from workbench.errors import InputError

CHUNK_ROWS = 65_536
MOST_COLUMNS = 10_000
_BLOCK = 1 << 22  # bytes that Arrow reads at a time, and so the longest cell
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


class _NoRowsError(InputError):
    """A table names its columns and has no rows."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


def read_chunks(
    path: Path, columns: Sequence[str] | None = None, *, may_be_empty: bool = False
) -> Iterator[pd.DataFrame]:
    """Frames of at most CHUNK_ROWS rows; CSV cells come as text. `columns` are required and the only ones read.

    Raises InputError where the file is missing, of another format, empty, ragged, too wide, repeats a column or lacks one.
    Where it `may_be_empty`, a table without rows is one frame without rows: a private reader must not take another path for
    nobody than for one person.
    """
    require_table(path)
    try:
        batches = _parquet(path, columns) if path.name.lower().endswith(".parquet") else _csv(path, columns)
        for batch in batches:
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                # pandas' own metadata would make an index of a column
                yield batch.slice(start, CHUNK_ROWS).to_pandas(ignore_metadata=True)
    except _NoRowsError as nothing:
        if not may_be_empty:
            raise
        yield pd.DataFrame(columns=nothing.names, dtype=object)
    except (pa.ArrowException, OSError, ValueError) as error:  # what the damaged parts of a Parquet file raise
        # Arrow's own message may quote cells of the table
        empty = "Empty CSV" in str(error)
        raise InputError(
            f"{path} is empty" if empty else f"{path} is not a readable table: damaged, or not UTF-8 text"
        ) from None


def column_names(path: Path) -> list[str]:
    """The column names of a table file; raises as `read_chunks` does."""
    for chunk in read_chunks(path):
        return list(chunk.columns)
    return []


def header_of(path: Path) -> list[str] | None:
    """The column names in a CSV file's first line or a Parquet file's footer, whatever its rows are.

    None where they can't be had without its rows: the file is damaged, or a quote in the line does not end there. Raises
    InputError where there is no such file or the line names no columns.
    """
    require_table(path)
    try:
        if path.name.lower().endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        with pa.input_stream(str(path), compression="detect") as stream:
            lines = stream.read(1 << 20).splitlines()
    except (pa.ArrowException, OSError, ValueError):
        return None
    return None if not lines or lines[0].count(b'"') % 2 else _header(lines[0], path)


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, columns)
        if file.metadata.num_rows == 0:
            raise _NoRowsError(f"{path} has no rows", file.schema_arrow.names)
        yield from file.iter_batches(batch_size=CHUNK_ROWS, columns=list(columns) if columns is not None else None)


def _csv(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    ragged: list[int] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        ragged.append(row.number or 0)
        return "error"

    parsing = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse)
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            header = stream.read(1 << 20)
        names = _header(header, path)
        _check_columns(path, names, columns)
        converting = pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=False,
            include_columns=list(columns) if columns is not None else [],
        )
        reading = pacsv.ReadOptions(block_size=_BLOCK, use_threads=False)
        rows = 0
        with (
            pa.input_stream(str(path), compression="detect") as stream,
            pacsv.open_csv(stream, read_options=reading, parse_options=parsing, convert_options=converting) as batches,
        ):
            for batch in batches:
                rows += batch.num_rows
                yield batch
    except pa.ArrowInvalid:
        _refuse_open_quote(path)
        if ragged:
            where = f" (data row {ragged[0] - 2})" if ragged[0] > 1 else ""
            raise InputError(f"{path} is ragged: a row{where} has more or fewer cells than the header") from None
        raise
    except OSError:
        raise InputError(f"{path} cannot be decompressed: damaged or not gzip") from None
    _refuse_open_quote(path, rows)
    if not rows:
        raise _NoRowsError(f"{path} has a header but no rows", names)


def _refuse_open_quote(path: Path, rows: int = 0) -> None:
    """Raise InputError where a quote is missing, so that one cell took in rows of which `rows` does not know.

    Arrow accepts a quoted cell that never ends, and one that ends at a quote of a later row. Python's parser, which is slow,
    is asked only where the number of quotes is odd or a file of quotes has more lines than rows.
    """
    quotes = lines = 0
    with pa.input_stream(str(path), compression="detect") as stream:
        for chunk in iter(lambda: stream.read(1 << 22), b""):
            quotes += chunk.count(b'"')
            lines += max(chunk.count(b"\n"), chunk.count(b"\r"))
    if quotes % 2 or (quotes and lines > rows + 1):
        with pa.input_stream(str(path), compression="detect") as stream:
            if not _quotes_match(io.TextIOWrapper(io.BufferedReader(stream), "utf-8", "replace", newline="")):
                raise InputError(
                    f'{path} has a quoted cell that never ends or takes in later rows: its closing " is missing',
                    hint="correct that row; a quote within a quoted cell is written twice",
                )


def _quotes_match(lines: Iterable[str]) -> bool:
    """Return whether each quoted cell ends before the file, and each of several lines ends at a delimiter."""
    import csv

    reader = csv.reader(lines, strict=True)
    limit = csv.field_size_limit(_BLOCK)  # of the whole process
    try:
        while True:
            before = reader.line_num
            try:
                next(reader)
            except StopIteration:
                return True
            except csv.Error as fault:  # "expected after": text follows a closing quote, as in "5" inches
                if "expected after" not in str(fault) or reader.line_num > before + 1:
                    return False
    finally:
        csv.field_size_limit(limit)


def _header(start: bytes, path: Path) -> list[str]:
    """Column names from the first bytes of a CSV file, without a byte-order mark."""
    import csv

    try:
        if b"\0" in start[:4096]:  # UTF-16, most often
            raise UnicodeError
        text = start.decode("utf-8-sig", errors="ignore" if len(start) == 1 << 20 else "strict")
    except UnicodeError:
        raise InputError(f"{path} is not UTF-8 text", hint="convert it, for example with iconv") from None
    rows = csv.reader(text.splitlines(keepends=True))
    header = next(rows, None)
    if not header:
        raise InputError(f"{path} is empty")
    if len(header) == 1 and re.search("[;\t]", header[0]):
        raise InputError(f"{path} separates its columns by semicolons or tabs", hint="separate them by commas")
    return header


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str] | None) -> None:
    # A CSV file without a header has a person's cells where names should be: the message shows none of them
    if len(names) > MOST_COLUMNS:
        raise InputError(
            f"{path} has {len(names):,} columns; at most {MOST_COLUMNS:,} can be taken in", hint="split it"
        )
    times = Counter(names)
    repeated = [place for place, name in enumerate(names, start=1) if times[name] > 1]
    if repeated:
        raise InputError(f"{path} has several columns of one name, at places {repeated}", hint="rename them")
    absent = [name for name in columns or () if name not in names]
    if absent:
        known = {name.strip().casefold() for name in names}
        similar = [name for name in absent if name.strip().casefold() in known]
        raise InputError(
            f"{path} lacks the columns {absent} of the schema; it has {len(names)} columns",
            hint=f"{similar} differ in case or spaces only"
            if similar
            else "the first line of a CSV file names the columns; give columns that are not there no place in the schema",
        )


def estimate_rows(path: Path) -> int:
    """About how many rows a table file has, for progress: exact for Parquet, from the first megabyte of a CSV."""
    require_table(path)
    try:
        if path.name.lower().endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                return int(file.metadata.num_rows)
        with path.open("rb") as raw:
            plain = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
            lines = plain.read(1 << 20).count(b"\n")
            return lines * path.stat().st_size // max(raw.tell(), 1)
    except (pa.ArrowException, OSError, ValueError, EOFError, zlib.error):
        raise InputError(f"{path} is not a readable table: damaged, or of another format than its name says") from None


def require_table(path: Path) -> None:
    """Raises InputError, without opening it, where there is no file or its name ends in none of the formats."""
    if not path.is_file():
        raise InputError(f"no file at {path}")
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{path} is not a table the workbench reads", hint=f"endings: {', '.join(_SUFFIXES)}")
