"""The values of files of columns and arrays, as pieces to be searched.

Where a file holds values side by side none is a word by what is beside it: they are decoded, with a null byte between them.
Each piece comes with whether its values are adjoined still.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from workbench.bytescan.parquet_pages import pages
from workbench.later import Later

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:  # commands that search nothing need none of it
    pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

Piece = tuple[bytes, bool]
_SPELT_OUT = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}  # encodings that keep values whole
_FIXED = "FIXED_LEN_BYTE_ARRAY"  # its values have no length before them
_ROWS = 65536
_MOST_HEADER = 1 << 20


def parquet_values(file: BinaryIO) -> Iterator[Piece]:
    """Yield the pages of a Parquet file unpacked, dictionaries included, and decoded the columns whose pages adjoin values."""
    file.seek(0)
    with pq.ParquetFile(file, memory_map=False, pre_buffer=False) as table:
        metadata = table.metadata
        for number in range(metadata.num_row_groups):
            names = set()
            for index in range(metadata.num_columns):
                column = metadata.row_group(number).column(index)
                is_fixed = column.physical_type == _FIXED
                yield from ((page, is_fixed) for page in pages(file, column))
                if is_fixed or set(column.encodings) - _SPELT_OUT:
                    names.add(column.path_in_schema.partition(".")[0])
            if names:
                for batch in table.iter_batches(_ROWS, row_groups=[number], columns=sorted(names), use_threads=False):
                    for values in batch.columns:
                        yield from _values(values)


def arrow_values(file: BinaryIO) -> Iterator[Piece]:
    """Yield the columns of an Arrow (Feather) file, decoded."""
    file.seek(0)
    with pa.ipc.open_file(file) as table:
        for number in range(table.num_record_batches):
            for column in table.get_batch(number).columns:
                yield from _values(column)


def array_values(stream: BinaryIO) -> Iterator[Piece]:
    """Yield the texts of a NumPy array; nothing of numbers, whose bytes are searched as they are."""
    version = stream.read(8)[6:7]
    size = int.from_bytes(stream.read(2 if version == b"\x01" else 4), "little")
    if size > _MOST_HEADER:
        raise ValueError("an array whose header is too long")
    try:
        header = ast.literal_eval(stream.read(size).decode())
        kind = np.lib.format.descr_to_dtype(header["descr"])
    except (SyntaxError, TypeError, KeyError, RecursionError) as fault:
        raise ValueError("an array without a header") from fault
    if kind.hasobject or not any(part.kind in "SU" for part in _parts(kind)):
        return
    while content := stream.read(kind.itemsize * _ROWS):
        yield from _texts(np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], dtype=kind))


def _parts(kind: np.dtype[Any]) -> Iterator[np.dtype[Any]]:
    """The kinds of the fields of a structured array, or its own."""
    kind = kind.base
    if kind.fields is None:
        yield kind
    else:
        for field, *_ in kind.fields.values():
            yield from _parts(field)


def _texts(array: np.ndarray[Any, Any]) -> Iterator[Piece]:
    for name in array.dtype.names or ():
        yield from _texts(array[name].reshape(-1))
    if array.dtype.kind == "S":
        yield b"\x00".join(array.tolist()), False
    elif array.dtype.kind == "U":
        yield "\x00".join(array.tolist()).encode(errors="surrogatepass"), False


def _values(column: pa.Array) -> Iterator[Piece]:
    """The values of a column, of what it nests, and of its dictionary; numbers as they are in memory."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        yield from _values(column.storage)
    elif isinstance(column, pa.DictionaryArray):
        yield from _values(column.dictionary)
    elif pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _values(column.field(number))
    elif pa.types.is_map(kind):
        yield from _values(column.keys)
        yield from _values(column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _values(column.values)
    elif _is_text(kind):
        texts = column.cast(pa.large_binary()).to_pylist()
        yield b"\x00".join(text for text in texts if text is not None), False
    else:
        yield from ((buffer.to_pybytes(), False) for buffer in column.buffers() if buffer is not None)


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    views = (pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in (*tests, *views)) and not pa.types.is_decimal(kind)
