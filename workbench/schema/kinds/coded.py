"""What kinds of codes share: an encoded value is the place of its label, and every label is a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workbench.schema.kinds.kind import Cells, ColumnKind, Ends, Fields, Mask, NoisyEvidence, Values

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import pandas as pd

    from workbench.schema.column import Column

MAX_CATEGORIES = 1_000  # that a draft names
OR = " | "  # categories are written one | other


class CodedKind(ColumnKind):
    """A kind whose values are codes of labels."""

    is_coded: ClassVar[bool] = True
    is_whole: ClassVar[bool] = True

    def cells(self, column: Column) -> int:
        """Return the number of labels."""
        return len(self.labels(column))

    def cell_of(self, encoded: Values, column: Column) -> Values:
        """Return the codes as they are."""
        return encoded

    def draw(self, cells: Cells, rng: np.random.Generator, asked: Mask, limit: Ends | None, column: Column) -> Values:
        """Return the cells as they are."""
        return cells.astype(np.float64)


class ListedKind(CodedKind):
    """A kind whose labels are the `categories` that the column lists."""

    has_categories: ClassVar[bool] = True
    unreadable: ClassVar[str] = "value is not among the declared categories"

    def check(self, column: Column) -> None:
        """Raise ValueError where categories are missing, repeated or could match no row."""
        if not column.categories:
            raise ValueError(f"a {self.name} column needs its public categories")
        if len(set(column.categories)) != len(column.categories):
            raise ValueError("categories repeat a value; list each once")
        if any(category != category.strip() for category in column.categories):
            raise ValueError(
                "a category begins or ends with white space, which is stripped from the data: no row could match"
            )
        if column.other is not None and column.other not in column.categories:
            raise ValueError("other must be one of the categories")

    def labels(self, column: Column) -> tuple[str, ...]:
        """Return the categories."""
        return column.categories or ()

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        """Return the place of each text; undeclared ones are `other`, where there is one."""
        assert column.categories is not None
        codes = {category: float(code) for code, category in enumerate(column.categories)}
        unknown = np.nan if column.other is None else codes[column.other]
        return np.array([np.nan if text is None else codes.get(text, unknown) for text in texts], dtype=float)

    def declares(self, text: str, column: Column) -> bool:
        """Return whether a text is a category: `other` takes undeclared values of rows, in a declaration they are slips."""
        return text in self.labels(column)

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        """Return the texts."""
        import pandas as pd

        absent = np.isnan(encoded)
        texts = np.array([*self.labels(column), None], dtype=object)
        return pd.Series(texts[np.where(absent, -1, encoded).astype(np.int64)], dtype=object)

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        """Return the common texts, and a category for all others."""
        common = look.common(rho)
        if not common:
            return None
        other = name_for_other(common)
        return {
            "kind": self.name,
            "categories": (*common, other),
            "other": other,
            "missing": missing,
            "out_of_domain": "drop",  # a few rows without a value may be there and unseen
        }

    def write_domain(self, column: Column) -> str:
        """Return the categories between bars."""
        return OR.join(self.labels(column))

    def read_domain(self, name: str, text: str, before: Column) -> Fields:
        """Return the categories; `other` stays where it is one of them."""
        categories = [category.strip() for category in text.split(OR.strip()) if category.strip()]
        kept: Fields = {"other": before.other} if before.other in categories else {}
        return {"categories": categories} | kept

    def domain_text(self, column: Column) -> str:
        """Return the categories."""
        return str(list(self.labels(column)))


def name_for_other(taken: Container[str]) -> str:
    """A name for the category of all other values that none of those taken has."""
    other = "other"
    while other in taken:
        other += " (rare)"
    return other
