"""An axis: where a value lies along it, and which values are marked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 7  # powers of ten that are marked


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From `low` to `high`, in equal steps or, if `log`, in equal factors. Low is below high, and positive if `log`.

    Its last part, the share `unmarked` of its length, has no ticks.
    """

    title: str
    low: float
    high: float
    log: bool = False
    unmarked: float = 0.0

    def at(self, value: float) -> float:
        """Where a value lies, from 0 to 1; what lies outside is put at the nearer end."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        inside = min(max(value, self.low), self.high)
        return (self._scaled(inside) - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Round values along it: powers of ten, and 2 and 5 times them where it spans less than two."""
        return [tick for tick in self._round if self.at(tick) <= 1 - self.unmarked]

    @property
    def _round(self) -> list[float]:
        if not self.log:
            step = _step(self.high - self.low)
            first = math.ceil(self.low / step - 1e-9)
            return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = range(first, last + 1, 1 + (last - first) // _MOST)
        factors = (1,) if math.log10(self.high / self.low) >= 2 else (1, 2, 5)
        ticks = [factor * 10.0**power for power in decades for factor in factors]
        return [tick for tick in ticks if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def around(title: str, values: Iterable[float], *, log: bool = False) -> Axis:
    """An axis with room for all values, and some to spare at either end."""
    found = [value for value in values if not log or value > 0] or [1.0]
    low, high = min(found), max(found)
    if log:
        return Axis(title=title, low=low / 1.6, high=high * 1.6, log=True)
    spare = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    return Axis(title=title, low=low - spare, high=high + spare)


def _step(span: float) -> float:
    """A round step of which four or so make the span."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= span / 5), 10 * power)
