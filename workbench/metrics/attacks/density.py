"""Membership inference by the ratio of two densities: where the release is denser than the population, somebody was learnt."""

from __future__ import annotations

from workbench.metrics.attacks._tools.attack_split import per_subject
from workbench.metrics.attacks._tools.membership_scores import Floats, Scored, definitions, told
from workbench.metrics.attacks._tools.nearest_rows import Near, seen
from workbench.metrics.attacks._tools.rates import STAND_IN
from workbench.metrics.measure import Measure, Metric
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables

_DEFINITIONS = definitions(
    "mia_density",
    "Membership inference by density ratio",
    formula="log of the release's density less log of the population's, mean over a subject's rows; kernel exp(-d / 0.25)",
    source="van Breugel et al. 2023 (DOMIAS), eq. 2, with a product kernel",
    ceiling=STAND_IN,
)


def by_density(tables: Tables) -> list[Measure]:
    """Whoever lies where the release is denser than a sample of the population is taken for a member; see `told`.

    The attacker sees the release and a quarter of the holdout, on which nobody under attack is. What is common for everybody
    cancels out, so that rare people are told, too.
    """
    beside = seen(tables)
    scored = Scored(members=density_scores(beside.members), controls=density_scores(beside.controls))
    real = Scored(members=_real_scores(beside.members), controls=_real_scores(beside.controls))
    return told(_DEFINITIONS, scored, real)


def density_scores(near: Near) -> Floats:
    """The score of each subject of a side, in the order of their points."""
    return per_subject(near.synthetic.density - near.reference.density, near.rows.points)


def _real_scores(near: Near) -> Floats:
    return per_subject(near.stand_in.density - near.reference.density, near.rows.points)


DENSITY = Metric(title="membership by density ratio", definitions=_DEFINITIONS, compute=by_density)

SPEC = AttackSpec(name="density", on="large release", metrics=(DENSITY,), rank=2)
