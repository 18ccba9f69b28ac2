"""Continuous columns: numbers of any size between public bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.schema.kinds.kind import (
    NUMBERS,
    Axis,
    Cells,
    Ends,
    Evidence,
    Fields,
    Level,
    Mask,
    NoisyEvidence,
    Values,
)
from workbench.schema.kinds.numeric import NumericKind, is_number, range_of_numbers, round_outward

if TYPE_CHECKING:
    import pandas as pd

    from workbench.schema.column import Column


class Continuous(NumericKind):
    """Numbers, of which zero means none."""

    name: ClassVar[str] = "continuous"
    rank: ClassVar[int] = 40
    level: ClassVar[Level | None] = "ratio"
    example: ClassVar[Fields] = {"bounds": (0.0, 1.0)}
    is_whole: ClassVar[bool] = False
    precedence: ClassVar[int | None] = 40
    axis: ClassVar[Axis | None] = NUMBERS
    narrower: ClassVar[frozenset[str]] = frozenset({"integer"})

    def cuts(self, column: Column) -> tuple[float, ...]:
        """Return the cut points that the column lists, or of so many cells of equal width."""
        if not isinstance(column.bins, int):
            return super().cuts(column)
        low, high = column.low, column.high
        step = (high - low) / column.bins
        cuts = {low + i * step for i in range(1, column.bins)}  # a set: in a narrow range neighbours may round together
        return tuple(sorted(cut for cut in cuts if low < cut <= high))

    def cell_bounds(self, column: Column) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the least number of each cell, and that of the next cell."""
        cuts = self.cuts(column)
        return (column.low, *cuts), (*cuts, column.high)

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return the numbers as they are."""
        import pandas as pd

        return pd.Series(encoded)

    def draw(self, cells: Cells, rng: np.random.Generator, asked: Mask, limit: Ends | None, column: Column) -> Values:
        """Return a number of each cell's interval."""
        lows, highs = self._inside(cells, asked, limit, column)
        drawn = lows[cells] + rng.random(len(cells)) * (highs - lows)[cells]
        # rounding may land on the next cell's left edge, which is not this cell's; the upper bound is the last cell's
        edges = np.append(np.nextafter(self.cuts(column), -np.inf), column.high)
        inside: Values = np.minimum(drawn, np.minimum(edges, highs)[cells])
        return inside

    def is_of(self, text: str) -> bool:
        """Return whether a text is a number, and no code of digits."""
        return is_number(text)

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return bounds rounded outward; None where they lie too far apart."""
        ends = seen.ends(NUMBERS) if self.name in seen.forms else None
        if ends is None:
            return None
        low, high = round_outward(*ends, smallest=0.0)
        if not math.isfinite(high - low):
            return None
        return {"kind": self.name, "bounds": (low, high), "missing": missing, "out_of_domain": "clip"}

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return bounds that enclose what is common."""
        found = range_of_numbers(look, rho)
        if found is None:
            return None
        return {"kind": self.name, "bounds": found, "missing": missing, "out_of_domain": "clip"}


SPEC = Continuous()
