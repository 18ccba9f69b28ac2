"""Encodes tables to numbers and back from the declared schema alone; nothing is ever learnt from the rows.

Three forms of a table of n rows and d stored columns:
  frame   pandas, original types: text categories, integers, floats, booleans, timestamps
  values  float64 [n, d]: category codes, numbers, microseconds since the lower bound; NaN is missing. Lossless.
  bins    int64 [n, d]: cells of the public domain, for marginals; a column's last cell is "missing" if that is allowed
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.schema.column import Column
from workbench.schema.constraints import on_free, tables_of
from workbench.schema.encode import LINE_BREAK, OUTSIDE, encode_column
from workbench.schema.encode import Mask as Mask
from workbench.schema.encode import Values as Values
from workbench.schema.schema import Schema
from workbench.schema.value_sets import Within

if TYPE_CHECKING:
    import pandas as pd

Bins = npt.NDArray[np.int64]

# Rows that are binned at a time: they stay in the processor's cache.
_BLOCK_ROWS = 2**14
_NOT_DETERMINED = "value is not the one that its determining column gives"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Rows of a table that break one rule of one column; it carries row positions, never values."""

    column: str
    rule: str
    rows: npt.NDArray[np.intp]


class Encoded(NamedTuple):
    """What encoding n rows gave: values [n, d] and masks [n] of the rows that a column's policy leaves out or changed.

    `violations` are those of columns whose policy is `reject`.
    """

    values: Values
    dropped: Mask
    violations: list[Violation]
    clipped: Mask


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
    def free(self) -> tuple[int, ...]:
        """Positions of the columns that no other determines: what a generator has to model."""
        return tuple(place for place, name in enumerate(self.names) if name not in self._tables)

    @cached_property
    def free_names(self) -> tuple[str, ...]:
        """Names of the free columns."""
        return tuple(self.names[place] for place in self.free)

    @cached_property
    def free_sizes(self) -> tuple[int, ...]:
        """Number of cells of the free columns, the missing cell included."""
        return tuple(self.sizes[place] for place in self.free)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of cells of each stored column, the missing cell included."""
        return tuple(column.cells + column.missing for column in self.schema.encoded.values())

    @cached_property
    def categorical(self) -> tuple[bool, ...]:
        """Which stored columns hold unordered codes."""
        return tuple(column.is_categorical for column in self.schema.encoded.values())

    def encode(self, frame: pd.DataFrame) -> Encoded:
        """Encodes a frame by the columns' policies; raises InputError where a column is missing or repeated."""
        unmatched = [name for name in self.names if list(frame.columns).count(name) != 1]
        if unmatched:
            raise InputError(f"the table must have each column of the schema once; missing or repeated: {unmatched}")
        values = np.empty((len(frame), len(self.names)))
        dropped, clipped = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
        violations: list[Violation] = []
        unsound = np.zeros(values.shape, dtype=bool)
        for position, (name, column) in enumerate(self.schema.encoded.items()):
            encoded, broken = encode_column(frame[name], column, self.schema.null_values)
            values[:, position] = encoded
            for rule, mask in broken.items():
                if not mask.any():
                    continue
                if column.out_of_domain == "reject" or rule == LINE_BREAK:  # no policy: rows may be missing
                    violations.append(Violation(column=name, rule=rule, rows=np.flatnonzero(mask)))
                elif column.out_of_domain == "clip" and rule == OUTSIDE:
                    values[:, position] = np.clip(encoded, column.low, column.high)
                    clipped |= mask
                    continue
                else:
                    dropped |= mask
                unsound[:, position] |= mask
        for columns, rule, broken_rows in self.broken_constraints(values):
            mask = broken_rows & ~unsound[:, [self.names.index(name) for name in columns]].any(axis=1)
            blamed = columns[:1] if rule == _NOT_DETERMINED else columns
            if mask.any() and any(self.schema.columns[name].out_of_domain == "reject" for name in blamed):
                violations.append(Violation(column=", ".join(blamed), rule=rule, rows=np.flatnonzero(mask)))
            else:
                dropped |= mask
        return Encoded(values, dropped, violations, clipped & ~dropped)

    def decode(self, values: Values) -> pd.DataFrame:
        """The frame of encoded values [n, d], in the original types."""
        import pandas as pd

        columns = self.schema.encoded.items()
        return pd.DataFrame(
            {name: column.spec.decode(values[:, i], column) for i, (name, column) in enumerate(columns)}
        )

    def bin(self, values: Values) -> Bins:
        """Cell numbers [n, d] of encoded values."""
        return self._bin(values, range(len(self.names)))

    def bin_free(self, values: Values) -> Bins:
        """Cell numbers [n, free] of the free columns of encoded values [n, d]."""
        return self._bin(values, self.free)

    def _bin(self, values: Values, places: Sequence[int]) -> Bins:
        columns = list(self.schema.encoded.values())
        bins = np.empty(
            (len(places), len(values)), dtype=np.int64
        )  # columns one after another: they are read one at a time
        for start in range(0, len(values), _BLOCK_ROWS):
            block = values[start : start + _BLOCK_ROWS].T.copy()
            for cells, place in zip(bins[:, start : start + _BLOCK_ROWS], places, strict=True):
                column, encoded = columns[place], block[place]
                cells[:] = np.where(np.isnan(encoded), column.cells, column.spec.cell_of(encoded, column))
        return bins.T

    def cells(self, name: str, values: Values) -> npt.NDArray[np.int64]:
        """The cells of encoded values of one column, none of them missing."""
        column = self.schema.encoded[name]
        known: Values | Bins = values if column.is_coded else np.searchsorted(column.cuts, values, side="right")
        return known.astype(np.int64)

    def unbin(self, bins: Bins, *, rng: np.random.Generator) -> Values:
        """Encoded values drawn uniformly in each cell: integers among the cell's integers, numbers in its interval."""
        columns = self.schema.encoded.values()
        return np.stack([_draw(column, bins[:, i], rng, None) for i, column in enumerate(columns)], axis=1)

    def complete(self, codes: Bins, rng: np.random.Generator, limits: Mapping[str, Within] | None = None) -> Values:
        """Encoded values [n, d] of cells [n, free]: drawn inside cell and limit, and where determined, just that.

        Raises InputError where a cell and a limit have no number in common.
        """
        values = np.empty((len(self.names), len(codes))).T  # columns one after another: they are written one at a time
        for place, position in enumerate(self.free):
            name = self.names[position]
            values[:, position] = _draw(self.schema.columns[name], codes[:, place], rng, (limits or {}).get(name))
        return self.determine(values)

    def determine(self, values: Values) -> Values:
        """The values with every determined column as its source says."""
        exact = values.copy(order="K")
        for name, (by, table) in self._tables.items():
            exact[:, self.names.index(name)] = _looked_up(table, values[:, self.names.index(by)])
        return exact

    def cell_weights(self, name: str, within: Within) -> Values:
        """The share of each cell of a column that is `within`: numbers are uniform inside a cell."""
        return within.weights(self.schema.encoded[name])

    def on_free(self, conditions: Mapping[str, Within]) -> dict[str, Within]:
        """The same conditions, those on determined columns put to the columns that determine them."""
        return on_free(conditions, self._tables)

    def forbidden(self) -> list[tuple[tuple[str, ...], Mask]]:
        """Free columns and the mask over their cells that `never` forbids; of a number, only bins wholly in its range."""
        masks = []
        for constraint in self.schema.constraints:
            parts = self.on_free(constraint.allowed(self.schema.encoded))
            inside = [self.cell_weights(name, within) >= 1 for name, within in parts.items()]
            if inside and all(cells.any() for cells in inside):
                masks.append((tuple(parts), reduce(np.logical_and.outer, inside)))
        return masks

    @cached_property
    def _tables(self) -> dict[str, tuple[str, Values]]:
        return tables_of(self.schema.constraints, self.schema.encoded)

    def broken_constraints(self, values: Values) -> Iterator[tuple[tuple[str, ...], str, Mask]]:
        """For each constraint its columns, the rule and the mask of rows that break it."""
        for constraint in self.schema.constraints:
            column = {name: values[:, self.names.index(name)] for name in constraint.columns}
            if constraint.determined is not None:
                name = constraint.determined.column
                by, table = self._tables[name]
                expected = _looked_up(table, column[by])
                differs = (column[name] != expected) & ~(np.isnan(column[name]) & np.isnan(expected))
                yield constraint.columns, _NOT_DETERMINED, differs
            else:
                allowed = constraint.allowed(self.schema.encoded)
                both = np.logical_and.reduce([within.allows(column[name]) for name, within in allowed.items()])
                yield constraint.columns, "the values never occur together", both


def _looked_up(table: Values, codes: Values) -> Values:
    found: Values = table[np.where(np.isnan(codes), len(table) - 1, codes).astype(np.int64)]
    return found


def _draw(column: Column, cells: Bins, rng: np.random.Generator, limit: Within | None) -> Values:
    missing = cells >= column.cells
    ends = None if limit is None or limit.low is None or limit.high is None else (limit.low, limit.high)
    drawn = column.spec.draw(np.where(missing, 0, cells), rng, ~missing, ends, column)
    return np.where(missing, np.nan, drawn)
