"""Integer columns: whole numbers between public bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.schema.kinds.kind import (
    NUMBERS,
    Axis,
    Evidence,
    Fields,
    Level,
    Mask,
    NoisyEvidence,
    Values,
    parse_number,
)
from workbench.schema.kinds.numeric import EXACT_INTEGER, NumericKind, is_number, range_of_numbers, round_outward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.schema.column import Column


class Integer(NumericKind):
    """Whole numbers, of which zero means none."""

    name: ClassVar[str] = "integer"
    rank: ClassVar[int] = 30
    level: ClassVar[Level | None] = "ratio"
    example: ClassVar[Fields] = {"bounds": (0.0, 100.0)}
    precedence: ClassVar[int | None] = 30
    axis: ClassVar[Axis | None] = NUMBERS
    may_be_keys: ClassVar[bool] = True

    def check_ends(self, column: Column) -> None:
        """Raise ValueError where a bound is no whole number."""
        if column.low % 1 or column.high % 1:
            raise ValueError(f"an integer column needs integer bounds, found {list(column.bounds or ())}")

    def check_cuts(self, cuts: Sequence[float]) -> None:
        """Raise ValueError where a cut is no whole number."""
        if any(cut % 1 for cut in cuts):
            raise ValueError("cut points of an integer column must be integers, or a bin could hold none")

    def rules(self, values: Values, column: Column) -> dict[str, Mask]:
        """Return the mask of fractions."""
        return {"value is not an integer": np.isfinite(values) & (np.floor(values) != values)}

    def is_of(self, text: str) -> bool:
        """Return whether a text is a whole number, and no code of digits."""
        return is_number(text) and parse_number(text).is_integer()

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return bounds rounded outward; None where they could not be told from their neighbours."""
        ends = seen.ends(NUMBERS) if self.name in seen.forms else None
        if ends is None:
            return None
        low, high = round_outward(*ends, smallest=1.0)
        if not math.isfinite(high - low) or max(abs(low), abs(high)) > EXACT_INTEGER:
            return None
        return {"kind": self.name, "bounds": (low, high), "missing": missing, "out_of_domain": "clip"}

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return bounds that enclose what is common; continuous ones where they could not be told from their neighbours."""
        found = range_of_numbers(look, rho)
        if found is None:
            return None
        low, high = found
        kind = self.name if max(abs(low), abs(high)) <= EXACT_INTEGER else "continuous"
        if kind == self.name:
            low, high = (
                float(math.ceil(low)),
                float(max(math.ceil(low), math.ceil(high) - 1)),
            )  # ranges open to the right
        return {"kind": kind, "bounds": (low, high), "missing": missing, "out_of_domain": "clip"}


SPEC = Integer()
