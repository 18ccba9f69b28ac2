"""Rows of a release that cannot be: they break what the schema says of every row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from workbench.metrics.comparable import check_tables, has_holdout
from workbench.metrics.compare import BASELINE
from workbench.metrics.estimate import DOUBT, Estimate
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.tables import Tables
from workbench.schema import Codec
from workbench.schema.codec import Values

VIOLATIONS = Definition(
    name="fidelity/constraint_violations",
    title="Broken constraints",
    formula="share of rows that break one or more of the schema's constraints",
    range=(0.0, 1.0),
    better="lower",
    source="the schema; interval of Clopper & Pearson 1934",
    baseline=BASELINE,
    ceiling="the holdout: 0, as rows that break a constraint are not taken in",
    note="The interval is about the share among all rows that the fitted generator could give; of people, persons are counted.",
)


def share_broken(codec: Codec, values: Values, subjects: npt.NDArray[np.uint64]) -> Estimate:
    """The share of rows that break a constraint; the interval rests on as many trials as there are subjects."""
    broken = np.zeros(len(values), dtype=bool)
    for _, _, mask in codec.broken_constraints(values):
        broken |= mask
    trials, share = len(np.unique(subjects)), float(broken.mean())
    hits = share * trials
    low = float(beta.ppf(DOUBT, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - DOUBT, hits + 1, trials - hits)) if hits < trials else 1.0
    return Estimate(value=share, low=low, high=high, n=len(values))


def _violations(tables: Tables) -> list[Measure]:
    check_tables(tables)
    codec, holdout = tables.codec, tables.holdout
    if not codec.schema.constraints:
        raise NotComputableError("not computable because the schema states no constraints")
    release, naive = (
        share_broken(codec, rows, np.arange(len(rows), dtype=np.uint64))
        for rows in (tables.synthetic, tables.independent)
    )
    ceiling = share_broken(codec, holdout.values, holdout.points) if has_holdout(tables) else None
    return [Measure(definition=VIOLATIONS, estimate=release, baseline=naive, ceiling=ceiling)]


CONSTRAINTS: Metric[Tables] = Metric(title=VIOLATIONS.title, definitions=(VIOLATIONS,), compute=_violations)

SPEC = MetricSpec(name="constraints", metrics=(CONSTRAINTS,), rank=6)
