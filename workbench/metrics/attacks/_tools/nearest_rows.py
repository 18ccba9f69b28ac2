"""How near the people under attack lie to a table: computed once for all attacks that look at it."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import sides
from workbench.metrics.attacks._tools.mixed_distance import MixedVectors, Singles, distances, placed
from workbench.metrics.tables import Tables

Floats = npt.NDArray[np.float64]

# Of the kernel exp(-d / BANDWIDTH): a category that differs weighs as a quarter of all ranges. Fixed beforehand, not tuned on
# what is attacked.
BANDWIDTH = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Closeness:
    """Of n rows to a table: the distance to the nearest of its rows, and the log of the kernel density of all of them."""

    nearest: Floats
    density: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Near:
    """The rows of one side, and how near they are to the release, to its stand-in and to the reference."""

    rows: Dataset
    synthetic: Closeness
    stand_in: Closeness
    reference: Closeness


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Members and controls as an attacker sees them beside the tables."""

    members: Near
    controls: Near


_seen: WeakKeyDictionary[Tables, Seen] = WeakKeyDictionary()  # gone with the tables


def seen(tables: Tables) -> Seen:
    """Both sides beside the three tables; see `sides` for what raises NotComputableError."""
    if tables not in _seen:
        found, codec = sides(tables), tables.codec
        known = tuple(placed(t, codec) for t in (found.synthetic, found.stand_in.values, found.reference.values))
        _seen[tables] = Seen(members=_near(found.members, known), controls=_near(found.controls, known))
    return _seen[tables]


def closeness(queries: MixedVectors, rows: MixedVectors) -> Closeness:
    """The nearest distance, and log (1/m) Σ exp(-d / h) over the m rows: a product kernel, of Laplace's for the numbers."""
    nearest, density = np.empty(len(queries)), np.empty(len(queries))
    for block, apart in distances(queries, rows):
        nearest[block] = least = apart.min(axis=1)
        density[block] = np.log(_kernel(apart, least).mean(axis=1, dtype=np.float64)) - least / BANDWIDTH
    return Closeness(nearest=np.maximum(nearest, 0.0), density=density)


def _kernel(apart: Singles, least: Singles) -> Singles:
    """exp((least - d) / h), in place: the largest is 1, so that nothing underflows."""
    apart -= least[:, None]
    apart *= -1 / BANDWIDTH
    return np.exp(apart, out=apart)


def _near(rows: Dataset, known: tuple[MixedVectors, ...]) -> Near:
    queries = placed(rows.values, rows.codec)
    synthetic, stand_in, reference = (closeness(queries, table) for table in known)
    return Near(rows=rows, synthetic=synthetic, stand_in=stand_in, reference=reference)
