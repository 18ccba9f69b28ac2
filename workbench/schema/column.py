"""One column of a schema: what kind of value it holds, what it is for, and its public domain."""

from __future__ import annotations

import datetime as dt
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from workbench.described import Described
from workbench.schema.kinds.kind import ColumnKind
from workbench.schema.kinds.numeric import EXACT_INTEGER as EXACT_INTEGER
from workbench.schema.kinds.registry import KINDS
from workbench.specs import SpecFields

Role = Literal["feature", "target", "sensitive", "quasi_identifier", "subject_id", "drop"]


class Column(Described):
    """A column's kind, role and public domain. Every field is public information and enters releases and digests."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # built when its kinds are known

    kind: str
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
        kind = self.spec
        if kind.level is None and self.role not in ("drop", "subject_id"):
            raise ValueError(f"a {self.kind} column can only have role drop or subject_id, found role {self.role}")
        if self.role in ("drop", "subject_id"):
            return self
        if not kind.has_categories and (self.categories is not None or self.other is not None):
            listed = " and ".join(one.name for one in KINDS if one.has_categories)
            raise ValueError(f"categories and other are for {listed} columns, found kind {self.kind}")
        self._check_settings()
        kind.check(self)
        if not kind.has_bounds and self.bounds is not None:
            raise ValueError(f"bounds are for numbers and dates, found kind {self.kind}")
        if self.out_of_domain == "clip" and not kind.has_bounds:
            raise ValueError(f"out_of_domain: clip is for numbers and dates, found kind {self.kind}; use drop or other")
        return self

    def _check_settings(self) -> None:
        own = self.spec.settings.model_fields
        for name, takers in _FIELDS.takers().items():
            if name not in own and getattr(self, name) is not None:
                raise ValueError(f"{name} is for {' and '.join(takers)} columns, found kind {self.kind}")
        lacking = [name for name, field in own.items() if field.is_required() and getattr(self, name) is None]
        if lacking:
            raise ValueError(f"a {self.kind} column needs {', '.join(lacking)}")

    @property
    def spec(self) -> ColumnKind:
        """What its kind can do."""
        return KINDS[self.kind]

    @property
    def low(self) -> float:
        """The encoded lower bound of a numeric column."""
        assert self.bounds is not None
        return self.spec.number(self.bounds[0], self)

    @property
    def high(self) -> float:
        """The encoded upper bound of a numeric column."""
        assert self.bounds is not None
        return self.spec.number(self.bounds[1], self)

    @property
    def cuts(self) -> tuple[float, ...]:
        """Inner cut points of a numeric column's public bins, rising; an integer column never has an empty bin."""
        return self.spec.cuts(self)

    @property
    def cells(self) -> int:
        """The number of cells of the public domain, without the one for missing values."""
        return self.spec.cells(self)

    @property
    def cell_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The least and the greatest value of each cell of a numeric column; continuous: the next cell's least instead."""
        return self.spec.cell_bounds(self)

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts of the codes, in order; none where encoded values are numbers."""
        return self.spec.labels(self)

    @property
    def is_coded(self) -> bool:
        """Whether encoded values are codes: places in the list of categories, or 0 and 1 for false and true."""
        return self.spec.is_coded

    @property
    def is_whole(self) -> bool:
        """Whether encoded values are whole numbers."""
        return self.spec.is_whole

    @property
    def encoded(self) -> bool:
        """Whether the column is stored and modelled at all."""
        return self.role not in ("drop", "subject_id")

    @property
    def is_categorical(self) -> bool:
        """Whether encoded values are codes of an unordered set (a learner must not read them as magnitudes)."""
        return self.spec.level == "nominal"


_FIELDS = SpecFields(Column, "kind", KINDS, shared=frozenset(), optional=True)
