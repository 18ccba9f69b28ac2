"""Identifier columns: keys of people or things. They can't be modelled; one may name the subject."""

from __future__ import annotations

from typing import ClassVar

from workbench.schema.kinds.kind import ColumnKind, Evidence, Fields


class Identifier(ColumnKind):
    """Keys."""

    name: ClassVar[str] = "identifier"
    rank: ClassVar[int] = 80
    left_out: ClassVar[str] = "no value occurs twice"
    precedence: ClassVar[int | None] = 21

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return a column that is left out, where all values differ."""
        return {"kind": self.name, "role": "drop"} if seen.looks_like_keys else None


SPEC = Identifier()
