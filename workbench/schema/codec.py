"""Encodes tables to numbers and back from the declared schema alone; nothing is ever learnt from the rows.

Three forms of a table of n rows and d stored columns:
  frame   pandas, original types: text categories, integers, floats, booleans, timestamps
  values  float64 [n, d]: category codes, numbers, microseconds since the lower bound; NaN is missing. Lossless.
  bins    int64 [n, d]: cell numbers of the public domain, for marginals; the last cell of a column is "missing" if allowed
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.schema.column import CATEGORICAL_KINDS, Column
from workbench.schema.schema import Schema

Values = npt.NDArray[np.float64]
Bins = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BOOLEAN_TEXTS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "yes": 1.0, "no": 0.0, "t": 1.0, "f": 0.0}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Rows of a table that break one rule of one column; it carries row positions, never values."""

    column: str
    rule: str
    rows: npt.NDArray[np.intp]


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

    def encode(self, frame: pd.DataFrame) -> tuple[Values, Mask, list[Violation]]:
        """Values [n, d], the rows to leave out by a column's own policy, and the violations that policy `reject` reports."""
        values = np.empty((len(frame), len(self.names)))
        dropped = np.zeros(len(frame), dtype=bool)
        violations: list[Violation] = []
        for position, (name, column) in enumerate(self.schema.encoded.items()):
            encoded, broken = _encode_column(frame[name], column, self.schema.null_values)
            values[:, position] = encoded
            for rule, mask in broken.items():
                if not mask.any():
                    continue
                if column.out_of_domain == "reject":
                    violations.append(Violation(column=name, rule=rule, rows=np.flatnonzero(mask)))
                else:
                    dropped |= mask
        return values, dropped, violations

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
        """Encoded values drawn uniformly inside each cell: integers among the cell's integers, numbers in its interval."""
        values = np.empty(bins.shape)
        for position, column in enumerate(self.schema.encoded.values()):
            cells = bins[:, position]
            missing = cells >= _cells(column)
            inside = np.where(missing, 0, cells)
            drawn = inside if _is_coded(column) else _draw_inside(column, inside, rng)
            values[:, position] = np.where(missing, np.nan, drawn)
        return values


def _is_coded(column: Column) -> bool:
    return column.kind in CATEGORICAL_KINDS or column.kind == "boolean"


def _cells(column: Column) -> int:
    if column.kind == "boolean":
        return 2
    return len(column.categories or ()) if column.kind in CATEGORICAL_KINDS else len(column.cuts) + 1


def _draw_inside(column: Column, cells: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    lows = np.array([column.low, *column.cuts])
    if column.kind == "continuous":
        highs = np.array([*column.cuts, column.high])
        drawn = lows[cells] + rng.random(len(cells)) * (highs - lows)[cells]
        # rounding may land on the next cell's left edge; the last cell includes the upper bound
        return np.where(cells < len(lows) - 1, np.minimum(drawn, np.nextafter(highs[cells], -np.inf)), drawn)
    first = np.ceil(lows)
    last = np.append(np.ceil(lows[1:]) - 1, column.high)
    return rng.integers(first[cells].astype(np.int64), last[cells].astype(np.int64), endpoint=True).astype(np.float64)


def _encode_column(series: pd.Series, column: Column, nulls: tuple[str, ...]) -> tuple[Values, dict[str, Mask]]:
    """Encoded values and, per broken rule, the mask of rows that break it."""
    texts = _texts(series)
    absent = series.isna().to_numpy() | (texts.isin(nulls).to_numpy() if texts is not None else False)
    if column.kind in CATEGORICAL_KINDS:
        encoded, broken = _encode_categories(series if texts is None else texts, absent, column)
    elif column.kind == "boolean":
        encoded, broken = _encode_booleans(series if texts is None else texts, absent)
    elif column.kind == "datetime":
        encoded, broken = _encode_datetimes(series if texts is None else texts, absent, column)
    else:
        encoded, broken = _encode_numbers(series if texts is None else texts, absent, column)
    if not column.missing:
        broken["missing values are not allowed"] = absent
    return np.where(absent, np.nan, encoded), broken


def _texts(series: pd.Series) -> pd.Series | None:
    """The series as stripped texts where it holds text, else None."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if series.dtype != object and not isinstance(series.dtype, pd.StringDtype):
        return None
    return series.astype("string").str.strip().astype(object)


def _encode_categories(series: pd.Series, absent: Mask, column: Column) -> tuple[Values, dict[str, Mask]]:
    assert column.categories is not None
    if pd.api.types.is_float_dtype(series.dtype):  # whole numbers read as floats because a neighbour was null
        series = series.map(lambda x: str(int(x)) if x == x and float(x).is_integer() else str(x))
    codes = pd.Index(column.categories).get_indexer(series.astype(object).where(~absent, "").astype(str))
    if column.other is not None:
        codes = np.where(codes < 0, column.categories.index(column.other), codes)
    return codes.astype(float), {"value is not among the declared categories": (codes < 0) & ~absent}


def _encode_booleans(series: pd.Series, absent: Mask) -> tuple[Values, dict[str, Mask]]:
    texts = series.astype(object).where(~absent, "").astype(str).str.lower().str.removesuffix(".0")
    encoded = texts.map(_BOOLEAN_TEXTS).to_numpy(dtype=float, na_value=np.nan)
    return encoded, {"value is not true or false": np.isnan(encoded) & ~absent}


def _encode_datetimes(series: pd.Series, absent: Mask, column: Column) -> tuple[Values, dict[str, Mask]]:
    assert column.bounds is not None
    parsed = pd.to_datetime(series.where(~absent, None), errors="coerce", utc=True, format="ISO8601")
    unreadable = parsed.isna().to_numpy() & ~absent
    delta = parsed.dt.tz_localize(None) - pd.Timestamp(column.bounds[0])
    encoded = (delta / pd.Timedelta(microseconds=1)).to_numpy(dtype=float)
    return _within_bounds(np.floor(encoded), {"value is not an ISO 8601 date or time": unreadable}, column)


def _encode_numbers(series: pd.Series, absent: Mask, column: Column) -> tuple[Values, dict[str, Mask]]:
    numbers = pd.to_numeric(series.where(~absent, None), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    unreadable = ~np.isfinite(numbers) & ~absent
    broken = {"value is not a finite number": unreadable}
    if column.kind == "integer":
        broken["value is not an integer"] = np.isfinite(numbers) & (numbers % 1 != 0)
    return _within_bounds(numbers, broken, column)


def _within_bounds(encoded: Values, broken: dict[str, Mask], column: Column) -> tuple[Values, dict[str, Mask]]:
    if column.out_of_domain == "clip":
        return np.clip(encoded, column.low, column.high), broken
    with np.errstate(invalid="ignore"):
        broken["value is outside the declared bounds"] = (encoded < column.low) | (encoded > column.high)
    return encoded, broken


def _decode_column(encoded: Values, column: Column) -> pd.Series:
    absent = np.isnan(encoded)
    if column.kind == "continuous":
        return pd.Series(encoded)
    whole = np.where(absent, 0, encoded).astype(np.int64)
    if column.kind in CATEGORICAL_KINDS:
        texts = np.asarray(column.categories, dtype=object)[whole]
        return pd.Series(np.where(absent, None, texts), dtype=object)
    if column.kind == "boolean":
        return pd.Series(whole.astype(bool)) if not column.missing else pd.Series(whole.astype(bool)).astype("boolean").mask(absent)
    if column.kind == "datetime":
        assert column.bounds is not None
        moments = pd.Timestamp(column.bounds[0]).as_unit("us").to_datetime64() + whole.astype("timedelta64[us]")
        return pd.Series(moments).mask(absent)
    return pd.Series(whole) if not column.missing else pd.Series(whole).astype("Int64").mask(absent)
