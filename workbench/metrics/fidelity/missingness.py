"""Whether values are missing together in a release as they are in the records."""

from __future__ import annotations

import numpy as np

from workbench.metrics.compare import BASELINE, CEILING, INTERVAL, compare
from workbench.metrics.jackknife import Floats
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Sample
from workbench.metrics.tables import Tables

PATTERNS = Definition(
    name="fidelity/missingness",
    title="Distance of missingness patterns",
    formula="½ Σ|p - q| over patterns, a row's pattern being the set of its columns that are missing",
    range=(0.0, 1.0),
    better="lower",
    source="patterns as in Little & Rubin 2019, sect. 1.2; total variation distance",
    baseline=BASELINE,
    ceiling=CEILING,
    note=f"Sampling alone makes it larger than the distance of the populations, and the ceiling's too. {INTERVAL}",
)


def _distance(training: Sample, other: Sample) -> Floats:
    absent = np.packbits(np.isnan(np.concatenate([training.values, other.values])), axis=1)
    patterns, places = np.unique(absent, axis=0, return_inverse=True)
    own, its = np.split(places, [len(training)])
    p, q = training.sums(own, len(patterns)), other.sums(its, len(patterns))
    apart = p / p.sum(axis=1, keepdims=True) - q / q.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(apart).sum(axis=1) / 2)


def _missingness(tables: Tables) -> list[Measure]:
    if not any(column.missing for column in tables.codec.schema.encoded.values()):
        raise NotComputableError("not computable because the schema lets no column be missing")
    return [compare(PATTERNS, tables, _distance)]


MISSINGNESS: Metric[Tables] = Metric(title=PATTERNS.title, definitions=(PATTERNS,), compute=_missingness)

SPEC = MetricSpec(name="missingness", metrics=(MISSINGNESS,), rank=5)
