"""Categorical columns: values of a public list without order."""

from __future__ import annotations

from typing import ClassVar

from workbench.schema.kinds.coded import ListedKind, name_for_other
from workbench.schema.kinds.kind import Evidence, Fields, Level


class Categorical(ListedKind):
    """Values of a public list."""

    name: ClassVar[str] = "categorical"
    rank: ClassVar[int] = 10
    level: ClassVar[Level | None] = "nominal"
    example: ClassVar[Fields] = {"categories": ("here", "there")}
    precedence: ClassVar[int | None] = 90

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return the categories that enough subjects hold, and one for the rest; None where no value is that common."""
        common = seen.common()
        if not common:
            return None
        if len(common) == len(seen.distinct):
            return {"kind": self.name, "categories": tuple(common), "missing": missing}
        other = name_for_other(seen.distinct)
        return {"kind": self.name, "categories": (*common, other), "other": other, "missing": missing}


SPEC = Categorical()
