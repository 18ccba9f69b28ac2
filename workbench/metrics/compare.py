"""One figure of the release beside the same figure of the naive release and of the holdout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from workbench.metrics.comparable import check_tables, has_holdout
from workbench.metrics.estimate import Estimate
from workbench.metrics.jackknife import Floats, jackknife
from workbench.metrics.measure import Definition, Measure, NotComputableError
from workbench.metrics.sample import Sample, sample_of
from workbench.metrics.tables import Tables

# The values [1 + GROUPS] of a figure of the training rows and another table's: of all rows, then without each group.
Figure = Callable[[Sample, Sample], Floats]

BASELINE = "the training rows with every column shuffled by itself"
CEILING = "the holdout in place of the release"
INTERVAL = (
    "The interval is about the mean of the figure over other training subjects and other rows of the same fitted generator, "
    "as many as here; not about fitting it again."
)


def compare(definition: Definition, tables: Tables, figure: Figure, *, note: str = "") -> Measure:
    """The measure of a figure of two samples: of the training rows and the release, the naive release, the holdout."""
    check_tables(tables)
    training = sample_of(tables, "training")

    def estimate(name: str) -> Estimate:
        other = sample_of(tables, name)
        return jackknife(figure(training, other), n=len(other), within=definition.range)

    return beside(definition, tables, estimate, note=note)


def beside(
    definition: Definition,
    tables: Tables,
    estimate: Callable[[str], Estimate],
    *,
    ceiling: Literal["holdout", "training"] | None = "holdout",
    note: str = "",
) -> Measure:
    """The measure of the estimates of the `synthetic`, of the `independent` and of the ceiling's rows.

    Baseline or ceiling are None where they are not computable, the ceiling also where the holdout has too few subjects.
    The tables were checked. Raises NotComputableError where the release's estimate is not computable.
    """
    return Measure(
        definition=replace(definition, note=" ".join(filter(None, [definition.note, note]))),
        estimate=_finite(estimate("synthetic")),
        baseline=or_none(lambda: estimate("independent")),
        ceiling=or_none(lambda: estimate(ceiling)) if ceiling and has_holdout(tables) else None,
    )


def or_none(estimate: Callable[[], Estimate]) -> Estimate | None:
    """The estimate; None where it is not computable."""
    try:
        return _finite(estimate())
    except NotComputableError:
        return None


def _finite(estimate: Estimate) -> Estimate:
    if not np.isfinite([estimate.value, estimate.low, estimate.high]).all():
        raise NotComputableError("not computable because the figure is not defined on these tables")
    return estimate
