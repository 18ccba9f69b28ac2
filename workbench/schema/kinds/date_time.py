"""Datetime columns: moments to the microsecond, in UTC, between public bounds."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.schema.kinds.kind import Axis, Evidence, Fields, Level, NoisyEvidence, Values
from workbench.schema.kinds.numeric import NumericKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from workbench.schema.column import Column

LONGEST_SPAN = 280  # years between two dates that are still told apart by the microsecond
EPOCH = dt.datetime(1970, 1, 1)
_YEARS: Values = np.arange(1700.0, 2201.0)  # public ranges that dates are looked for in
# by how many microseconds the shortest cell has
_PATTERNS = ((86_400_000_000, "%Y-%m-%d"), (60_000_000, "%Y-%m-%d %H:%M"), (0, "%Y-%m-%d %H:%M:%S.%f"))


def parse_microseconds(text: str | None, origin: dt.datetime) -> float:
    """Whole microseconds in UTC from `origin` to the ISO 8601 date or time a text spells, else NaN."""
    # datetime's own parser: pandas' would read "now" as the time of day and know no date after 2262
    try:
        moment = dt.datetime.fromisoformat(text or "")
        naive = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return math.nan
    return float((naive - origin) // dt.timedelta(microseconds=1))


def since_epoch(text: str) -> float:
    """Microseconds from 1970 to the moment of a text, else NaN."""
    return parse_microseconds(text, EPOCH)


def year_of(text: str) -> float:
    """The year of the moment of a text, else NaN."""
    since = since_epoch(text)
    return math.nan if math.isnan(since) else float((EPOCH + dt.timedelta(microseconds=since)).year)


MOMENTS = Axis(since_epoch)
_IN_YEARS = Axis(year_of)


class DateTime(NumericKind):
    """Moments: an encoded one is the time since the lower bound."""

    name: ClassVar[str] = "datetime"
    rank: ClassVar[int] = 60
    level: ClassVar[Level | None] = "interval"
    example: ClassVar[Fields] = {"bounds": (dt.datetime(2000, 1, 1), dt.datetime(2030, 1, 1))}
    has_moments: ClassVar[bool] = True
    unreadable: ClassVar[str] = "value is not an ISO 8601 date or time"
    precedence: ClassVar[int | None] = 60
    axis: ClassVar[Axis | None] = MOMENTS

    def number(self, bound: float | dt.datetime, column: Column) -> float:
        """Return microseconds since the lower bound."""
        if not isinstance(bound, dt.datetime):
            return float(bound)
        return float((bound - first_moment(column)) // dt.timedelta(microseconds=1))

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        """Return the moments that texts spell."""
        first = first_moment(column)
        return np.array([parse_microseconds(text, first) for text in texts], dtype=float)

    def native(self, series: pd.Series, column: Column) -> Values | None:
        """Return the moments of a series of moments."""
        import pandas as pd

        if not pd.api.types.is_datetime64_any_dtype(series.dtype):
            return None
        moments = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        # integer arithmetic: a quotient of floats would be off by a microsecond in one of forty moments
        since = (moments - np.datetime64(first_moment(column), "us")).astype(np.int64)
        return np.where(series.isna().to_numpy(), np.nan, since)

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return moments to the microsecond."""
        import pandas as pd

        absent = np.isnan(encoded)
        since = np.where(absent, 0, encoded).astype(np.int64).astype("timedelta64[us]")
        return pd.Series(np.datetime64(first_moment(column), "us") + since).mask(absent)

    def is_of(self, text: str) -> bool:
        """Return whether a text is a date or a time of ISO 8601."""
        return not math.isnan(since_epoch(text))

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return whole years, the later ones where they are too many."""
        ends = seen.ends(MOMENTS) if self.name in seen.forms else None
        if ends is None:
            return None
        low, high = (EPOCH + dt.timedelta(microseconds=since) for since in ends)
        last = min(high.year + 1, dt.MAXYEAR)
        return self._years(max(low.year, last - LONGEST_SPAN), last, missing=missing)

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return the years that enclose what is common."""
        found = look.filled(_IN_YEARS, (self.name,), _YEARS, rho)
        if found is None:
            return None
        return self._years(int(max(found[0], found[1] - LONGEST_SPAN)), int(found[1]), missing=missing)

    def bound_text(self, value: float, column: Column) -> str:
        """Return a moment to the minute."""
        return (first_moment(column) + dt.timedelta(microseconds=value)).isoformat(sep=" ", timespec="minutes")

    def end_writer(self, column: Column) -> Callable[[float], str]:
        """Return how a moment is written: by its day, or as finely as it takes to separate the cells."""
        first = first_moment(column)
        shortest = min(high - low + 1 for low, high in zip(*self.cell_bounds(column), strict=True))
        pattern = next(pattern for least, pattern in _PATTERNS if shortest >= least)
        return lambda value: f"{first + dt.timedelta(microseconds=value):{pattern}}"

    def _years(self, first: int, last: int, *, missing: bool) -> Fields:
        bounds = (dt.datetime(first, 1, 1), dt.datetime(last, 1, 1))
        return {"kind": self.name, "bounds": bounds, "missing": missing, "out_of_domain": "clip"}


def first_moment(column: Column) -> dt.datetime:
    """Return the lower bound of a datetime column."""
    assert column.bounds is not None
    assert isinstance(column.bounds[0], dt.datetime)
    return column.bounds[0]


SPEC = DateTime()
