"""Ordinal columns: values of a public list in their order."""

from __future__ import annotations

from typing import ClassVar

from workbench.schema.kinds.coded import ListedKind
from workbench.schema.kinds.kind import Fields, Level


class Ordinal(ListedKind):
    """Values of a public list in their order."""

    name: ClassVar[str] = "ordinal"
    rank: ClassVar[int] = 20
    level: ClassVar[Level | None] = "ordinal"
    example: ClassVar[Fields] = {"categories": ("low", "high")}


SPEC = Ordinal()
