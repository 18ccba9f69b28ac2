"""The pages of a Parquet file, unpacked: the raw values, and dictionaries whose entries no row uses any more.

Decoding a file shows what its rows say; a value that was removed from the rows may still lie in a dictionary page.
Page headers are Thrift's compact protocol (parquet-format, `PageHeader`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from workbench.later import Later

if TYPE_CHECKING:
    import pyarrow as pa
else:  # commands that search nothing need none of it
    pa = Later("pyarrow")

_CODECS = {"SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli", "ZSTD": "zstd", "LZ4": "lz4_raw"}
_STRUCT, _LIST, _SET, _MAP, _BINARY, _BYTE, _DOUBLE = 12, 9, 10, 11, 8, 3, 7


def pages(file: BinaryIO, column: Any) -> Iterator[bytes]:
    """Every page of a column of a row group, unpacked; raises ValueError where the file is not what its footer says."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    file.seek(start)
    yield from _pages(file.read(column.total_compressed_size), column.compression)


def _pages(chunk: bytes, compression: str) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        header, at = _struct(chunk, at)
        unpacked, packed = int(header[2]), int(header[3])
        if packed < 0 or unpacked < 0 or at + packed > len(chunk):
            raise ValueError("a page reaches beyond its column")
        yield _unpack(header, chunk[at : at + packed], unpacked, compression)
        at += packed


def _unpack(header: dict[int, Any], page: bytes, size: int, compression: str) -> bytes:
    second = header.get(8)  # data pages of version 2 keep their levels, and maybe their values, as they are
    levels = second.get(5, 0) + second.get(6, 0) if second else 0
    if compression not in _CODECS or levels == len(page) or (second and not second.get(7, True)):
        return page
    if size > 1 << 28:
        raise ValueError("a page is larger than any writer makes one")
    body = pa.decompress(page[levels:], decompressed_size=size - levels, codec=_CODECS[compression], asbytes=True)
    return page[:levels] + bytes(body)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a damaged page header")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A struct's fields by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while at < len(data):
        kind, step, at = data[at] & 0x0F, data[at] >> 4, at + 1
        if kind == 0:
            return fields, at
        if step:
            number += step
        else:
            number, at = _zigzag(data, at)
        if kind in (1, 2):
            fields[number] = kind == 1
        else:
            fields[number], at = _value(data, at, kind, depth)
    raise ValueError("a damaged page header")


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > 8:
        raise ValueError("a damaged page header")
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    if kind == _BINARY:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == _BYTE:
        return data[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind in (_LIST, _SET, _MAP):
        raise ValueError("a page header holds no list")
    return _zigzag(data, at)
