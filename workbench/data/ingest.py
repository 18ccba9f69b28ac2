"""From a raw table to bucket files: validated, encoded, tokenised, and either wholly accepted or wholly refused.

Chunks are staged per bucket first; rules that span chunks (duplicates, rows per subject) are checked bucket by bucket,
since all records of a subject share one. Memory is bounded by a chunk and a bucket, not by the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import canonical_order
from workbench.data.identity import Identities, canonical, identify, row_identifier, suppression_token
from workbench.data.store import (
    BUCKETS,
    SPLITS,
    Split,
    Store,
    bucket_of,
    bucket_path,
    encode_bucket,
    records_table,
    token_array,
)
from workbench.errors import InputError
from workbench.files import sha256, write_atomic
from workbench.later import Later
from workbench.schema import Codec, Schema, Violation
from workbench.schema.column import EXACT_INTEGER
from workbench.schema.encode import LINE_BREAK, distinct_texts, line_breaks
from workbench.schema.schema import ROW_SUBJECT

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
else:  # erasures import this module for its keys alone
    pa = Later("pyarrow")

_ROW = "__row"
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

    `places` are the points (shard, slice) of the subjects to train on whose records came or changed.
    """

    rows: dict[str, int]
    subjects: dict[str, int]
    left_out: dict[str, int]
    clipped: int
    digests: dict[tuple[str, int], str]
    places: npt.NDArray[np.uint64]


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
    _stage(schema, sources, ring, staging, refusals, left_out)
    refusals.check(name)
    # Two passes: no bucket file is written before every bucket is known to be good.
    for bucket in range(BUCKETS):
        _check_bucket(schema, staging, bucket, refusals, onto)
    refusals.check(name)
    rows, subjects = Counter[str](), Counter[str]()
    digests: dict[tuple[str, int], str] = {}
    places = [np.empty((0, 2), dtype=np.uint64)]
    for split in SPLITS:
        for bucket in range(BUCKETS):
            frame = _staged(schema, staging, split, bucket, onto)
            if frame is None:
                continue
            table = _finished(schema, frame, left_out)
            content = encode_bucket(table)
            digest = sha256(content)
            before = onto.bucket(split, bucket) if onto else None
            if not table.num_rows or (onto and digest == onto.digests.get((split, bucket))):
                continue
            write_atomic(bucket_path(target, split, bucket), content, mode=0o600)
            digests[split, bucket] = digest
            rows[split] += table.num_rows - (before.num_rows if before else 0)
            subjects[split] += _subjects(table) - (_subjects(before) if before else 0)
            if onto and split == "train":
                new = frame.loc[frame[_ROW] >= 0, ["__point", "__slice"]].drop_duplicates()
                places.append(new.to_numpy(dtype=np.uint64))
    if not onto and not rows["train"]:
        raise InputError(
            f"data set {name} keeps no row to train on", hint="look at what was left out, and at the holdout"
        )
    clipped = left_out.pop(_CLIPPED, 0)
    return Ingested(
        rows=dict(rows),
        subjects=dict(subjects),
        left_out=dict(left_out),
        clipped=clipped,
        digests=digests,
        places=np.concatenate(places),
    )


def _subjects(table: pa.Table) -> int:
    return len(np.unique(table["__point"].to_numpy()))


def _stage(
    schema: Schema,
    sources: Iterable[tuple[Iterable[pd.DataFrame], Split | None]],
    ring: KeyRing,
    staging: Path,
    refusals: _Refusals,
    left_out: Counter[str],
) -> None:
    """Encodes every chunk and appends its records to the staged file of their split and bucket."""
    codec = Codec(schema)
    row = 0
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
                kept = np.flatnonzero(~dropped)
                for part, place in _places(schema, identities, split, kept):
                    table = records_table(
                        token_array([identities.tokens[i] for i in part]),
                        identities.points[part],
                        identities.slice_points[part],
                        values[part],
                        codec.names,
                    ).append_column(_ROW, pa.array(numbers[part]))
                    if place not in writers:
                        path = staging / f"{place[0]}-{place[1]}.arrow"
                        writers[place] = stack.enter_context(pa.ipc.new_file(path, table.schema))
                    writers[place].write_table(table)
    left_out += Counter()  # drop zero counts


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
) -> Iterator[tuple[npt.NDArray[np.intp], tuple[str, int]]]:
    """Groups of row positions with the split and bucket they belong to."""
    if split is None:
        assert schema.holdout.share is not None
        held = identities.holdout_points[kept] < np.uint64(int(schema.holdout.share * 2**64))
    else:
        held = np.full(len(kept), split == "holdout")
    codes = bucket_of(identities.points[kept]) + BUCKETS * held
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []
    for group in groups:
        code = int(codes[group[0]])
        yield kept[group], (SPLITS[code // BUCKETS], code % BUCKETS)


def _staged(schema: Schema, staging: Path, split: str, bucket: int, onto: Store | None) -> pd.DataFrame | None:
    """The staged records of a bucket, with those they come onto (as row -1), in canonical order; None without new ones."""
    path = staging / f"{split}-{bucket}.arrow"
    if not path.exists():
        return None
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    before = onto.bucket(split, bucket) if onto else None
    if before is not None:
        old = before.append_column(_ROW, pa.array(np.full(before.num_rows, -1)))
        table = pa.concat_tables([table, old.cast(table.schema)])
    frame: pd.DataFrame = table.to_pandas()
    values = frame[list(schema.encoded)].to_numpy()
    order = canonical_order(values, frame["__point"].to_numpy(), frame["__slice"].to_numpy())
    return frame.iloc[order].reset_index(drop=True)


def _marks(schema: Schema, frame: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which records are duplicates, and which are over the limit: of those that break a rule together, all but the first."""
    import pandas as pd

    duplicate, over = np.zeros((2, len(frame)), dtype=bool)
    if schema.row_key:
        duplicate = frame.duplicated(["__token", *schema.row_key]).to_numpy()
    once = np.flatnonzero(~duplicate)
    subjects = pd.factorize(frame["__token"].to_numpy()[once])[0]
    order = np.argsort(subjects, kind="stable")
    begins = np.searchsorted(subjects[order], subjects[order])
    over[once[order]] = np.arange(len(once)) - begins >= schema.max_rows_per_subject
    return duplicate, over


def _check_bucket(schema: Schema, staging: Path, bucket: int, refusals: _Refusals, onto: Store | None) -> None:
    frames = [_staged(schema, staging, split, bucket, onto) for split in SPLITS]
    for frame in frames:
        if frame is None:
            continue
        # Old records first: where they and new ones break a rule together, the new ones are told
        if onto:
            frame = frame.iloc[np.argsort(frame[_ROW] >= 0, kind="stable")]
        rows, (duplicate, over) = frame[_ROW].to_numpy(), _marks(schema, frame)
        if schema.duplicates == "reject":
            refusals.add_rows(", ".join(schema.row_key), "the row key repeats within its subject", rows[duplicate])
        if schema.over_limit == "reject":
            rule = f"the subject has more than max_rows_per_subject = {schema.max_rows_per_subject} rows"
            refusals.add_rows(schema.subject, rule, rows[over])
    _check_splits(schema, frames, bucket, refusals, onto)


def _check_splits(
    schema: Schema, frames: list[pd.DataFrame | None], bucket: int, refusals: _Refusals, onto: Store | None
) -> None:
    """Nobody may be in both splits; told are the rows of the holdout file, or those that came onto a store."""
    train, holdout = frames
    if train is not None and holdout is not None:
        both = holdout.loc[holdout["__token"].isin(set(train["__token"])), _ROW].to_numpy()
        refusals.add_rows(schema.subject, "the subject is both in the table and in the holdout file", both[both >= 0])
    for frame, other in ((train, "holdout"), (holdout, "train")):
        before = onto.bucket(other, bucket) if onto else None
        if frame is not None and before is not None:
            here = frame["__token"].isin(set(before["__token"].to_pylist())) & (frame[_ROW] >= 0)
            rows = frame.loc[here, _ROW].to_numpy()
            refusals.add_rows(schema.subject, f"the subject is in the {other} split already", rows)


def _finished(schema: Schema, frame: pd.DataFrame, left_out: Counter[str]) -> pa.Table:
    duplicate, over = _marks(schema, frame)
    for marked, rule in ((duplicate, "duplicates"), (over, "over_limit")):
        if marked.any():
            left_out[rule] += int(marked.sum())
    kept = ~(duplicate | over)
    return records_table(
        token_array(frame["__token"].to_numpy()[kept].tolist()),
        frame["__point"].to_numpy()[kept],
        frame["__slice"].to_numpy()[kept],
        frame[list(schema.encoded)].to_numpy()[kept],
        list(schema.encoded),
    )
