"""Attacks: what an outsider learns of people from a release, from an ensemble's answers, and from an erasure."""

from __future__ import annotations

from workbench.metrics.attacks.closest import CLOSEST
from workbench.metrics.attacks.copies import EXACT, NEAR_COPIES
from workbench.metrics.attacks.density import DENSITY
from workbench.metrics.attacks.distance import DISTANCE
from workbench.metrics.attacks.inference import inference
from workbench.metrics.attacks.linkability import LINKABILITY
from workbench.metrics.attacks.outlying import OUTLYING
from workbench.metrics.attacks.singling_out import SINGLING_OUT
from workbench.metrics.measure import Metric
from workbench.metrics.tables import Tables
from workbench.schema import Schema


def on_release(schema: Schema) -> tuple[Metric[Tables], ...]:
    """All attacks on a release of a table with this schema; the shadow attack, which needs a generator, is `shadow`."""
    common = (DISTANCE, DENSITY, OUTLYING, *SINGLING_OUT, LINKABILITY)
    return (*common, *inference(schema), EXACT, NEAR_COPIES, CLOSEST)
