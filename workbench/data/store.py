"""Records on disk: one file per hash range, a keyed token instead of each subject's identifier.

The store knows no partition: bucket b holds the records whose shard point has b as its top bits, so any number of shards
and slices trains from it without a new ingest, and erasing a person rewrites one small file. How many bits there are is
chosen by a table's size when it is taken in. A file is named by its content, so that it is never changed: its successor is
written beside it, the database switches from one to the other, and then it is deleted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from workbench.data.bucket_file import (
    POINT,
    SLICE,
    TOKEN,
    decode_bucket,
    encode_bucket,
    matrix_of,
    row_bytes,
)
from workbench.data.dataset import Dataset
from workbench.data.files import Files
from workbench.data.identity import Points
from workbench.errors import DamagedError
from workbench.schema import Schema
from workbench.state.atomic_files import sha256

BUCKET_BITS = 6  # the fewest, and those of every data set of the first format
MOST_BUCKET_BITS = 16
_BUCKET_BYTES = 1 << 20  # of a bucket's records in memory, at most, on average
Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")
Digests = Mapping[tuple[str, int], str]


def bits_for(rows: int, schema: Schema) -> int:
    """Return the bucket bits with which a file of so many rows' table stays near a megabyte."""
    buckets = max(1.0, rows * row_bytes(schema) / _BUCKET_BYTES)
    return min(max(BUCKET_BITS, math.ceil(math.log2(buckets))), MOST_BUCKET_BITS)


def bucket_of(points: Points, bits: int = BUCKET_BITS) -> npt.NDArray[np.int64]:
    """Return the bucket numbers of shard points."""
    return (points >> np.uint64(64 - bits)).astype(np.int64)


def runs_of(numbers: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield each number of a sequence with where it begins and where it ends, equal ones being neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return ((int(numbers[first]), first, last) for first, last in pairwise(edges) if first < last)


def file_name(digest: str) -> str:
    """Return the name of the bucket file of that SHA-256."""
    return f"{digest}.parquet"


def first_format_name(split: str, bucket: int) -> str:
    """Return the name of a bucket file of the first format, which was replaced in place."""
    return f"{split}/bucket={bucket:02d}/records.parquet"


@dataclass(frozen=True)
class Store:
    """The records of one data set; `digests` are the SHA-256 of the bucket files that must be there.

    `first_format` are the buckets whose files are of the first format still: they are named by their place.
    """

    name: str
    files: Files
    schema: Schema
    digests: Digests
    bits: int = BUCKET_BITS
    first_format: frozenset[tuple[str, int]] = frozenset()

    def read(self, split: Split = "train", interval: tuple[int, int] | None = None) -> Dataset:
        """Return the records of a split in canonical order, or those whose shard points lie in [low, high)."""
        return self._dataset(list(self.tables(split, interval or (0, 1 << 64))))

    def tables(self, split: Split, interval: tuple[int, int]) -> Iterator[pa.Table]:
        """Yield the records of `read` bucket by bucket as they are stored, in memory that does not grow with the table."""
        low, high = interval
        return (_within(self._bucket(split, b), low, high, self.interval_of(b)) for b in self._of(split, low, high))

    def bucket(self, split: str, bucket: int) -> pa.Table | None:
        """Return the records of one bucket file; None where there is none."""
        return self._bucket(split, bucket) if (split, bucket) in self.digests else None

    def bucket_at(self, point: int) -> int:
        """Return the bucket of a shard point."""
        return point >> (64 - self.bits)

    def interval_of(self, bucket: int) -> tuple[int, int]:
        """Return the half-open interval of shard points that a bucket covers."""
        return bucket << (64 - self.bits), (bucket + 1) << (64 - self.bits)

    def file_of(self, split: str, bucket: int) -> str:
        """Return the name of a bucket's file."""
        place = (split, bucket)
        return first_format_name(split, bucket) if place in self.first_format else file_name(self.digests[place])

    def strays(self) -> list[str]:
        """Return the files that belong to no bucket: what a killed writer left, or a reader may be reading still."""
        known = {self.file_of(*place) for place in self.digests}
        return sorted(name for name in self.files.list() if name not in known)

    def count_subjects(self, split: Split) -> int:
        """Return how many different subjects have records in a split."""
        return sum(self._subjects_by_bucket(split))

    def has_subjects(self, split: Split, least: int) -> bool:
        """Return whether a split has at least so many subjects; reads no more files than it takes to know."""
        found = 0
        return least <= 0 or any((found := found + subjects) >= least for subjects in self._subjects_by_bucket(split))

    def bytes_of(self, split: Split) -> int:
        """Return the size of a split's bucket files."""
        return sum(self.files.size(self.file_of(s, bucket)) for s, bucket in self.digests if s == split)

    def count_rows(self) -> int:
        """Return the number of records of both splits."""
        return sum(self._bucket(*place, (SLICE,)).num_rows for place in self.digests)

    def subjects(self, split: Split) -> Iterator[tuple[bytes, int, int]]:
        """Yield token, shard point and slice point of each subject of a split."""
        for bucket in self._of(split):
            unique = self._bucket(split, bucket, (TOKEN, POINT, SLICE)).group_by([TOKEN, POINT, SLICE]).aggregate([])
            yield from zip(*(unique[name].to_pylist() for name in (TOKEN, POINT, SLICE)), strict=True)

    def splits_of(self, token: bytes, point: int) -> tuple[Split, ...]:
        """Return the splits that hold records of a subject: one of them, or none."""
        bucket = self.bucket_at(point)
        present = (split for split in SPLITS if (split, bucket) in self.digests)
        return tuple(s for s in present if token in self._bucket(s, bucket, (TOKEN,))[TOKEN].to_pylist())

    def holds_any(self, people: Iterable[tuple[bytes, int]]) -> bool:
        """Return whether any of the subjects, given by token and shard point, has records; reads each file once at most."""
        wanted: dict[int, set[bytes]] = {}
        for token, point in people:
            wanted.setdefault(self.bucket_at(point), set()).add(token)
        return any(
            not tokens.isdisjoint(self._bucket(split, bucket, (TOKEN,))[TOKEN].to_pylist())
            for bucket, tokens in wanted.items()
            for split in SPLITS
            if (split, bucket) in self.digests
        )

    def without(self, split: Split, bucket: int, tokens: Collection[bytes]) -> pa.Table | None:
        """Return what a bucket holds without the subjects' records; None where nothing is left of it."""
        if (split, bucket) not in self.digests:
            return None
        table = self._bucket(split, bucket)
        gone = pa.compute.is_in(table[TOKEN], pa.array(list(tokens), table[TOKEN].type))
        kept = table.filter(pa.compute.invert(gone))
        return kept if kept.num_rows else None

    def put(self, table: pa.Table, key: bytes) -> str:
        """Store records as a bucket file and return its digest; no bucket is read from it before the database says so."""
        content = encode_bucket(table, self.schema, key)
        digest = sha256(content)
        if sha256(self.files.read(file_name(digest))) != digest:
            self.files.write(file_name(digest), content)
        return digest

    def _of(self, split: str, low: int = 0, high: int = 1 << 64) -> list[int]:
        """Return the buckets of a split with shard points in [low, high), in order."""
        first, last = self.bucket_at(low), self.bucket_at(high - 1)
        return sorted(bucket for s, bucket in self.digests if s == split and first <= bucket <= last)

    def _dataset(self, tables: Sequence[pa.Table]) -> Dataset:
        def points(name: str) -> Points:
            return np.concatenate([np.empty(0, dtype=np.uint64), *(table[name].to_numpy() for table in tables)])

        return Dataset(
            name=self.name,
            schema=self.schema,
            values=matrix_of(tables, list(self.schema.encoded)),
            points=points(POINT),
            slice_points=points(SLICE),
        )

    def _subjects_by_bucket(self, split: Split) -> Iterator[int]:
        return (len(pa.compute.unique(self._bucket(split, bucket, (TOKEN,))[TOKEN])) for bucket in self._of(split))

    def _bucket(self, split: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        name = self.file_of(split, bucket)
        content = self.files.read(name)
        if sha256(content) != self.digests[split, bucket]:
            raise DamagedError(
                f"bucket {bucket} ({split}) of data set {self.name} is damaged or missing",
                hint="restore it from a backup",
            )
        try:
            return decode_bucket(content, columns)
        except (pa.ArrowException, OSError):
            raise DamagedError(f"{name} of data set {self.name} is not a bucket file of this workbench") from None


def _within(table: pa.Table, low: int, high: int, interval: tuple[int, int]) -> pa.Table:
    """Return the records whose shard points lie in [low, high), of a bucket that covers an interval."""
    if low <= interval[0] and interval[1] <= high:
        return table
    points = table[POINT].to_numpy()  # they rise: records are in canonical order
    first = int(np.searchsorted(points, np.uint64(low), "left"))
    return table.slice(first, int(np.searchsorted(points, np.uint64(high - 1), "right")) - first)
