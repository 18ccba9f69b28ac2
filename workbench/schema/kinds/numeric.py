"""What kinds of numbers share: public bounds, cells between cut points, and values drawn inside a cell.

Encoded values here are whole numbers. A kind of dates or of decimals counts its days or its smallest units from `number`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from workbench.errors import InputError
from workbench.schema.kinds.kind import (
    NUMBERS,
    Cells,
    ColumnKind,
    Ends,
    Fields,
    Mask,
    NoisyEvidence,
    Values,
    parse_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from workbench.schema.column import Column

EXACT_INTEGER = 2**53 - 1  # encoded values are float64: beyond it a neighbour could be rounded into the bounds
MAX_BINS = 65_536  # what a marginal can hold; more is a slip of the pen that would fill the memory
BETWEEN = " .. "  # bounds are written low .. high
# Public ranges that numbers are looked for in, and how many parts the range that was found is cut into.
_POWERS = tuple(2.0**power for power in range(-20, 63))
_RANGES: Values = np.array([*(-power for power in reversed(_POWERS)), 0.0, *_POWERS])
_PARTS = 64


class NumericKind(ColumnKind):
    """A kind whose values are whole numbers between public bounds."""

    is_whole: ClassVar[bool] = True
    has_bounds: ClassVar[bool] = True
    has_moments: ClassVar[bool] = False
    """Whether bounds and cut points are written as dates."""
    unreadable: ClassVar[str] = "value is not a finite number"

    def check(self, column: Column) -> None:
        """Raise ValueError where bounds or bins are none."""
        self._check_bounds(column)
        self._check_bins(column)

    def check_ends(self, column: Column) -> None:
        """Raise ValueError where bounds in order are not of this kind."""

    def check_cuts(self, cuts: Sequence[float]) -> None:
        """Raise ValueError where rising cut points are not of this kind."""

    def number(self, bound: float | dt.datetime, column: Column) -> float:
        """Return the bound itself."""
        return float(bound)  # type: ignore[arg-type]

    def cuts(self, column: Column) -> tuple[float, ...]:
        """Return the cut points that the column lists, or of so many equal cells, none of which is empty."""
        if not isinstance(column.bins, int):
            return tuple(self.number(cut, column) for cut in column.bins)
        values = column.high - column.low + 1
        bins = int(min(column.bins, values))
        return tuple(column.low + math.ceil(i * values / bins) for i in range(1, bins))

    def cells(self, column: Column) -> int:
        """Return one more than there are cuts."""
        return len(self.cuts(column)) + 1

    def cell_bounds(self, column: Column) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the least and the greatest number of each cell."""
        cuts = self.cuts(column)
        return (column.low, *cuts), (*(cut - 1.0 for cut in cuts), column.high)

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        """Return the numbers that texts spell."""
        return np.array([parse_number(text) for text in texts], dtype=float)

    def native(self, series: pd.Series, column: Column) -> Values | None:
        """Return the numbers of a series of numbers."""
        import pandas as pd

        if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
            return None
        numbers: Values = series.to_numpy(dtype=float, na_value=np.nan)
        return numbers

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return whole numbers; pandas' own type where one may be missing."""
        import pandas as pd

        absent = np.isnan(encoded)
        whole = pd.Series(np.where(absent, 0, encoded).astype(np.int64))
        return whole.astype("Int64").mask(absent) if column.missing else whole

    def cell_of(self, encoded: Values, column: Column) -> Values:
        """Return the cell between cut points; a number equal to a cut is right of it."""
        return np.searchsorted(self.cuts(column), encoded, side="right")  # type: ignore[return-value]

    def draw(self, cells: Cells, rng: np.random.Generator, asked: Mask, limit: Ends | None, column: Column) -> Values:
        """Return one of the whole numbers of each cell."""
        lows, highs = self._inside(cells, asked, limit, column)
        firsts, lasts = lows.astype(np.int64), np.floor(highs).astype(np.int64)
        return rng.integers(firsts[cells], lasts[cells], endpoint=True).astype(np.float64)

    def write_domain(self, column: Column) -> str:
        """Return the bounds with dots between them."""
        if column.bounds is None:
            return ""
        return BETWEEN.join(f"{b:g}" if isinstance(b, float) and abs(b) < 1e6 else _plain(b) for b in column.bounds)

    def read_domain(self, name: str, text: str, before: Column) -> Fields:
        """Return the bounds; raise InputError where a text has not two of them."""
        ends = [end.strip() for end in text.split(BETWEEN.strip())]
        try:
            if len(ends) == 2:
                return {"bounds": ends if self.has_moments else [float(end) for end in ends]}
        except ValueError:
            pass
        raise InputError(
            f"column {name!r} needs bounds", hint="write the lowest and the highest value, such as 0 .. 100"
        )

    def domain_text(self, column: Column) -> str:
        """Return the bounds in words."""
        assert column.bounds is not None
        return f"{self.name} from {column.bounds[0]} to {column.bounds[1]}"

    def cell_labels(self, column: Column) -> list[str]:
        """Return the ends of each cell, or the only value in it."""
        write = self.end_writer(column)
        cells = [(write(low), write(high)) for low, high in zip(*self.cell_bounds(column), strict=True)]
        return [f"{low} to {high}" if low != high else low for low, high in cells]

    def end_writer(self, column: Column) -> Callable[[float], str]:
        """Return how a profile writes the ends of cells."""
        return lambda value: f"{value:g}"

    def _inside(self, cells: Cells, asked: Mask, limit: Ends | None, column: Column) -> tuple[Values, Values]:
        """The ends of all cells inside the limit."""
        lows, highs = (np.array(ends) for ends in self.cell_bounds(column))
        if limit is not None:
            low, high = limit
            lows, highs = np.maximum(lows, np.ceil(low) if self.is_whole else low), np.minimum(highs, high)
            if (lows > highs)[cells[asked]].any():
                raise InputError("a number was asked for in a cell that lies wholly outside what is allowed of it")
            highs = np.maximum(lows, highs)  # of cells that were not asked for
        return lows, highs

    def _check_bounds(self, column: Column) -> None:
        if column.bounds is None:
            raise ValueError(f"a {self.name} column needs public bounds [low, high]")
        low, high = column.bounds
        if self.has_moments != isinstance(low, dt.datetime):
            raise ValueError(f"bounds of a {self.name} column have the wrong type")
        if isinstance(low, dt.datetime) and (low.tzinfo or (isinstance(high, dt.datetime) and high.tzinfo)):
            raise ValueError("datetime bounds carry no time zone: declare them in UTC without one")
        if not self.has_moments and not (math.isfinite(column.low) and math.isfinite(column.high)):
            raise ValueError(f"bounds must be finite, found [{low}, {high}]")
        if not low <= high:  # type: ignore[operator]
            raise ValueError(f"bounds are inverted: [{low}, {high}]; write [low, high]")
        self.check_ends(column)
        if self.is_whole and max(abs(column.low), abs(column.high)) > EXACT_INTEGER:
            raise ValueError("bounds exceed what is represented exactly (2**53; for dates, 285 years)")
        if not math.isfinite(column.high - column.low):
            raise ValueError("bounds lie too far apart to be cut into bins")

    def _check_bins(self, column: Column) -> None:
        if isinstance(column.bins, int):
            if not 1 <= column.bins <= MAX_BINS:
                raise ValueError(f"bins must lie between 1 and {MAX_BINS}, found {column.bins}")
            return
        moments = [cut for cut in column.bins if isinstance(cut, dt.datetime)]
        if len(moments) != (len(column.bins) if self.has_moments else 0):
            raise ValueError(f"cut points of a {self.name} column have the wrong type")
        if any(moment.tzinfo for moment in moments):
            raise ValueError("datetime cut points carry no time zone: declare them in UTC without one")
        cuts = self.cuts(column)
        if not all(column.low < cut <= column.high for cut in cuts) or any(b <= a for a, b in pairwise(cuts)):
            raise ValueError("cut points must rise strictly and lie inside the bounds")
        self.check_cuts(cuts)


def is_number(text: str) -> bool:
    """Whether a text is a number, and not a code of digits."""
    # a leading zero is a code's (a post code's), and would be lost in a number
    has_leading_zero = re.match(r"[+-]?0\d", text) is not None
    return not has_leading_zero and (not math.isnan(parse_number(text)) or text.lower() == "nan")


def range_of_numbers(look: NoisyEvidence, rho: float) -> Ends | None:
    """Search for the range of plain numbers over powers of two, and then over parts of what that found."""
    forms = ("integer", "continuous")
    rough = look.filled(NUMBERS, forms, _RANGES, rho / 2)
    if rough is None:
        return None
    return look.filled(NUMBERS, forms, np.linspace(*rough, _PARTS + 1), rho / 2) or rough


def round_outward(low: float, high: float, *, smallest: float) -> Ends:
    """Bounds moved outward to multiples of 1, 2 or 5 times a power of ten, a tenth of their distance or more."""
    size = max(abs(low), abs(high))
    span = high - low if high > low else size
    step = max(series_125(max(span / 10, size * 1e-12, 1e-300)), smallest)
    digits = max(0, -math.floor(math.log10(step)))
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)


def series_125(size: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `size`."""
    power = math.floor(math.log10(size))
    # float("2e-3") is the nearest float to the decimal; 2 * 10.0**-3 need not be
    return next(step for step in (float(f"{d}e{power}") for d in (1, 2, 5, 10)) if step >= size * (1 - 1e-12))


def _plain(bound: Any) -> str:
    if isinstance(bound, float):
        return str(int(bound)) if bound.is_integer() else repr(bound)
    return str(bound.isoformat())
