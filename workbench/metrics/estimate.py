"""A number with its doubt."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, the ends of its 95 % interval, and the number of rows it rests on."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float]:
        """The estimate as JSON."""
        return asdict(self)
