"""The cells of one column as numbers, read from the column's declared domain alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.schema.column import Column
from workbench.schema.kinds.kind import OUTSIDE as OUTSIDE
from workbench.schema.kinds.kind import Mask as Mask
from workbench.schema.kinds.kind import Values as Values

if TYPE_CHECKING:
    import pandas as pd

LINE_BREAK = "a cell holds a line break: in CSV most often a quote that is not closed, with later rows in the cell"


def encode_column(series: pd.Series, column: Column, nulls: tuple[str, ...]) -> tuple[Values, dict[str, Mask]]:
    """Encoded values and, per broken rule, the mask of rows that break it."""
    import pandas as pd

    native = column.spec.native(series, column)
    if native is not None:
        return column.spec.judge(native, series.isna().to_numpy(), column)
    places, distinct = distinct_texts(series)
    texts: list[str | None] = [*distinct, None]  # place -1, a null, reads the None at the end
    if pd.api.types.is_object_dtype(series.dtype) or isinstance(series.dtype, pd.StringDtype | pd.CategoricalDtype):
        texts = [None if text in nulls else text for text in texts]
    encoded, broken = encode_texts(texts, column)
    return encoded[places], {rule: mask[places] for rule, mask in broken.items()}


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
    absent = np.array([text is None for text in texts], dtype=bool)
    encoded, broken = column.spec.judge(column.spec.parse(texts, column), absent, column)
    lines = line_breaks(texts, declared=column.categories or ())
    return encoded, ({rule: mask & ~lines for rule, mask in broken.items()} | {LINE_BREAK: lines})


def line_breaks(texts: Sequence[str | None], *, declared: Collection[str] = ()) -> Mask:
    """The mask of texts of several lines, but for those that are declared."""
    return np.array(
        [("\n" in text or "\r" in text) and text not in declared if text else False for text in texts], dtype=bool
    )


def parse_value(text: str, column: Column) -> float:
    """The encoded form of a value of the column's domain as a declaration spells it; NaN for what lies outside."""
    if not column.spec.declares(text, column):
        return math.nan
    encoded, broken = encode_texts([text], column)
    return math.nan if any(mask[0] for mask in broken.values()) else float(encoded[0])
