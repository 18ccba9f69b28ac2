"""From a raw table to bucket files: validated, encoded, tokenised, and either wholly accepted or wholly refused.

Chunks are staged by groups of buckets first; rules that span chunks (duplicates, rows per subject) are checked group by
group, since all records of a subject share one. Memory is bounded by a chunk and a group, a 64th of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workbench.data.bucket_file import (
    POINT,
    SLICE,
    TOKEN,
    encode_bucket,
    matrix_of,
    records_table,
    seal_key,
    token_array,
)
from workbench.data.dataset import canonical_order
from workbench.data.files import LocalFiles
from workbench.data.identity import Identities, Points, canonical, identify, row_identifier, suppression_token
from workbench.data.store import BUCKET_BITS, SPLITS, Split, Store, bits_for, bucket_of, file_name, runs_of
from workbench.errors import InputError
from workbench.schema import Codec, Schema, Violation
from workbench.schema.codec import Values
from workbench.schema.column import EXACT_INTEGER
from workbench.schema.encode import LINE_BREAK, distinct_texts, line_breaks
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.atomic_files import sha256

if TYPE_CHECKING:
    import pandas as pd

_ROW = "__row"
_GROUPS = 1 << BUCKET_BITS
_CLIPPED = "clipped"
_SHOWN_ROWS = 5


class KeyRing(NamedTuple):
    """What turns identifiers into tokens and places, and the suppression tokens of those who were erased."""

    token: bytes
    placement: bytes
    identity_type: str
    ingest: str
    suppression: bytes = b""
    suppressed: frozenset[bytes] = frozenset()


class BrokenSchemaError(InputError):
    """Rows break their schema; `columns` are those whose rules they break."""

    def __init__(self, message: str, *, hint: str = "", columns: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.columns = tuple(columns)


@dataclass
class _Refusals:
    """Broken rules met so far: how often, and the first few row numbers."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    holdout_from: int | None = None  # rows of a holdout file are numbered after those of the table

    def add(self, violations: Iterable[Violation], first_row: int) -> None:
        for violation in violations:
            self.add_rows(violation.column, violation.rule, violation.rows + first_row)

    def add_rows(self, column: str, rule: str, rows: npt.NDArray[np.intp]) -> None:
        if len(rows):
            self.counts[column, rule] += len(rows)
            shown = self.rows.setdefault((column, rule), [])
            shown.extend(int(row) for row in np.sort(rows)[: _SHOWN_ROWS - len(shown)])

    def check(self, name: str) -> None:
        if not self.counts:
            return
        faults = "; ".join(
            f"column {column!r}: {rule} (rows {', '.join(map(self._place, self.rows[column, rule]))}"
            f"{', …' if count > _SHOWN_ROWS else ''}; {count} in all)"
            for (column, rule), count in self.counts.items()
        )
        raise BrokenSchemaError(
            f"data set {name} breaks its schema: {faults}; nothing was stored",
            hint="correct the rows, or the schema: a column that is changed now was read from the data, and is marked "
            "`reviewed: false`; out_of_domain, duplicates and over_limit can be set to drop (or clip)",
            columns=dict.fromkeys(column for column, _ in self.counts),
        )

    def _place(self, row: int) -> str:
        """A row as a person counts it, from 0 in its own file."""
        if self.holdout_from is None or row < self.holdout_from:
            return str(row)
        return f"{row - self.holdout_from} of the holdout file"


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an ingest stored: rows and subjects per split, rows left out per rule or clipped, digests of bucket files.

    `places` are the points (shard, slice) of the subjects to train on whose records came or changed, `bits` those of buckets.
    """

    rows: dict[str, int]
    subjects: dict[str, int]
    left_out: dict[str, int]
    clipped: int
    digests: dict[tuple[str, int], str]
    places: npt.NDArray[np.uint64]
    bits: int


def ingest_table(
    name: str,
    schema: Schema,
    sources: Iterable[tuple[Iterable[pd.DataFrame], Split | None]],
    ring: KeyRing,
    *,
    staging: Path,
    target: Path,
    onto: Store | None = None,
) -> Ingested:
    """Writes the bucket files of a data set below `target`; raises InputError, with nothing there, where a rule is broken.

    A source's split is `train`, `holdout`, or None where the schema's keyed-hash share decides. Rows of people who were
    erased are refused, except where each row is its own person: a row's identifier is bound to one ingest, so an erased row
    that comes again is a new person here.

    Rows may come `onto` the records of a store. Every rule then holds over old and new rows together, the result is what
    ingesting them together would store, only files that change are written, and what is counted is what was added.
    """
    refusals, left_out = _Refusals(), Counter[str]()
    staged = _stage(schema, sources, ring, staging, refusals, left_out)
    refusals.check(name)
    bits = onto.bits if onto else bits_for(staged, schema)
    output = Store(name, LocalFiles(target), schema, {}, bits)
    writer = _Writer(output, onto, seal_key(ring.placement), left_out)
    for group in range(_GROUPS):
        records = [_staged(schema, staging, split, group, onto) for split in SPLITS]
        _check_group(schema, records, refusals, onto)
        for split, found in zip(SPLITS, records, strict=True):
            if found is not None and not refusals.counts:
                writer.write(split, found)
    if refusals.counts or not (onto or writer.rows["train"]):
        for digest in writer.digests.values():
            output.files.delete(file_name(digest))
    refusals.check(name)
    if not onto and not writer.rows["train"]:
        raise InputError(
            f"data set {name} keeps no row to train on", hint="look at what was left out, and at the holdout"
        )
    clipped = left_out.pop(_CLIPPED, 0)
    return Ingested(
        rows=dict(writer.rows),
        subjects=dict(writer.subjects),
        left_out=dict(left_out),
        clipped=clipped,
        digests=writer.digests,
        places=np.concatenate(writer.places),
        bits=bits,
    )


@dataclass(frozen=True, eq=False)
class _Records:
    """Staged records of one split, with those they come onto (as row -1), in canonical order."""

    tokens: pa.Array
    points: Points
    slice_points: Points
    values: Values
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def token_list(self) -> list[bytes]:
        return list(self.tokens.to_pylist())

    @cached_property
    def are_apart(self) -> bool:
        """Whether no two records share a subject, as different points show."""
        return bool((self.points[1:] > self.points[:-1]).all())

    def part(self, chosen: npt.NDArray[np.intp]) -> _Records:
        return _Records(
            self.tokens.take(pa.array(chosen)),
            self.points[chosen],
            self.slice_points[chosen],
            self.values[chosen],
            self.rows[chosen],
        )

    def of_bucket(self, first: int, last: int) -> _Records:
        return _Records(
            self.tokens[first:last],
            self.points[first:last],
            self.slice_points[first:last],
            self.values[first:last],
            self.rows[first:last],
        )


@dataclass
class _Writer:
    """Writes the bucket files that change, and counts what is added."""

    output: Store
    onto: Store | None
    key: bytes
    left_out: Counter[str]
    rows: Counter[str] = field(default_factory=Counter)
    subjects: Counter[str] = field(default_factory=Counter)
    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    places: list[npt.NDArray[np.uint64]] = field(default_factory=lambda: [np.empty((0, 2), dtype=np.uint64)])

    def write(self, split: Split, records: _Records) -> None:
        """Write the buckets of a group."""
        for bucket, first, last in runs_of(bucket_of(records.points, self.output.bits)):
            self._write(split, bucket, records.of_bucket(first, last))

    def _write(self, split: Split, bucket: int, records: _Records) -> None:
        schema = self.output.schema
        duplicate, over = _marks(schema, records)
        for marked, rule in ((duplicate, "duplicates"), (over, "over_limit")):
            if marked.any():
                self.left_out[rule] += int(marked.sum())
        kept = records if not (duplicate | over).any() else records.part(np.flatnonzero(~(duplicate | over)))
        before = self.onto.bucket(split, bucket) if self.onto else None
        if not len(kept):
            return
        table = records_table(kept.tokens, kept.points, kept.slice_points, kept.values, list(schema.encoded))
        content = encode_bucket(table, schema, self.key)
        digest = sha256(content)
        if self.onto and digest == self.onto.digests.get((split, bucket)):
            return
        self.output.files.write(file_name(digest), content)
        self.digests[split, bucket] = digest
        self.rows[split] += table.num_rows - (before.num_rows if before else 0)
        self.subjects[split] += _subjects(table) - (_subjects(before) if before else 0)
        if self.onto and split == "train":
            new = records.rows >= 0
            self.places.append(np.unique(np.stack([records.points[new], records.slice_points[new]], axis=1), axis=0))


def _subjects(table: pa.Table) -> int:
    return len(np.unique(table[POINT].to_numpy()))


def _stage(
    schema: Schema,
    sources: Iterable[tuple[Iterable[pd.DataFrame], Split | None]],
    ring: KeyRing,
    staging: Path,
    refusals: _Refusals,
    left_out: Counter[str],
) -> int:
    """Encodes every chunk and appends its records to the staged file of their split and group; returns how many there are."""
    codec = Codec(schema)
    row = staged = 0
    with ExitStack() as stack:
        writers: dict[tuple[str, int], pa.ipc.RecordBatchFileWriter] = {}
        for number, (chunks, split) in enumerate(sources):
            refusals.holdout_from = row if number else None
            for frame in chunks:
                values, dropped, violations, clipped = codec.encode(frame)
                numbers = np.arange(row, row + len(frame))
                refusals.add(violations, row)
                identities, unnamed = _identities(schema, frame, row, ring)
                refusals.add_rows(schema.subject, "the subject's identifier is missing", numbers[unnamed])
                if schema.subject != ROW_SUBJECT:
                    places, distinct = distinct_texts(frame[schema.subject])
                    refusals.add_rows(schema.subject, LINE_BREAK, numbers[line_breaks([*distinct, None])[places]])
                erased = _suppressed(identities, ring)
                refusals.add_rows(
                    schema.subject, "the subject was erased, and is kept out by suppression", numbers[erased]
                )
                row += len(frame)
                left_out["out_of_domain"] += int(dropped.sum())
                left_out[_CLIPPED] += int(clipped.sum())
                if refusals.counts:
                    continue  # keep counting, store nothing
                order, stretches = _places(schema, identities, split, np.flatnonzero(~dropped))
                staged += len(order)
                table = records_table(
                    token_array(identities.tokens).take(pa.array(order)),
                    identities.points[order],
                    identities.slice_points[order],
                    values[order],
                    codec.names,
                ).append_column(_ROW, pa.array(numbers[order]))
                for place, first, last in stretches:
                    if place not in writers:
                        path = staging / f"{place[0]}-{place[1]}.arrow"
                        writers[place] = stack.enter_context(pa.ipc.new_file(path, table.schema))
                    writers[place].write_table(table.slice(first, last - first))
    left_out += Counter()  # drop zero counts
    return staged


def _identities(
    schema: Schema, frame: pd.DataFrame, first_row: int, ring: KeyRing
) -> tuple[Identities, npt.NDArray[np.bool_]]:
    """Keyed hashes of every row's subject, and the mask of rows that name none."""
    if schema.subject == ROW_SUBJECT:
        identifiers = [row_identifier(ring.ingest, first_row + i) for i in range(len(frame))]
        unnamed = np.zeros(len(frame), dtype=bool)
    else:
        import pandas as pd

        column = frame[schema.subject]
        if pd.api.types.is_float_dtype(column.dtype) and (column.abs() > _exact(column.dtype)).any():
            raise InputError(
                f"column {schema.subject!r} holds identifiers as rounded floating-point numbers",
                hint="store them as text",
            )
        nothing = {"", *schema.null_values}
        identifiers = ["" if null else canonical(value) for null, value in zip(column.isna(), column, strict=True)]
        unnamed = np.array([identifier in nothing for identifier in identifiers], dtype=bool)
    identities = identify(
        identifiers, identity_type=ring.identity_type, token_key=ring.token, placement_key=ring.placement
    )
    return identities, unnamed


def _suppressed(identities: Identities, ring: KeyRing) -> npt.NDArray[np.bool_]:
    """The mask of rows whose subject was erased; costs nothing where nobody of this identity type was."""
    tokens = identities.tokens
    if not ring.suppressed:
        return np.zeros(len(tokens), dtype=bool)
    erased = {t for t in set(tokens) if suppression_token(ring.suppression, t) in ring.suppressed}
    return np.fromiter((token in erased for token in tokens), dtype=bool, count=len(tokens))


def _exact(dtype: Any) -> int:
    """The largest whole number below which a floating-point type holds each one."""
    bits = int(np.finfo(getattr(dtype, "numpy_dtype", dtype)).nmant) + 1
    return int(min(EXACT_INTEGER, 2**bits - 1))


def _places(
    schema: Schema, identities: Identities, split: Split | None, kept: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], list[tuple[tuple[str, int], int, int]]]:
    """Row positions sorted by split and group of buckets, and where each begins and ends among them."""
    if split is None:
        assert schema.holdout.share is not None
        held = identities.holdout_points[kept] < np.uint64(int(schema.holdout.share * 2**64))
    else:
        held = np.full(len(kept), split == "holdout")
    codes = bucket_of(identities.points[kept]) + _GROUPS * held
    order = np.argsort(codes, kind="stable")
    runs = runs_of(codes[order])
    return kept[order], [((SPLITS[code // _GROUPS], code % _GROUPS), first, last) for code, first, last in runs]


def _staged(schema: Schema, staging: Path, split: str, group: int, onto: Store | None) -> _Records | None:
    """The staged records of a group, with those of the buckets they come onto; None without new ones."""
    path = staging / f"{split}-{group}.arrow"
    if not path.exists():
        return None
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    tables, rows = [table], [table[_ROW].to_numpy()]
    for bucket in _buckets(table[POINT].to_numpy(), onto):
        if onto and (before := onto.bucket(split, bucket)) is not None:
            tables.append(before)
            rows.append(np.full(before.num_rows, -1))
    points, slice_points = (np.concatenate([t[name].to_numpy() for t in tables]) for name in (POINT, SLICE))
    values = matrix_of(tables, list(schema.encoded))
    order = canonical_order(values, points, slice_points)
    tokens = pa.concat_arrays([t[TOKEN].combine_chunks() for t in tables])
    return _Records(tokens, points, slice_points, values, np.concatenate(rows)).part(order)


def _buckets(points: Points, onto: Store | None) -> list[int]:
    """The buckets of a store that points fall into."""
    return np.unique(bucket_of(points, onto.bits)).tolist() if onto else []


def _marks(schema: Schema, records: _Records) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which records are duplicates, and which are over the limit: of those that break a rule together, all but the first."""
    duplicate, over = np.zeros((2, len(records)), dtype=bool)
    if records.are_apart:
        return duplicate, over
    import pandas as pd

    subjects = pd.factorize(np.array(records.token_list, dtype=object))[0]
    if schema.row_key:
        names = list(schema.encoded)
        keys = {name: records.values[:, names.index(name)] for name in schema.row_key}
        duplicate = pd.DataFrame({TOKEN: subjects, **keys}).duplicated().to_numpy()
    once = np.flatnonzero(~duplicate)
    order = np.argsort(subjects[once], kind="stable")
    begins = np.searchsorted(subjects[once][order], subjects[once][order])
    over[once[order]] = np.arange(len(once)) - begins >= schema.max_rows_per_subject
    return duplicate, over


def _check_group(schema: Schema, records: Sequence[_Records | None], refusals: _Refusals, onto: Store | None) -> None:
    for found in records:
        if found is None or found.are_apart:
            continue
        # Old records first: where they and new ones break a rule together, the new ones are told
        if onto:
            found = found.part(np.argsort(found.rows >= 0, kind="stable"))
        duplicate, over = _marks(schema, found)
        if schema.duplicates == "reject":
            refusals.add_rows(
                ", ".join(schema.row_key), "the row key repeats within its subject", found.rows[duplicate]
            )
        if schema.over_limit == "reject":
            rule = f"the subject has more than max_rows_per_subject = {schema.max_rows_per_subject} rows"
            refusals.add_rows(schema.subject, rule, found.rows[over])
    _check_splits(schema, records, refusals, onto)


def _check_splits(schema: Schema, records: Sequence[_Records | None], refusals: _Refusals, onto: Store | None) -> None:
    """Nobody may be in both splits; told are the rows of the holdout file, or those that came onto a store."""
    train, holdout = records
    if train is not None and holdout is not None and len(np.intersect1d(train.points, holdout.points)):
        both = holdout.rows[_among(holdout, train.token_list)]
        refusals.add_rows(schema.subject, "the subject is both in the table and in the holdout file", both[both >= 0])
    for found, other in ((train, "holdout"), (holdout, "train")):
        if found is None or onto is None:
            continue
        new = found.part(np.flatnonzero(found.rows >= 0))
        for bucket in _buckets(new.points, onto):
            before = onto.bucket(other, bucket)
            if before is not None:
                rows = new.rows[_among(new, before[TOKEN].to_pylist())]
                refusals.add_rows(schema.subject, f"the subject is in the {other} split already", rows)


def _among(records: _Records, tokens: Iterable[bytes]) -> npt.NDArray[np.bool_]:
    """The mask of records whose subject is among the tokens."""
    known = set(tokens)
    return np.fromiter((token in known for token in records.token_list), dtype=bool, count=len(records))
