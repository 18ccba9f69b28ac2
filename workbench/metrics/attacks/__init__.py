"""Attacks: what an outsider learns of people from a release, from an ensemble's answers, and from an erasure."""

from __future__ import annotations

from workbench.metrics.attacks._tools.answers import Answers
from workbench.metrics.attacks.black_box import ANSWERS, HARDEST, LABELS
from workbench.metrics.attacks.constituents import LIRA, RMIA
from workbench.metrics.attacks.copies import EXACT, NEAR_COPIES
from workbench.metrics.attacks.dcr import CLOSEST
from workbench.metrics.attacks.density import DENSITY
from workbench.metrics.attacks.distance import DISTANCE
from workbench.metrics.attacks.erasure import DIFFERENCE, LEFT, Versions
from workbench.metrics.attacks.inference import inference
from workbench.metrics.attacks.linkability import LINKABILITY
from workbench.metrics.attacks.outliers import OUTLYING
from workbench.metrics.attacks.singling_out import SINGLING_OUT
from workbench.metrics.measure import Metric
from workbench.metrics.tables import Tables
from workbench.schema import Schema

ON_ENSEMBLE: tuple[Metric[Answers], ...] = (ANSWERS, LABELS, HARDEST, LIRA, RMIA)
ON_ERASURE: tuple[Metric[Versions], ...] = (LEFT, DIFFERENCE)
# Of a release, and of whole tables: in a part most copies are not found.
ON_WHOLE: tuple[Metric[Tables], ...] = (EXACT,)
# One pass over the release serves them all, so that they are tried on large ones too.
BY_NEIGHBOURS: tuple[Metric[Tables], ...] = (DISTANCE, DENSITY, OUTLYING, NEAR_COPIES, CLOSEST)


def on_release(schema: Schema) -> tuple[Metric[Tables], ...]:
    """All attacks on a release of a table with this schema, but for `ON_WHOLE`, and `shadow`, which needs the generator."""
    return (*BY_NEIGHBOURS, *SINGLING_OUT, LINKABILITY, *inference(schema))
