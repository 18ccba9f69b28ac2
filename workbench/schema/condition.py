"""Conditions on columns, for drawing rows that meet them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Within:
    """What a column may be: some of its codes, or a range of its encoded numbers."""

    codes: frozenset[int] | None = None
    low: float | None = None
    high: float | None = None
