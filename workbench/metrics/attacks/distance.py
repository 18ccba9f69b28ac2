"""Membership inference by the distance to the closest synthetic row."""

from __future__ import annotations

from workbench.metrics.attacks._tools.attack_split import per_subject
from workbench.metrics.attacks._tools.membership_scores import Floats, Scored, definitions, told
from workbench.metrics.attacks._tools.nearest_rows import Near, seen
from workbench.metrics.attacks._tools.rates import STAND_IN
from workbench.metrics.measure import Measure, Metric
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables

_DEFINITIONS = definitions(
    "mia_distance",
    "Membership inference by distance",
    formula="minus the distance to the closest row of the release, mean over a subject's rows",
    source="Chen et al. 2020 (GAN-Leaks), full black-box attack",
    ceiling=STAND_IN,
)


def by_distance(tables: Tables) -> list[Measure]:
    """Whoever lies nearer to the release than others do is taken for a member; see `told`.

    The attacker sees the release alone. People of whom there are many are near to any release: the attack is weak on those.
    """
    beside = seen(tables)
    scored = Scored(members=distance_scores(beside.members), controls=distance_scores(beside.controls))
    real = Scored(
        members=per_subject(-beside.members.stand_in.nearest, beside.members.rows.points),
        controls=per_subject(-beside.controls.stand_in.nearest, beside.controls.rows.points),
    )
    return told(_DEFINITIONS, scored, real)


def distance_scores(near: Near) -> Floats:
    """The score of each subject of a side, in the order of their points."""
    return per_subject(-near.synthetic.nearest, near.rows.points)


DISTANCE = Metric(title="membership by distance", definitions=_DEFINITIONS, compute=by_distance)

SPEC = AttackSpec(name="distance", on="large release", metrics=(DISTANCE,), rank=1)
