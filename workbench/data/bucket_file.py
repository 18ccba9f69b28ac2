"""The bytes of a bucket file: records as typed Parquet columns, named by their SHA-256, which a keyed seal makes unguessable.

The seal is an HMAC of the records under a key of the workspace, kept inside the file. Without it a digest that outlives its
file would confirm a guess of the file's records; with it a digest says nothing without the key, and readers need no key.
"""

from __future__ import annotations

import hmac
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.identity import TOKEN_BYTES, Points
from workbench.schema import Codec, Schema
from workbench.schema.codec import Values
from workbench.schema.column import Column

TOKEN, POINT, SLICE = "__token", "__point", "__slice"
_PLACES = (TOKEN, POINT, SLICE)
_SEAL = b"seal"
_DICTIONARY_ROWS = 8192  # from which on the page of a dictionary costs a scan less than the bytes that it saves
_INTEGERS = (pa.uint8(), pa.int8(), pa.uint16(), pa.int16(), pa.uint32(), pa.int32(), pa.int64())
_NAN = np.array(np.nan).view(np.uint64)


def seal_key(placement_key: bytes) -> bytes:
    """Return the key of the seals of a workspace."""
    return hmac.digest(placement_key, b"seal of bucket files\x00", "sha256")


def token_array(tokens: Iterable[bytes]) -> pa.Array:
    """Return tokens as an Arrow array of fixed-size binary."""
    joined = b"".join(tokens)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(TOKEN_BYTES), len(joined) // TOKEN_BYTES, [None, pa.py_buffer(joined)]
    )


def records_table(
    tokens: pa.Array, points: Points, slice_points: Points, values: Values, names: Collection[str]
) -> pa.Table:
    """Return records as a table of encoded values, float64."""
    columns = {TOKEN: tokens, POINT: pa.array(points), SLICE: pa.array(slice_points)}
    return pa.table(columns | {name: pa.array(values[:, i]) for i, name in enumerate(names)})


def stored_type(column: Column) -> pa.DataType:
    """Return the narrowest type that holds every encoded value of a column's domain."""
    if column.is_coded:
        low, high = 0.0, float(column.cells - 1)
    elif column.kind == "integer":
        low, high = column.low, column.high
    elif column.kind == "datetime":
        low, high = 0.0, column.high
    else:
        return pa.float64()
    ranges = ((kind, np.iinfo(kind.to_pandas_dtype())) for kind in _INTEGERS)
    return next((kind for kind, held in ranges if held.min <= low and high <= held.max), pa.float64())


def row_bytes(schema: Schema) -> int:
    """Return how many bytes a record takes in memory, typed; packed in its file it takes about as many or fewer."""
    return TOKEN_BYTES + 16 + sum(int(stored_type(column).byte_width) for column in schema.encoded.values())


def encode_bucket(table: pa.Table, schema: Schema, key: bytes) -> bytes:
    """Return the bytes of a bucket file: few pages that unpack fast, since every verification of an erasure reads them all."""
    columns = {name: table[name].combine_chunks() for name in _PLACES}
    typed = {name: _typed(values_of(table, name), column) for name, column in schema.encoded.items()}
    table = pa.table(columns | typed)
    content = io.BytesIO()
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table)
    seal = hmac.digest(key, content.getbuffer(), "sha256")
    is_long = table.num_rows >= _DICTIONARY_ROWS
    coded = [name for name, column in schema.encoded.items() if column.is_coded and is_long]
    sink = io.BytesIO()
    sealed = table.replace_schema_metadata({_SEAL: seal})
    pq.write_table(sealed, sink, compression="lz4", use_dictionary=coded or False, write_statistics=False)
    return sink.getvalue()


def decode_bucket(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the records of a bucket file, of this format or of earlier ones; raises an ArrowException for other bytes."""
    # threads cost more than they save on files as small as these
    return pq.ParquetFile(pa.BufferReader(content)).read(columns, use_threads=False)


def values_of(table: pa.Table, name: str) -> Values:
    """Return a column's encoded values, float64 with NaN for missing."""
    values: Values = table[name].to_numpy().astype(np.float64, copy=False)
    return values


def matrix_of(tables: Sequence[pa.Table], names: Sequence[str]) -> Values:
    """Return the encoded values of tables one below another, float64 [n, d]."""
    values = np.empty((sum(table.num_rows for table in tables), len(names)))
    start = 0
    for table in tables:
        for place, name in enumerate(names):
            values[start : start + table.num_rows, place] = table[name].to_numpy()
        start += table.num_rows
    return values


@dataclass(frozen=True)
class Binner:
    """Gives the cells of stored records: what the codec's `bin_free` gives for their encoded values."""

    codec: Codec
    _known: dict[tuple[str, pa.DataType], npt.NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)

    def bins(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Return cells [n, free], columns one after another in memory."""
        bins = np.empty((len(self.codec.free_names), table.num_rows), dtype=np.int64)
        for cells, name in zip(bins, self.codec.free_names, strict=True):
            stored = table[name].combine_chunks()
            if stored.type in (pa.uint8(), pa.uint16()):
                np.take(self._of_every_value(name, stored.type), stored.fill_null(0).to_numpy(), out=cells)
                absent = stored.is_null().to_numpy(zero_copy_only=False) if stored.null_count else None
            else:
                numbers = values_of(table, name)
                absent = np.isnan(numbers)
                cells[:] = self.codec.cells(name, np.where(absent, 0.0, numbers))
            if absent is not None:
                cells[absent] = self.codec.schema.encoded[name].cells
        return bins.T

    def _of_every_value(self, name: str, kind: pa.DataType) -> npt.NDArray[np.int64]:
        """Return the cell of each value that a narrow type has, so that a record costs a look-up."""
        if (name, kind) not in self._known:
            every = np.arange(np.iinfo(kind.to_pandas_dtype()).max + 1, dtype=np.float64)
            self._known[name, kind] = self.codec.cells(name, every)
        return self._known[name, kind]


def _typed(values: Values, column: Column) -> pa.Array:
    """Return a column in its stored type, or float64 where that would not give the very same bits back."""
    kind = stored_type(column)
    if kind == pa.float64():
        return pa.array(values)
    absent = np.isnan(values)
    known = np.where(absent, 0.0, values)
    with np.errstate(invalid="ignore"):
        whole = known.astype(kind.to_pandas_dtype())
    if not _same_bits(whole.astype(np.float64), known) or (values[absent].view(np.uint64) != _NAN).any():
        return pa.array(values)
    return pa.array(whole, mask=absent if absent.any() else None)


def _same_bits(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool((one.view(np.uint64) == other.view(np.uint64)).all())
