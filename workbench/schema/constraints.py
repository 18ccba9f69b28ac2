"""What is publicly known of whole rows: columns that others determine, and values that never occur together.

Nothing here is found in the data. A constraint is a claim of the schema's author, checked against every row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from workbench.described import Described
from workbench.schema.column import Column
from workbench.schema.encode import Mask, Values, parse_value
from workbench.schema.value_sets import Within


def _as_text(value: Any) -> Any:
    """A scalar of a YAML file as the text a table would hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class Determined(Described):
    """A column that is a function of another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    """The column that is determined."""
    by: str
    """The categorical, ordinal or boolean column that determines it."""
    values: dict[Text, Text]
    """For each category of the one, the value of the other; missing gives missing."""

    def table(self, columns: Mapping[str, Column]) -> Values:
        """The encoded value for each code of `by`, and last NaN, for missing; raises ValueError where there is none."""
        source, column = columns[self.by], columns[self.column]
        if not source.is_coded:
            raise ValueError(
                f"{self.column!r} can only be determined by a categorical, ordinal or boolean column; {self.by!r} is "
                f"{source.kind}"
            )
        codes = [parse_value(key, source) for key in self.values]
        encoded = [parse_value(value, column) for value in self.values.values()]
        foreign = [key for key, code in zip(self.values, codes, strict=True) if np.isnan(code)]
        if foreign or sorted(codes) != list(range(source.cells)):
            raise ValueError(
                f"values of the determined column {self.column!r} must name each of the {source.cells} categories of "
                f"{self.by!r} once; found {len(codes)}, of which these are none of its categories: {foreign}"
            )
        outside = [value for value, number in zip(self.values.values(), encoded, strict=True) if np.isnan(number)]
        if outside:
            raise ValueError(f"values of the determined column {self.column!r} lie outside its domain: {outside}")
        if source.missing and not column.missing:
            raise ValueError(
                f"{self.by!r} may be missing, and then so is {self.column!r}, which it determines: declare that missing: true"
            )
        table = np.full(source.cells + 1, np.nan)
        table[np.array(codes, dtype=np.int64)] = encoded
        return table


class Constraint(Described):
    """One claim about every row: that a column is `determined` by another, or what it is `never` at once; one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    determined: Determined | None = None
    """A column that another determines, such as a code and its name."""
    never: dict[str, tuple[Text, ...]] | None = Field(default=None)
    """Per column its categories, or the lowest and highest of a number: no row has one of each at once."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.determined is None) == (self.never is None):
            raise ValueError("a constraint is either determined or never")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it speaks of."""
        return (self.determined.column, self.determined.by) if self.determined else tuple(self.never or ())

    def allowed(self, columns: Mapping[str, Column]) -> dict[str, Within]:
        """What `never` lists, encoded; raises ValueError for what is no value of its column."""
        return {name: _listed(name, texts, columns[name]) for name, texts in (self.never or {}).items()}


def _listed(name: str, texts: tuple[str, ...], column: Column) -> Within:
    encoded = [parse_value(text, column) for text in texts]
    outside = [text for text, value in zip(texts, encoded, strict=True) if np.isnan(value)]
    if outside or not texts:
        raise ValueError(f"never lists values of {name!r} outside its domain, or none: {outside}")
    if column.is_coded:
        return Within(codes=frozenset(int(code) for code in encoded))
    if len(encoded) != 2 or encoded[0] > encoded[1]:
        raise ValueError(f"never needs [low, high] for {name!r}, found {list(texts)}")
    return Within(low=encoded[0], high=encoded[1])


def tables_of(constraints: Sequence[Constraint], columns: Mapping[str, Column]) -> dict[str, tuple[str, Values]]:
    """By determined column: the column that determines it, and the table that says how."""
    return {c.determined.column: (c.determined.by, c.determined.table(columns)) for c in constraints if c.determined}


def on_source(within: Within, table: Values) -> Within:
    """What the determining column may be where the determined one is `within`."""
    allowed = within.allows(table[:-1])
    return Within(codes=frozenset(np.flatnonzero(allowed).tolist()), missing=within.missing)


def both(one: Within, other: Within) -> Within:
    """What two conditions on a coded column allow."""
    return Within(
        codes=(one.codes or frozenset()) & (other.codes or frozenset()), missing=one.missing and other.missing
    )


def on_free(conditions: Mapping[str, Within], tables: Mapping[str, tuple[str, Values]]) -> dict[str, Within]:
    """The same conditions, those on determined columns put to the columns that determine them."""
    free = {name: within for name, within in conditions.items() if name not in tables}
    for name, within in conditions.items():
        if name in tables:
            by, table = tables[name]
            translated = on_source(within, table)
            free[by] = both(free[by], translated) if by in free else translated
    return free


def check_constraints(constraints: Sequence[Constraint], columns: Mapping[str, Column], target: str | None) -> None:
    """Raises ValueError where constraints name what is not there, contradict each other or leave no row possible."""
    unknown = sorted({name for c in constraints for name in c.columns} - columns.keys())
    if unknown:
        raise ValueError(f"constraints name columns that are not stored: {unknown}")
    _check_determined([c.determined for c in constraints if c.determined], target)
    tables = tables_of(constraints, columns)
    nevers = [_check_never(c, columns, tables) for c in constraints if c.never is not None]
    if not _leaves_a_row(nevers):
        raise ValueError("the constraints contradict each other: together they forbid every row")


def _check_determined(determined: Sequence[Determined], target: str | None) -> None:
    names = [d.column for d in determined]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"columns are determined twice: {twice}")
    for d in determined:
        if d.by in names:
            raise ValueError(
                f"{d.column!r} is determined by {d.by!r}, which is itself determined: name a column that is not, and "
                "determines both"
            )
    if target in names:
        raise ValueError(f"the target {target!r} is determined by another column: nothing would be left to learn")


def _check_never(
    constraint: Constraint, columns: Mapping[str, Column], tables: Mapping[str, tuple[str, Values]]
) -> dict[str, Mask]:
    """The mask of forbidden cells of each column of a `never`."""
    names = list(constraint.columns)
    for name, within in constraint.allowed(columns).items():
        if (within.weights(columns[name]) >= 1).all():
            raise ValueError(f"never {names} lists the whole domain of {name!r}: leave the column out of it")
    free = on_free(constraint.allowed(columns), tables)
    if any(within.codes is not None and not within.codes for within in free.values()):
        raise ValueError(f"never {names} lists values that no row can have at once anyway")
    if len(free) < 2:
        raise ValueError(
            f"never {names} forbids values of a single column: take them out of its domain, or name a second column"
        )
    return {name: within.weights(columns[name]) >= 1 for name, within in free.items()}


def _leaves_a_row(nevers: Sequence[Mapping[str, Mask]]) -> bool:
    """Whether some row is forbidden by none; cells of a column differ only in which of them list it."""
    names = sorted({name for never in nevers for name in never})
    sizes = {name: len(mask) for never in nevers for name, mask in never.items()}
    choices = {
        name: sorted(
            {
                frozenset(i for i, never in enumerate(nevers) if name in never and never[name][cell])
                for cell in range(sizes[name])
            },
            key=len,
        )
        for name in names
    }

    @cache
    def escapes(place: int, threats: frozenset[int]) -> bool:
        if not threats or place == len(names):
            return not threats
        name = names[place]
        untouched = frozenset(i for i in threats if name not in nevers[i])
        return any(escapes(place + 1, untouched | (threats & listed)) for listed in choices[name])

    return escapes(0, frozenset(range(len(nevers))))
