"""Encodes tables to numbers and back from the declared schema alone; nothing is ever learnt from the rows.

Three forms of a table of n rows and d stored columns:
  frame   pandas, original types: text categories, integers, floats, booleans, timestamps
  values  float64 [n, d]: category codes, numbers, microseconds since the lower bound; NaN is missing. Lossless.
  bins    int64 [n, d]: cells of the public domain, for marginals; a column's last cell is "missing" if that is allowed
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError
from workbench.schema.column import CATEGORICAL_KINDS, Column
from workbench.schema.schema import Schema

Values = npt.NDArray[np.float64]
Bins = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_OUTSIDE = "value is outside the declared bounds"
_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")
_BOOLEAN_TEXTS = dict.fromkeys(_TRUE, 1.0) | dict.fromkeys(_FALSE, 0.0)


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Rows of a table that break one rule of one column; it carries row positions, never values."""

    column: str
    rule: str
    rows: npt.NDArray[np.intp]


class Encoded(NamedTuple):
    """What encoding n rows gave: values [n, d] and masks [n] of the rows that a column's policy leaves out or changed.

    `violations` are those of columns whose policy is `reject`.
    """

    values: Values
    dropped: Mask
    violations: list[Violation]
    clipped: Mask


@dataclass(frozen=True)
class Codec:
    """The encoder and decoder of one schema.

    Guarantees:
      - decode(encode(frame)) equals frame for every frame inside the domain.
      - a number decoded from a bin lies inside that bin; an integer is one of the bin's integers.
      - encoding reads no state but the schema: equal rows have equal codes in every table.
    """

    schema: Schema

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Stored columns, in order: the columns of `values` and `bins`."""
        return tuple(self.schema.encoded)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of cells of each stored column, the missing cell included."""
        return tuple(_cells(column) + column.missing for column in self.schema.encoded.values())

    @cached_property
    def categorical(self) -> tuple[bool, ...]:
        """Which stored columns hold unordered codes."""
        return tuple(column.is_categorical for column in self.schema.encoded.values())

    def encode(self, frame: pd.DataFrame) -> Encoded:
        """Encodes a frame by the columns' policies; raises InputError where a column is missing or repeated."""
        unmatched = [name for name in self.names if list(frame.columns).count(name) != 1]
        if unmatched:
            raise InputError(f"the table must have each column of the schema once; missing or repeated: {unmatched}")
        values = np.empty((len(frame), len(self.names)))
        dropped, clipped = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
        violations: list[Violation] = []
        for position, (name, column) in enumerate(self.schema.encoded.items()):
            encoded, broken = _encode_column(frame[name], column, self.schema.null_values)
            values[:, position] = encoded
            for rule, mask in broken.items():
                if not mask.any():
                    continue
                if column.out_of_domain == "reject":
                    violations.append(Violation(column=name, rule=rule, rows=np.flatnonzero(mask)))
                elif column.out_of_domain == "clip" and rule == _OUTSIDE:
                    values[:, position] = np.clip(encoded, column.low, column.high)
                    clipped |= mask
                else:
                    dropped |= mask
        return Encoded(values, dropped, violations, clipped & ~dropped)

    def decode(self, values: Values) -> pd.DataFrame:
        """The frame of encoded values [n, d], in the original types."""
        columns = self.schema.encoded.items()
        return pd.DataFrame({name: _decode_column(values[:, i], column) for i, (name, column) in enumerate(columns)})

    def bin(self, values: Values) -> Bins:
        """Cell numbers [n, d] of encoded values."""
        bins = np.empty(values.shape, dtype=np.int64)
        for position, column in enumerate(self.schema.encoded.values()):
            encoded = values[:, position]
            cells = encoded if _is_coded(column) else np.searchsorted(column.cuts, encoded, side="right")
            bins[:, position] = np.where(np.isnan(encoded), _cells(column), cells)
        return bins

    def unbin(self, bins: Bins, *, rng: np.random.Generator) -> Values:
        """Encoded values drawn uniformly in each cell: integers among the cell's integers, numbers in its interval."""
        values = np.empty(bins.shape)
        for position, column in enumerate(self.schema.encoded.values()):
            cells = bins[:, position]
            missing = cells >= _cells(column)
            inside = np.where(missing, 0, cells)
            drawn = inside if _is_coded(column) else _draw_inside(column, inside, rng)
            values[:, position] = np.where(missing, np.nan, drawn)
        return values

    # SHIM until the schema branch is merged
    @property
    def free_names(self):
        return self.names

    @property
    def free_sizes(self):
        return self.sizes

    def bin_free(self, values):
        return self.bin(values)

    def complete(self, codes, *, rng, limits=None):
        return self.unbin(codes, rng=rng)

    def forbidden(self):
        return []

    def cell_weights(self, name, within):
        return np.array([1.0 if i in within.codes else 0.0 for i in range(self.sizes[self.names.index(name)])])


def _is_coded(column: Column) -> bool:
    return column.kind in CATEGORICAL_KINDS or column.kind == "boolean"


def _cells(column: Column) -> int:
    if column.kind == "boolean":
        return 2
    return len(column.categories or ()) if column.kind in CATEGORICAL_KINDS else len(column.cuts) + 1


def _draw_inside(column: Column, cells: npt.NDArray[np.int64], rng: np.random.Generator) -> Values:
    lows = np.array([column.low, *column.cuts])
    if column.kind == "continuous":
        highs = np.array([*column.cuts, column.high])
        drawn = lows[cells] + rng.random(len(cells)) * (highs - lows)[cells]
        # rounding may land on the next cell's left edge, which is not this cell's; the upper bound is the last cell's
        rightmost = np.append(np.nextafter(highs[:-1], -np.inf), column.high)
        inside: Values = np.minimum(drawn, rightmost[cells])
        return inside
    firsts, lasts = lows.astype(np.int64), np.append(lows[1:] - 1, column.high).astype(np.int64)
    return rng.integers(firsts[cells], lasts[cells], endpoint=True).astype(np.float64)


def _encode_column(series: pd.Series, column: Column, nulls: tuple[str, ...]) -> tuple[Values, dict[str, Mask]]:
    """Encoded values and, per broken rule, the mask of rows that break it."""
    if _is_native(series, column):
        return _encode_native(series, column)
    places, distinct = distinct_texts(series)
    texts: list[str | None] = [*distinct, None]  # place -1, a null, reads the None at the end
    if pd.api.types.is_object_dtype(series.dtype) or isinstance(series.dtype, pd.StringDtype | pd.CategoricalDtype):
        texts = [None if text in nulls else text for text in texts]
    encoded, broken = _encode_texts(texts, column)
    return encoded[places], {rule: mask[places] for rule, mask in broken.items()}


def _is_native(series: pd.Series, column: Column) -> bool:
    """Whether the series already holds the column's numbers or moments; everything else is read as text."""
    if column.kind == "datetime":
        return pd.api.types.is_datetime64_any_dtype(series.dtype)
    is_number = pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype)
    return column.kind in ("integer", "continuous") and is_number


def _encode_native(series: pd.Series, column: Column) -> tuple[Values, dict[str, Mask]]:
    absent = series.isna().to_numpy()
    if column.kind != "datetime":
        numbers: Values = series.to_numpy(dtype=float, na_value=np.nan)
        return _check_numbers(numbers, absent, column)
    moments = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    # integer arithmetic: a quotient of floats would be off by a microsecond in one of forty moments
    since = (moments - np.datetime64(_first_moment(column), "us")).astype(np.int64)
    return _check_domain(np.where(absent, np.nan, since), absent, {}, column)


def distinct_texts(series: pd.Series) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Each row's place among the distinct values (-1: null), and these as stripped texts: long tables repeat values."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) != "string":
        series = series.map(_text, na_action="ignore")  # True and 1 are equal, but not the same text
    places, distinct = pd.factorize(series)
    return places, [_text(value) for value in distinct.tolist()]


def _text(value: object) -> str:
    """A value as a CSV file would show it; whole floats lose the point that a null neighbour gave them."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _encode_texts(texts: Sequence[str | None], column: Column) -> tuple[Values, dict[str, Mask]]:
    absent = np.array([text is None for text in texts])
    if column.kind in CATEGORICAL_KINDS:
        return _check_coded(
            _category_codes(texts, column), absent, "value is not among the declared categories", column
        )
    if column.kind == "boolean":
        codes = np.array([_BOOLEAN_TEXTS.get((text or "").lower(), np.nan) for text in texts])
        return _check_coded(codes, absent, "value is not true or false", column)
    if column.kind == "datetime":
        since = np.array([parse_microseconds(text, _first_moment(column)) for text in texts])
        unreadable = np.isnan(since) & ~absent
        return _check_domain(since, absent, {"value is not an ISO 8601 date or time": unreadable}, column)
    return _check_numbers(np.array([parse_number(text) for text in texts]), absent, column)


def _category_codes(texts: Sequence[str | None], column: Column) -> Values:
    assert column.categories is not None
    codes = {category: float(code) for code, category in enumerate(column.categories)}
    unknown = np.nan if column.other is None else codes[column.other]
    return np.array([np.nan if text is None else codes.get(text, unknown) for text in texts])


def parse_number(text: str | None) -> float:
    """The number a text spells in ASCII decimals, else NaN."""
    # float() rounds correctly, pandas' parser only nearly; but it takes 1_000 and digits of every script
    try:
        return float(text) if text is not None and text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def _first_moment(column: Column) -> dt.datetime:
    assert column.bounds is not None
    assert isinstance(column.bounds[0], dt.datetime)
    return column.bounds[0]


def parse_microseconds(text: str | None, origin: dt.datetime) -> float:
    """Whole microseconds in UTC from `origin` to the ISO 8601 date or time a text spells, else NaN."""
    # datetime's own parser: pandas' would read "now" as the time of day and know no date after 2262
    try:
        moment = dt.datetime.fromisoformat(text or "")
        naive = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return math.nan
    return float((naive - origin) // dt.timedelta(microseconds=1))


def _check_coded(codes: Values, absent: Mask, rule: str, column: Column) -> tuple[Values, dict[str, Mask]]:
    return codes, {rule: np.isnan(codes) & ~absent} | _missing_rule(absent, column)


def _check_numbers(numbers: Values, absent: Mask, column: Column) -> tuple[Values, dict[str, Mask]]:
    finite = np.isfinite(numbers)
    broken = {"value is not a finite number": ~finite & ~absent}
    if column.kind == "integer":
        broken["value is not an integer"] = finite & (np.floor(numbers) != numbers)
    return _check_domain(np.where(finite, numbers, np.nan), absent, broken, column)


def _check_domain(
    encoded: Values, absent: Mask, broken: dict[str, Mask], column: Column
) -> tuple[Values, dict[str, Mask]]:
    outside = (encoded < column.low) | (encoded > column.high)
    return encoded, broken | _missing_rule(absent, column) | {_OUTSIDE: outside}


def _missing_rule(absent: Mask, column: Column) -> dict[str, Mask]:
    return {} if column.missing else {"missing values are not allowed": absent}


def _decode_column(encoded: Values, column: Column) -> pd.Series:
    absent = np.isnan(encoded)
    if column.kind == "continuous":
        return pd.Series(encoded)
    whole = np.where(absent, 0, encoded).astype(np.int64)
    if column.kind in CATEGORICAL_KINDS:
        texts = np.array([*(column.categories or ()), None], dtype=object)
        return pd.Series(texts[np.where(absent, -1, whole)], dtype=object)
    if column.kind == "boolean":
        truths = pd.Series(whole.astype(bool))
        return truths.astype("boolean").mask(absent) if column.missing else truths
    if column.kind == "datetime":
        moments = np.datetime64(_first_moment(column), "us") + whole.astype("timedelta64[us]")
        return pd.Series(moments).mask(absent)
    return pd.Series(whole) if not column.missing else pd.Series(whole).astype("Int64").mask(absent)
