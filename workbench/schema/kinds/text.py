"""Text columns: words of people. They can't be modelled, and are left out."""

from __future__ import annotations

from typing import ClassVar

from workbench.schema.kinds.kind import ColumnKind, Evidence, Fields


class Text(ColumnKind):
    """Free text."""

    name: ClassVar[str] = "text"
    rank: ClassVar[int] = 70
    left_out: ClassVar[str] = "empty, free text, or values that too few people share"
    precedence: ClassVar[int | None] = 20

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return a column that is left out, where all values differ and are long."""
        return {"kind": self.name, "role": "drop"} if seen.looks_like_keys and seen.is_prose else None


SPEC = Text()
