"""Records on disk: one Parquet file per hash range, a keyed token instead of each subject's identifier.

The store knows no partition: bucket b holds the records whose shard point has b as its top bits, so any number of shards
and slices trains from it without a new ingest, and erasing a person rewrites one small file.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.data.identity import TOKEN_BYTES, Points
from workbench.errors import DamagedError
from workbench.files import content_of, remove, sha256, write_atomic
from workbench.later import Later
from workbench.schema import Schema
from workbench.schema.codec import Values

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:  # commands that read no record need none of it
    pa, pq = Later("pyarrow", "pyarrow.compute"), Later("pyarrow.parquet")

BUCKET_BITS = 6
BUCKETS = 1 << BUCKET_BITS
Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")
Digests = Mapping[tuple[str, int], str]

_TOKEN, _POINT, _SLICE = "__token", "__point", "__slice"


def bucket_of(points: Points) -> npt.NDArray[np.int64]:
    """Bucket numbers of shard points."""
    return (points >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)


def bucket_path(folder: Path, split: str, bucket: int) -> Path:
    """The file of one bucket."""
    return folder / split / f"bucket={bucket:02d}" / "records.parquet"


def records_table(
    tokens: pa.Array, points: Points, slice_points: Points, values: Values, names: Collection[str]
) -> pa.Table:
    """Records as the table a bucket file holds."""
    columns = {_TOKEN: tokens, _POINT: pa.array(points), _SLICE: pa.array(slice_points)}
    return pa.table(columns | {name: pa.array(values[:, i]) for i, name in enumerate(names)})


def encode_bucket(table: pa.Table) -> bytes:
    """The bytes of a bucket file: few pages that unpack fast, since every verification of an erasure reads them all."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="lz4", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


@dataclass(frozen=True)
class Store:
    """The records of one data set; `digests` are the SHA-256 of the bucket files that must be there."""

    name: str
    folder: Path
    schema: Schema
    digests: Digests

    def read(self, split: Split = "train", interval: tuple[int, int] | None = None) -> Dataset:
        """The records of a split in canonical order, or those whose shard points lie in [low, high)."""
        low, high = interval or (0, 1 << 64)
        shift = 64 - BUCKET_BITS
        tables = [
            self._bucket(split, b)
            for s, b in sorted(self.digests)
            if s == split and low >> shift <= b <= (high - 1) >> shift
        ]
        names = list(self.schema.encoded)
        if not tables:
            empty = np.empty(0, dtype=np.uint64)
            return Dataset(
                name=self.name, schema=self.schema, values=np.empty((0, len(names))), points=empty, slice_points=empty
            )
        table = pa.concat_tables(tables)
        points = _numbers(table[_POINT])
        dataset = Dataset(
            name=self.name,
            schema=self.schema,
            values=np.column_stack([_numbers(table[name]) for name in names]),
            points=points,
            slice_points=_numbers(table[_SLICE]),
        )
        if interval is None:
            return dataset
        return dataset.rows((points >= np.uint64(low)) & (points <= np.uint64(high - 1)))

    def bucket(self, split: str, bucket: int) -> pa.Table | None:
        """The records of one bucket file, as `records_table` made them; None where there is none."""
        return self._bucket(split, bucket) if (split, bucket) in self.digests else None

    def count_subjects(self, split: Split) -> int:
        """How many different subjects have records in a split."""
        buckets = [bucket for s, bucket in self.digests if s == split]
        return sum(len(pa.compute.unique(self._bucket(split, bucket)[_TOKEN])) for bucket in buckets)

    def bytes_of(self, split: Split) -> int:
        """The size of a split's bucket files."""
        paths = (bucket_path(self.folder, s, bucket) for s, bucket in self.digests if s == split)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def subjects(self, split: Split) -> Iterator[tuple[bytes, int, int]]:
        """Token, shard point and slice point of each subject of a split."""
        for bucket in sorted(bucket for s, bucket in self.digests if s == split):
            places = self._bucket(split, bucket).select([_TOKEN, _POINT, _SLICE])
            unique = places.group_by([_TOKEN, _POINT, _SLICE]).aggregate([])
            yield from zip(*(unique[name].to_pylist() for name in (_TOKEN, _POINT, _SLICE)), strict=True)

    def splits_of(self, token: bytes, point: int) -> tuple[Split, ...]:
        """The splits that hold records of a subject: one of them, or none."""
        bucket = point >> (64 - BUCKET_BITS)
        present = (split for split in SPLITS if (split, bucket) in self.digests)
        return tuple(s for s in present if token in self._bucket(s, bucket, (_TOKEN,))[_TOKEN].to_pylist())

    def holds_any(self, people: Iterable[tuple[bytes, int]]) -> bool:
        """Whether any of the subjects, given by token and shard point, has records; each bucket file is read once at most."""
        wanted: dict[int, set[bytes]] = {}
        for token, point in people:
            wanted.setdefault(point >> (64 - BUCKET_BITS), set()).add(token)
        return any(
            not tokens.isdisjoint(self._bucket(split, bucket, (_TOKEN,))[_TOKEN].to_pylist())
            for bucket, tokens in wanted.items()
            for split in SPLITS
            if (split, bucket) in self.digests
        )

    def without(self, split: Split, bucket: int, tokens: Collection[bytes]) -> bytes | None:
        """What a bucket file becomes without the subjects' records; None where nothing is left of it."""
        if (split, bucket) not in self.digests:
            return None
        table = self._bucket(split, bucket)
        gone = pa.compute.is_in(table[_TOKEN], pa.array(list(tokens), table[_TOKEN].type))
        kept = table.filter(pa.compute.invert(gone))
        return encode_bucket(kept.combine_chunks()) if kept.num_rows else None

    def replace(self, split: Split, bucket: int, content: bytes | None) -> None:
        """Puts a bucket file's new content in place, durably; None removes it."""
        path = bucket_path(self.folder, split, bucket)
        if content is not None:
            write_atomic(path, content, mode=0o600)
        else:
            remove(path)

    def _bucket(self, split: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        path = bucket_path(self.folder, split, bucket)
        content = content_of(path)
        if sha256(content) != self.digests[split, bucket]:
            raise DamagedError(
                f"bucket {bucket} ({split}) of data set {self.name} is damaged or missing",
                hint="restore it from a backup",
            )
        return _parse(content, path, columns)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers; Arrow's own `to_numpy` imports pandas, which a command that reads records need not."""
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])


def _parse(content: bytes, path: Path, columns: Sequence[str] | None) -> pa.Table:
    try:
        # Threads only cost time where a single column is read, as at every submission of a request
        return pq.ParquetFile(pa.BufferReader(content)).read(columns, use_threads=columns is None)
    except (pa.ArrowException, OSError):
        raise DamagedError(f"{path} is not a bucket file of this workbench") from None


def token_array(tokens: Iterator[bytes] | list[bytes]) -> pa.Array:
    """Tokens as an Arrow array of fixed-size binary."""
    return pa.array(list(tokens), type=pa.binary(TOKEN_BYTES))
