"""One column of a schema: what kind of value it holds, what it is for, and its public domain."""

from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from workbench.described import Described

Kind = Literal["categorical", "ordinal", "integer", "continuous", "boolean", "datetime", "text", "identifier"]
Role = Literal["feature", "target", "sensitive", "quasi_identifier", "subject_id", "drop"]

CATEGORICAL_KINDS = frozenset({"categorical", "ordinal"})
NUMERIC_KINDS = frozenset({"integer", "continuous", "datetime"})
UNENCODED_KINDS = frozenset({"text", "identifier"})
EXACT_INTEGER = 2**53 - 1  # encoded values are float64: beyond it a neighbour could be rounded into the bounds
MAX_BINS = 65_536  # what a marginal can hold; more is a slip of the pen that would fill the memory


class Column(Described):
    """A column's kind, role and public domain. Every field is public information and enters releases and digests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    """What a value is. `text` and `identifier` can't be modelled: their role is drop or subject_id."""
    role: Role = "feature"
    """What the column is for. One column at most is the target. `sensitive` and `quasi_identifier` columns are
    modelled as features are, and attacked in evaluations. `drop` leaves the column out; `subject_id` holds the
    person's identifier, of which a keyed token alone is kept.
    """
    categories: tuple[str, ...] | None = None
    """Every value of a categorical or ordinal column, ordinal ones in their order."""
    other: str | None = None
    """One of the categories: it takes every value that is not declared."""
    bounds: tuple[float, float] | tuple[dt.datetime, dt.datetime] | None = None
    """Lowest and highest value of an integer, continuous or datetime column, both included; dates in UTC, without a
    time zone.
    """
    bins: int | tuple[float, ...] | tuple[dt.datetime, ...] = Field(default=32)
    """How a numeric domain is cut into public cells: into so many of equal width, or at these inner cut points (a
    value equal to a cut lies right of it).
    """
    missing: bool = False
    """Whether a value may be missing; missing is then a cell of its own. A target may not."""
    out_of_domain: Literal["reject", "drop", "clip"] = "reject"
    """What becomes of a row that breaks the domain: the whole table is refused, the row is dropped, or the number
    is moved to the nearest bound.
    """
    reviewed: bool = True
    """False where the domain was guessed from data and no person has confirmed it; certificates then say so."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in UNENCODED_KINDS and self.role not in ("drop", "subject_id"):
            raise ValueError(f"a {self.kind} column can only have role drop or subject_id, found role {self.role}")
        if self.role in ("drop", "subject_id"):
            return self
        if self.kind in CATEGORICAL_KINDS:
            self._check_categories()
        elif self.categories is not None or self.other is not None:
            raise ValueError(f"categories and other are for categorical and ordinal columns, found kind {self.kind}")
        if self.kind in NUMERIC_KINDS:
            self._check_bounds()
            self._check_bins()
        elif self.bounds is not None:
            raise ValueError(f"bounds are for numbers and dates, found kind {self.kind}")
        if self.out_of_domain == "clip" and self.kind not in NUMERIC_KINDS:
            raise ValueError(f"out_of_domain: clip is for numbers and dates, found kind {self.kind}; use drop or other")
        return self

    def _check_categories(self) -> None:
        if not self.categories:
            raise ValueError(f"a {self.kind} column needs its public categories")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("categories repeat a value; list each once")
        if any(category != category.strip() for category in self.categories):
            raise ValueError(
                "a category begins or ends with white space, which is stripped from the data: no row could match"
            )
        if self.other is not None and self.other not in self.categories:
            raise ValueError("other must be one of the categories")

    def _check_bounds(self) -> None:
        if self.bounds is None:
            raise ValueError(f"a {self.kind} column needs public bounds [low, high]")
        low, high = self.bounds
        if (self.kind == "datetime") != isinstance(low, dt.datetime):
            raise ValueError(f"bounds of a {self.kind} column have the wrong type")
        if isinstance(low, dt.datetime) and (low.tzinfo or (isinstance(high, dt.datetime) and high.tzinfo)):
            raise ValueError("datetime bounds carry no time zone: declare them in UTC without one")
        if self.kind != "datetime" and not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"bounds must be finite, found [{low}, {high}]")
        if not low <= high:  # type: ignore[operator]
            raise ValueError(f"bounds are inverted: [{low}, {high}]; write [low, high]")
        if self.kind == "integer" and (self.low % 1 or self.high % 1):
            raise ValueError(f"an integer column needs integer bounds, found [{low}, {high}]")
        if self.kind != "continuous" and max(abs(self.low), abs(self.high)) > EXACT_INTEGER:
            raise ValueError("bounds exceed what is represented exactly (2**53; for dates, 285 years)")
        if not math.isfinite(self.high - self.low):
            raise ValueError("bounds lie too far apart to be cut into bins")

    def _check_bins(self) -> None:
        if isinstance(self.bins, int):
            if not 1 <= self.bins <= MAX_BINS:
                raise ValueError(f"bins must lie between 1 and {MAX_BINS}, found {self.bins}")
            return
        moments = [cut for cut in self.bins if isinstance(cut, dt.datetime)]
        if len(moments) != (len(self.bins) if self.kind == "datetime" else 0):
            raise ValueError(f"cut points of a {self.kind} column have the wrong type")
        if any(moment.tzinfo for moment in moments):
            raise ValueError("datetime cut points carry no time zone: declare them in UTC without one")
        cuts = [self._number(cut) for cut in self.bins]
        if not all(self.low < cut <= self.high for cut in cuts) or any(b <= a for a, b in pairwise(cuts)):
            raise ValueError("cut points must rise strictly and lie inside the bounds")
        if self.kind == "integer" and any(cut % 1 for cut in cuts):
            raise ValueError("cut points of an integer column must be integers, or a bin could hold none")

    def _number(self, value: float | dt.datetime) -> float:
        """The encoded form of a bound or cut: itself, or microseconds since the lower bound of a datetime column."""
        if isinstance(value, dt.datetime):
            assert self.bounds is not None
            return float((value - self.bounds[0]) // dt.timedelta(microseconds=1))  # type: ignore[operator]
        return float(value)

    @property
    def low(self) -> float:
        """The encoded lower bound of a numeric column."""
        assert self.bounds is not None
        return self._number(self.bounds[0])

    @property
    def high(self) -> float:
        """The encoded upper bound of a numeric column."""
        assert self.bounds is not None
        return self._number(self.bounds[1])

    @property
    def cuts(self) -> tuple[float, ...]:
        """Inner cut points of a numeric column's public bins, rising; an integer column never has an empty bin."""
        if not isinstance(self.bins, int):
            return tuple(self._number(cut) for cut in self.bins)
        if self.kind in ("integer", "datetime"):
            values = self.high - self.low + 1
            bins = int(min(self.bins, values))
            return tuple(self.low + math.ceil(i * values / bins) for i in range(1, bins))
        step = (self.high - self.low) / self.bins
        cuts = {
            self.low + i * step for i in range(1, self.bins)
        }  # a set: in a narrow range neighbours may round together
        return tuple(sorted(cut for cut in cuts if self.low < cut <= self.high))

    @property
    def cells(self) -> int:
        """The number of cells of the public domain, without the one for missing values."""
        if self.kind == "boolean":
            return 2
        return len(self.categories or ()) if self.kind in CATEGORICAL_KINDS else len(self.cuts) + 1

    @property
    def cell_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The least and the greatest value of each cell of a numeric column; continuous: the next cell's least instead."""
        cuts = self.cuts
        step = 0.0 if self.kind == "continuous" else 1.0
        return (self.low, *cuts), (*(cut - step for cut in cuts), self.high)

    @property
    def is_coded(self) -> bool:
        """Whether encoded values are codes: places in the list of categories, or 0 and 1 for false and true."""
        return self.kind in CATEGORICAL_KINDS or self.kind == "boolean"

    @property
    def encoded(self) -> bool:
        """Whether the column is stored and modelled at all."""
        return self.role not in ("drop", "subject_id")

    @property
    def is_categorical(self) -> bool:
        """Whether encoded values are codes of an unordered set (a learner must not read them as magnitudes)."""
        return self.kind in ("categorical", "boolean")
