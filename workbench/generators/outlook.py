"""What a fit will take, said before anything is read: from the settings and the public domain alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a generator says beforehand of a fit; None is what it does not say.

    `noise` is the standard deviation of a count, in rows, by what is counted; `more` is what this generator alone says.
    """

    columns: int | None = None
    cells: Mapping[str, int] | None = None
    marginals_considered: int | None = None
    noise: Mapping[str, float | str] | None = None
    memory_bytes: int | None = None
    seconds: float | None = None
    seconds_per_100000_rows: float | None = None
    more: Mapping[str, bool | int | float | str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is said, as JSON."""
        said: dict[str, Any] = {name: value for name, value in asdict(self).items() if value is not None}
        more: dict[str, Any] = said.pop("more", {})
        return said | more
