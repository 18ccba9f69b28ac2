"""Distances of synthetic rows to their closest real records, which many reports show, and which protect nobody."""

from __future__ import annotations

import numpy as np

from workbench.metrics.attacks._tools.attack_split import shuffled, sides
from workbench.metrics.attacks._tools.membership_scores import Floats
from workbench.metrics.attacks._tools.mixed_distance import MixedVectors, distances, placed
from workbench.metrics.attacks._tools.rates import STAND_IN
from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.measure import Definition, Measure, Metric
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables

QUERIES = 1_000
_NOTE = (
    "not a privacy measure: a release may keep these at the holdout's level and still give people away to a membership attack "
    "(Yao et al. 2025), and a filter that enforces them leaks the records it is near to (Ganev & De Cristofaro 2025)"
)
_DCR = Definition(
    name="disclosure/dcr",
    title="Distance to the closest record",
    formula="median over synthetic rows of the distance to the nearest training row; categories count 1, numbers by range",
    range=(0.0, float("inf")),
    better="neither",
    source="Park et al. 2018; Zhao et al. 2021",
    ceiling=STAND_IN,
    note=_NOTE,
)
_NNDR = Definition(
    name="disclosure/nndr",
    title="Nearest neighbour distance ratio",
    formula="median over synthetic rows of the distances to the nearest and second nearest training row, divided; 0/0 is 1",
    range=(0.0, 1.0),
    better="neither",
    source="Zhao et al. 2021",
    ceiling=STAND_IN,
    note=_NOTE,
)


def closest(tables: Tables) -> list[Measure]:
    """Medians of the distance and of the ratio, of at most 1,000 synthetic rows to all training rows.

    Intervals are over synthetic rows drawn with replacement.
    """
    found, codec = sides(tables), tables.codec
    records = placed(tables.training.values, codec)
    release, real = (
        _two_nearest(placed(shuffled(rows, QUERIES, tables.rng("closest rows")), codec), records)
        for rows in (found.synthetic, found.stand_in.values)
    )
    return [
        Measure(definition=_DCR, estimate=_median(release[:, 0]), ceiling=_median(real[:, 0])),
        Measure(definition=_NNDR, estimate=_median(_ratio(release)), ceiling=_median(_ratio(real))),
    ]


def _two_nearest(rows: MixedVectors, records: MixedVectors) -> Floats:
    """The distances [n, 2] to the two nearest records."""
    nearest = np.empty((len(rows), 2))
    for block, apart in distances(rows, records):
        nearest[block] = np.partition(apart, 1, axis=1)[:, :2]
    return np.maximum(nearest, 0.0)


def _ratio(nearest: Floats) -> Floats:
    first, second = nearest.T
    return np.asarray(np.divide(first, second, out=np.ones(len(first)), where=second > 0))


def _median(values: Floats) -> Estimate:
    """The median of values with weights: the least value that half of the weight is at or below."""
    order = np.argsort(values, kind="stable")

    def median(weights: Floats) -> float:
        sums = np.cumsum(weights[order])
        return float(values[order[np.searchsorted(sums, sums[-1] / 2)]])

    return bootstrap(median, np.arange(len(values), dtype=np.uint64))


CLOSEST: Metric[Tables] = Metric(title="closest records", definitions=(_DCR, _NNDR), compute=closest)

SPEC = AttackSpec(name="dcr", on="large release", metrics=(CLOSEST,), rank=5)
