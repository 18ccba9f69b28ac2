"""Boolean columns: true or false, in the usual spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.schema.kinds.coded import CodedKind
from workbench.schema.kinds.kind import Evidence, Fields, Level, NoisyEvidence, Values

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from workbench.schema.column import Column

_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")
_SPELLINGS = dict.fromkeys(_TRUE, 1.0) | dict.fromkeys(_FALSE, 0.0)


class Boolean(CodedKind):
    """True or false."""

    name: ClassVar[str] = "boolean"
    rank: ClassVar[int] = 50
    level: ClassVar[Level | None] = "nominal"
    unreadable: ClassVar[str] = "value is not true or false"
    precedence: ClassVar[int | None] = 10

    def labels(self, column: Column) -> tuple[str, ...]:
        """Return the two truths."""
        return ("false", "true")

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        """Return 0 or 1 for each usual spelling."""
        return np.array([_SPELLINGS.get((text or "").lower(), np.nan) for text in texts], dtype=float)

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return truths; pandas' own type where one may be missing."""
        import pandas as pd

        absent = np.isnan(encoded)
        truths = pd.Series(np.where(absent, 0, encoded).astype(bool))
        return truths.astype("boolean").mask(absent) if column.missing else truths

    def domain_text(self, column: Column) -> str:
        """Return both spellings."""
        return "true or false"

    def is_of(self, text: str) -> bool:
        """Return whether a text is a truth: yes and no keep their spelling, as categories."""
        return text.lower() in ("true", "false")

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        """Return a column of truths."""
        return {"kind": self.name, "missing": missing} if self.name in seen.forms else None

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return a column of truths; other cells are dropped."""
        return {"kind": self.name, "missing": missing, "out_of_domain": "drop"}


SPEC = Boolean()
