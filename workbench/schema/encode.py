"""The cells of one column as numbers, read from the column's declared domain alone."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.schema.column import CATEGORICAL_KINDS, Column

if TYPE_CHECKING:
    import pandas as pd

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OUTSIDE = "value is outside the declared bounds"
LINE_BREAK = "a cell holds a line break: in CSV most often a quote that is not closed, with later rows in the cell"
_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")
_BOOLEAN_TEXTS = dict.fromkeys(_TRUE, 1.0) | dict.fromkeys(_FALSE, 0.0)


def encode_column(series: pd.Series, column: Column, nulls: tuple[str, ...]) -> tuple[Values, dict[str, Mask]]:
    """Encoded values and, per broken rule, the mask of rows that break it."""
    import pandas as pd

    if _is_native(series, column):
        return _encode_native(series, column)
    places, distinct = distinct_texts(series)
    texts: list[str | None] = [*distinct, None]  # place -1, a null, reads the None at the end
    if pd.api.types.is_object_dtype(series.dtype) or isinstance(series.dtype, pd.StringDtype | pd.CategoricalDtype):
        texts = [None if text in nulls else text for text in texts]
    encoded, broken = encode_texts(texts, column)
    return encoded[places], {rule: mask[places] for rule, mask in broken.items()}


def _is_native(series: pd.Series, column: Column) -> bool:
    """Whether the series already holds the column's numbers or moments; everything else is read as text."""
    import pandas as pd

    if column.kind == "datetime":
        return pd.api.types.is_datetime64_any_dtype(series.dtype)
    is_number = pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype)
    return column.kind in ("integer", "continuous") and is_number


def _encode_native(series: pd.Series, column: Column) -> tuple[Values, dict[str, Mask]]:
    absent = series.isna().to_numpy()
    if column.kind != "datetime":
        numbers: Values = series.to_numpy(dtype=float, na_value=np.nan)
        return _check_numbers(numbers, absent, column)
    import pandas as pd

    moments = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    # integer arithmetic: a quotient of floats would be off by a microsecond in one of forty moments
    since = (moments - np.datetime64(first_moment(column), "us")).astype(np.int64)
    return _check_domain(np.where(absent, np.nan, since), absent, {}, column)


def distinct_texts(series: pd.Series) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Each row's place among the distinct values (-1: null), and these as stripped texts: long tables repeat values."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) != "string":
        series = series.map(_text, na_action="ignore")  # True and 1 are equal, but not the same text
    places, distinct = pd.factorize(series)
    return places, [_text(value) for value in distinct.tolist()]


def _text(value: object) -> str:
    """A value as a CSV file would show it; whole floats lose the point that a null neighbour gave them."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def encode_texts(texts: Sequence[str | None], column: Column) -> tuple[Values, dict[str, Mask]]:
    """Encoded values of texts and, per broken rule, the mask of those that break it: of a line break, that rule alone."""
    encoded, broken = _encode_texts(texts, column)
    lines = line_breaks(texts, declared=column.categories or ())
    return encoded, ({rule: mask & ~lines for rule, mask in broken.items()} | {LINE_BREAK: lines})


def line_breaks(texts: Sequence[str | None], *, declared: Collection[str] = ()) -> Mask:
    """The mask of texts of several lines, but for those that are declared."""
    return np.array(
        [("\n" in text or "\r" in text) and text not in declared if text else False for text in texts], dtype=bool
    )


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
        since = np.array([parse_microseconds(text, first_moment(column)) for text in texts])
        unreadable = np.isnan(since) & ~absent
        return _check_domain(since, absent, {"value is not an ISO 8601 date or time": unreadable}, column)
    return _check_numbers(np.array([parse_number(text) for text in texts]), absent, column)


def _category_codes(texts: Sequence[str | None], column: Column) -> Values:
    assert column.categories is not None
    codes = {category: float(code) for code, category in enumerate(column.categories)}
    unknown = np.nan if column.other is None else codes[column.other]
    return np.array([np.nan if text is None else codes.get(text, unknown) for text in texts])


def parse_value(text: str, column: Column) -> float:
    """The encoded form of a value of the column's domain as a declaration spells it; NaN for what lies outside."""
    # `other` takes undeclared values of rows; in a declaration they are slips of the pen
    if column.kind in CATEGORICAL_KINDS and text not in (column.categories or ()):
        return math.nan
    encoded, broken = encode_texts([text], column)
    return math.nan if any(mask[0] for mask in broken.values()) else float(encoded[0])


def parse_number(text: str | None) -> float:
    """The number a text spells in ASCII decimals, else NaN."""
    # float() rounds correctly, pandas' parser only nearly; but it takes 1_000 and digits of every script
    try:
        return float(text) if text is not None and text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def first_moment(column: Column) -> dt.datetime:
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
    return encoded, broken | _missing_rule(absent, column) | {OUTSIDE: outside}


def _missing_rule(absent: Mask, column: Column) -> dict[str, Mask]:
    return {} if column.missing else {"missing values are not allowed": absent}
