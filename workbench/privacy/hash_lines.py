"""What charges cost the person who paid most: each identity type has its own hash line, and a person one point on each.

A person may be in tables of several identity types, so what they paid is the sum of what covers their points. No point of one
line says where the others are: the price adds the most expensive points of all lines.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from workbench.privacy.accounting import rdp
from workbench.privacy.calibration import divergences
from workbench.privacy.events import Event, split_failure

LINE = 2**64
Scope = Sequence[tuple[int, int]]
EVERYONE = ((0, LINE),)
Curve: TypeAlias = npt.NDArray[np.float64]  # the Rényi divergence at each order, then the most probable a failure is

_MOST_COMBINED = 64  # combinations of stretches of different lines that are priced one by one


class Charge(Protocol):
    """What a price needs to know of a charge."""

    @property
    def event(self) -> Event:
        """What was learnt."""

    @property
    def scope(self) -> Scope:
        """Of whom: intervals of the hash line."""

    @property
    def identity_type(self) -> str | None:
        """Whose hash line; None where it is unknown."""


@dataclass(frozen=True)
class Named:
    """An event under its name, which says all of it: most events are not hashable."""

    name: str
    event: Event = field(compare=False)


Stretch: TypeAlias = tuple[int, int, tuple[Named, ...]]


@dataclass(frozen=True, kw_only=True)
class Charges:
    """Charges by whom they concern: everybody, or the points of stretches of one identity type's line."""

    everybody: tuple[Named, ...]
    lines: Mapping[str, tuple[Stretch, ...]]


def named(event: Event) -> Named:
    """Name an event, to look up its price."""
    return Named(repr(event), event)


def arrange(charges: Iterable[Charge]) -> Charges:
    """Arrange charges by hash line; a scope on an unknown line counts for everybody."""
    everybody: list[Named] = []
    scoped: dict[str, list[tuple[Scope, Named]]] = {}
    for charge in charges:
        if charge.identity_type is None or tuple(charge.scope) == EVERYONE:
            everybody.append(named(charge.event))
        else:
            scoped.setdefault(charge.identity_type, []).append((charge.scope, named(charge.event)))
    whole = bool(everybody) or len(scoped) > 1
    return Charges(
        everybody=tuple(everybody), lines={kind: _stretches(scoped[kind], whole=whole) for kind in sorted(scoped)}
    )


def _stretches(charges: Sequence[tuple[Scope, Named]], *, whole: bool) -> tuple[Stretch, ...]:
    """Each stretch [low, high) between scope edges with the events that cover it; empty ones only of the `whole` line."""
    edges = sorted({edge for scope, _ in charges for interval in scope for edge in interval} | {0, LINE})
    covered = (
        (left, right, tuple(event for scope, event in charges if any(low <= left < high for low, high in scope)))
        for left, right in itertools.pairwise(edges)
    )
    return tuple(stretch for stretch in covered if whole or stretch[2])


def highest(charges: Charges, orders: tuple[float, ...]) -> Curve:
    """Return the most that a person can have paid, at each order by itself."""
    total = curve(charges.everybody, orders)
    for stretches in charges.lines.values():
        total = total + np.max([curve(events, orders) for _, _, events in stretches], axis=0)
    return total


def epsilon_along(charges: Charges, orders: tuple[float, ...], delta: float) -> dict[str, list[tuple[int, int, float]]]:
    """For each line, what the person pays at `delta` whose point is in each stretch and who pays most on all other lines.

    Where the other lines combine in too many ways, an upper bound: their most expensive points at each order by itself.
    """
    everybody = curve(charges.everybody, orders)
    tops = {kind: _undominated(stretches, orders) for kind, stretches in charges.lines.items()}
    along: dict[str, list[tuple[int, int, float]]] = {}
    for kind, stretches in charges.lines.items():
        others = _sums([top for other, top in tops.items() if other != kind], everybody)
        found: dict[bytes, float] = {}
        along[kind] = []
        for low, high, events in stretches:
            own = curve(events, orders)
            if (key := own.tobytes()) not in found:
                found[key] = max(epsilon_of_curve(own + other, orders, delta) for other in others)
            along[kind].append((low, high, found[key]))
    return along


def costliest(charges: Charges) -> list[tuple[Named, ...]] | None:
    """All that one person can have paid, without what is part of more; None where there are too many such sums."""
    lines = [_maximal([events for _, _, events in stretches]) for stretches in charges.lines.values()]
    if math.prod(map(len, lines)) > _MOST_COMBINED:
        return None
    return [tuple(itertools.chain(charges.everybody, *combination)) for combination in itertools.product(*lines)]


def merge(lines: Iterable[Sequence[tuple[int, int, float]]]) -> list[tuple[int, int, float]]:
    """Lay lines over one another: the highest epsilon of any of them at each place."""
    lines = list(lines)
    edges = sorted({edge for line in lines for low, high, _ in line for edge in (low, high)})
    merged = []
    for left, right in itertools.pairwise(edges):
        costs = [cost for line in lines for low, high, cost in line if low <= left < high]
        if costs:
            merged.append((left, right, max(costs)))
    return merged


def epsilon_of_curve(paid: Curve, orders: tuple[float, ...], delta: float) -> float:
    """Return what a curve comes to at `delta`; infinite where it fails too often."""
    failure = float(paid[-1])
    if failure >= delta:
        return math.inf
    return float(rdp.compute_epsilon(orders, paid[:-1], delta - failure)[0])


def curve(events: Iterable[Named], orders: tuple[float, ...]) -> Curve:
    """Return the curve of a composition of events."""
    return sum((_curve(event, orders) for event in events), np.zeros(len(orders) + 1))


@lru_cache(maxsize=4096)
def _curve(named: Named, orders: tuple[float, ...]) -> Curve:
    """Remembered: sampled events take long to price, and the same ones are asked for again and again."""
    rest, failure = split_failure(named.event)
    return np.append(divergences(rest, orders), failure)


def _undominated(stretches: Iterable[Stretch], orders: tuple[float, ...]) -> list[Curve]:
    """The curves of a line that no other curve of it is above at every order."""
    curves = list({c.tobytes(): c for c in (curve(events, orders) for _, _, events in stretches)}.values())
    return [c for c in curves if not any(other is not c and (other >= c).all() for other in curves)]


def _sums(lines: Sequence[Sequence[Curve]], start: Curve) -> list[Curve]:
    if math.prod(map(len, lines)) > _MOST_COMBINED:
        return [sum((np.max(line, axis=0) for line in lines), start)]
    return [sum(combination, start) for combination in itertools.product(*lines)]


def _maximal(stretches: Iterable[tuple[Named, ...]]) -> list[tuple[Named, ...]]:
    """Those whose events, counted, are not all among those of another."""
    counted = {frozenset(Counter(events).items()): events for events in stretches}
    counts = {key: Counter(dict(key)) for key in counted}
    return [
        events
        for key, events in counted.items()
        if not any(other != key and counts[key] <= counts[other] for other in counts)
    ]
