"""A data set as copulas and neural networks take it: columns of codes and columns of numbers, without gaps.

A missing code is a code of its own. Of a number that may be missing, whether it is becomes a column of codes beside it, so
that the models learn what goes with missing values. A column of one value, or one that another determines, needs no model.
The columns come from the schema; nothing is guessed from the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.schema.column import Column


class Part(NamedTuple):
    """A column of a flat table: a stored column's codes or numbers, or whether its number is missing."""

    name: str
    position: int
    coded: bool
    gap: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class FlatTable:
    """How a codec's values become a flat table and come back.

    `fixed` holds the columns of one value, by position; `gaps` the columns of numbers of which only some are missing.
    Raises InputError where these do not fit the codec.

    Guarantees:
      - `values(table(v))` equals v, but for what a float loses where numbers are stretched.
      - whatever numbers and known codes a model draws, `values` of them lie inside the schema's domain, and determined columns
        are what the schema says.
    """

    codec: Codec
    fixed: Mapping[int, float]
    gaps: frozenset[int]

    def __post_init__(self) -> None:
        count = len(self.codec.names)
        if not all(0 <= position < count for position in (*self.fixed, *self.gaps)):
            raise InputError(f"a flat table names columns that its schema of {count} columns has not")
        if not all(self._column(p).missing and not self._column(p).is_coded for p in self.gaps):
            raise InputError("a flat table has gaps in columns that may have none")
        for position, value in self.fixed.items():
            if not _belongs(value, self._column(position)):
                raise InputError(f"the fixed value of {self.codec.names[position]!r} is outside its schema")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The columns of the flat table, in order."""
        parts = []
        for position in self.codec.free:
            if position in self.fixed:
                continue
            parts.append(Part(str(position), position, self._column(position).is_coded, False))
            if position in self.gaps:
                parts.append(Part(f"{position}?", position, True, True))
        return tuple(parts)

    def cells(self, part: Part) -> int:
        """How many codes a part of codes may have."""
        return 2 if part.gap else self.codec.sizes[part.position]

    def table(self, values: Values) -> pd.DataFrame:
        """The flat table of encoded values [n, d]; a missing number holds the mean of the others."""
        columns: dict[str, Any] = {}
        for part in self.parts:
            found = values[:, part.position]
            absent = np.isnan(found)
            if part.gap:
                columns[part.name] = absent.astype(np.int64)
            elif part.coded:
                columns[part.name] = np.where(absent, self.cells(part) - 1, found).astype(np.int64)
            else:
                stretch = _stretch(self._column(part.position))
                columns[part.name] = np.where(absent, np.nanmean(found), found) * stretch
        return pd.DataFrame(columns)

    def values(self, columns: Mapping[str, npt.NDArray[Any]], n: int) -> Values:
        """Encoded values [n, d] of a drawn flat table: numbers in their bounds, integers whole."""
        values = np.empty((n, len(self.codec.names)))
        for position, value in self.fixed.items():
            values[:, position] = value
        for part in self.parts:
            column, drawn = self._column(part.position), np.asarray(columns[part.name], dtype=np.float64)
            if part.gap:
                values[drawn == 1, part.position] = np.nan
            elif part.coded:
                absent = column.missing & (drawn == self.cells(part) - 1)
                values[:, part.position] = np.where(absent, np.nan, drawn)
            else:
                number = drawn / _stretch(column)
                number = np.rint(number) if column.is_whole else number
                values[:, part.position] = np.clip(number, column.low, column.high)
        return self.codec.determine(values)

    def to_json(self) -> dict[str, Any]:
        """What `load_flat_table` reads."""
        fixed = {str(position): None if np.isnan(value) else value for position, value in self.fixed.items()}
        return {"columns": self.codec.names, "sizes": self.codec.sizes, "fixed": fixed, "gaps": sorted(self.gaps)}

    def _column(self, position: int) -> Column:
        return self.codec.schema.encoded[self.codec.names[position]]


def flat_table(dataset: Dataset, *, generator: str) -> FlatTable:
    """The flat table of a data set's records; raises InputError where there is nothing to learn."""
    if len(dataset) < 2:
        raise InputError(
            f"{generator} learns from at least 2 rows; {dataset.name} has {len(dataset)} to learn from",
            hint="ingest more rows",
        )
    fixed, gaps = {}, []
    for position in dataset.codec.free:
        column = dataset.values[:, position]
        absent = np.isnan(column)
        if absent.all() or (not absent.any() and (column == column[0]).all()):
            fixed[position] = float(column[0])
        elif absent.any() and not dataset.codec.schema.encoded[dataset.codec.names[position]].is_coded:
            gaps.append(position)
    if len(fixed) == len(dataset.codec.free):
        raise InputError(f"every column of {dataset.name} holds one value: there is nothing for {generator} to learn")
    return FlatTable(codec=dataset.codec, fixed=fixed, gaps=frozenset(gaps))


def load_flat_table(document: Mapping[str, Any], codec: Codec) -> FlatTable:
    """The flat table that `to_json` described; raises InputError where it is of another schema."""
    if (tuple(document["columns"]), tuple(document["sizes"])) != (codec.names, codec.sizes):
        raise InputError("the generator was fitted to a table of another schema", hint="fit it again")
    fixed = {int(position): np.nan if value is None else float(value) for position, value in document["fixed"].items()}
    return FlatTable(codec=codec, fixed=fixed, gaps=frozenset(map(int, document["gaps"])))


def _belongs(value: float, column: Column) -> bool:
    if np.isnan(value):
        return column.missing
    return value in range(column.cells) if column.is_coded else column.low <= value <= column.high


def _stretch(column: Column) -> float:
    """What a number is multiplied by: the models' smallest widths are absolute, too wide for a narrow range."""
    width = column.high - column.low
    return 1.0 if width >= 1 or width == 0 else 1 / width
