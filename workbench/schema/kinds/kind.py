"""What a kind of column can be asked. A kind holds no state: the column that it speaks of is given to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from workbench.specs import Settings

if TYPE_CHECKING:  # a column asks its kind, never the other way round
    import datetime as dt

    import pandas as pd

    from workbench.schema.column import Column

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.int64]
Ends = tuple[float, float]
Fields = dict[str, object]  # of a column, by name
Level = Literal["nominal", "ordinal", "interval", "ratio"]

OUTSIDE = "value is outside the declared bounds"
MISSING = "missing values are not allowed"


@dataclass(frozen=True)
class Axis:
    """Where the bounds of a column are looked for: the number that a text stands for, NaN for none."""

    read: Callable[[str], float]


class KindSettings(Settings):
    """The fields of a column that one kind has and others have not; each becomes a field of `Column`.

    One that is unset is no part of a document: digests of other columns stay.
    """

    @classmethod
    def of(cls, config: BaseModel) -> Self:
        """Return a column's values of these fields; one that is unset has its default."""
        given = {name: getattr(config, name) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in given.items() if value is not None})

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for field in cls.model_fields.values():
            field.exclude_if = _is_unset


def _is_unset(value: object) -> bool:
    return value is None


class Evidence(Protocol):
    """What a kind may ask of a column that `schema infer` has read."""

    @property
    def distinct(self) -> Collection[str]:
        """The texts that were seen, as far as they were counted."""

    @property
    def forms(self) -> Collection[str]:
        """The kinds whose form every text has."""

    @property
    def looks_like_keys(self) -> bool:
        """Whether no value was seen twice, and values could be keys or prose."""

    @property
    def is_prose(self) -> bool:
        """Whether values are long."""

    def common(self) -> list[str]:
        """Return the texts that enough subjects hold."""

    def ends(self, axis: Axis) -> Ends | None:
        """Return the lowest and the highest number that enough subjects reach."""


class NoisyEvidence(Protocol):
    """What a kind may ask of a column that `schema infer --private` looks at: noisy counts, each at its price in rho."""

    def common(self, rho: float) -> Mapping[str, int]:
        """Return the texts whose noisy count passed the threshold."""

    def filled(self, axis: Axis, forms: Collection[str], edges: Values, rho: float) -> Ends | None:
        """Return the ends of the first and the last range between `edges` that surely holds texts of these forms."""


class ColumnKind:
    """A kind of column. What is not overridden is that of a kind without domain, which is never stored.

    Kinds of codes start from `CodedKind`, kinds of numbers from `NumericKind`.
    """

    name: ClassVar[str]
    rank: ClassVar[int] = 100
    """Its place in lists; of equal ones the name decides."""
    level: ClassVar[Level | None] = None
    """The level of measurement: what an encoded value may be compared by; None where nothing is encoded."""
    is_coded: ClassVar[bool] = False
    """Whether encoded values are codes: places in the labels."""
    is_whole: ClassVar[bool] = False
    """Whether encoded values are whole numbers."""
    has_categories: ClassVar[bool] = False
    """Whether the column lists its `categories`."""
    has_bounds: ClassVar[bool] = False
    """Whether the column has `bounds` and `bins`, and a value may be clipped."""
    settings: ClassVar[type[KindSettings]] = KindSettings
    example: ClassVar[Fields] = {}
    """Fields of a column that shows the kind; those without a default must be here. Contract tests start from it."""
    unreadable: ClassVar[str] = "value cannot be read"
    """The rule that a value breaks which is of no use at all."""
    left_out: ClassVar[str] = "it holds nothing to model"
    """Why a draft leaves such a column out."""

    precedence: ClassVar[int | None] = None
    """Its turn when a kind is guessed, lowest first; None where it is never guessed."""
    axis: ClassVar[Axis | None] = None
    """Where bounds are looked for; kinds that share one share what was read."""
    narrower: ClassVar[frozenset[str]] = frozenset()
    """The kinds whose texts are of this form too."""
    may_be_keys: ClassVar[bool] = False
    """Whether a column of this form without repetition is a list of keys."""

    def check(self, column: Column) -> None:
        """Raise ValueError where the column's domain is none."""

    def number(self, bound: float | dt.datetime, column: Column) -> float:
        """Return the encoded form of a bound or of a cut point."""
        raise TypeError(f"a column of kind {self.name} has no bounds")

    def cuts(self, column: Column) -> tuple[float, ...]:
        """Return the inner cut points of the public cells, encoded and rising."""
        raise TypeError(f"a column of kind {self.name} has no cut points")

    def cells(self, column: Column) -> int:
        """Return the number of public cells, without the one for missing values."""
        raise TypeError(f"a column of kind {self.name} has no cells")

    def cell_bounds(self, column: Column) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the least and the greatest encoded value of each cell of numbers."""
        raise TypeError(f"a column of kind {self.name} has no cells of numbers")

    def labels(self, column: Column) -> tuple[str, ...]:
        """Return the texts of the codes, in order; none where encoded values are no codes."""
        return ()

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        """Return the encoded values of texts; not finite where a text is missing or unreadable."""
        raise TypeError(f"a column of kind {self.name} is not stored")

    def native(self, series: pd.Series, column: Column) -> Values | None:
        """Return the encoded values of a series that holds values and not texts; None where it is to be read as text."""
        return None

    def rules(self, values: Values, column: Column) -> dict[str, Mask]:
        """Return, for each rule of this kind alone, the mask of encoded values that break it."""
        return {}

    def declares(self, text: str, column: Column) -> bool:
        """Return whether a constraint or a condition may spell a value so."""
        return True

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return the values that the encoded ones stand for, in their type."""
        raise TypeError(f"a column of kind {self.name} is not stored")

    def cell_of(self, encoded: Values, column: Column) -> Values:
        """Return the cells of encoded values; anything for NaN."""
        raise TypeError(f"a column of kind {self.name} has no cells")

    def draw(self, cells: Cells, rng: np.random.Generator, asked: Mask, limit: Ends | None, column: Column) -> Values:
        """Return encoded values drawn uniformly in cells and limit; raise InputError where an asked one leaves no value."""
        raise TypeError(f"a column of kind {self.name} has no cells")

    def judge(self, values: Values, absent: Mask, column: Column) -> tuple[Values, dict[str, Mask]]:
        """Return the values, NaN where they are no numbers, and per broken rule the mask of those that break it."""
        readable = np.isfinite(values)
        known = np.where(readable, values, np.nan)
        broken = {self.unreadable: ~readable & ~absent} | self.rules(known, column)
        if not column.missing:
            broken[MISSING] = absent
        if self.has_bounds:
            broken[OUTSIDE] = (known < column.low) | (known > column.high)
        return known, broken

    def is_of(self, text: str) -> bool:
        """Return whether a text, not blank, has the form of this kind; it depends on no other text."""
        return False

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return the fields of a column that `schema infer` proposes; None where it is not of this kind."""
        return None

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return the fields of a column of this form that `schema infer --private` proposes for rho; None for none."""
        return None

    def write_domain(self, column: Column) -> str:
        """Return the domain as a person edits it in a table."""
        return ""

    def read_domain(self, name: str, text: str, before: Column) -> Fields:
        """Return the fields of such a text, of a column that was `before`; raise InputError where it is none."""
        return {}

    def domain_text(self, column: Column) -> str:
        """Return the domain as messages name it."""
        return self.name

    def bound_text(self, value: float, column: Column) -> str:
        """Return an encoded number as charts write it."""
        return f"{value:.0f}" if self.is_whole else f"{value:.6g}"

    def cell_labels(self, column: Column) -> list[str]:
        """Return the public cells as a profile writes them."""
        return list(self.labels(column))


def parse_number(text: str | None) -> float:
    """The number a text spells in ASCII decimals, else NaN."""
    # float() rounds correctly, pandas' parser only nearly; but it takes 1_000 and digits of every script
    try:
        return float(text) if text is not None and text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


NUMBERS = Axis(parse_number)
