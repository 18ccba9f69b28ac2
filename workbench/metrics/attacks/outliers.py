"""Membership inference on worst-case records: on those who resemble the population least, and on nobody else."""

from __future__ import annotations

import numpy as np

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import per_subject, sides
from workbench.metrics.attacks._tools.membership_scores import Floats, Scored, definitions, told
from workbench.metrics.attacks._tools.mixed_distance import MixedVectors, distances, placed
from workbench.metrics.attacks._tools.nearest_rows import Closeness, closeness
from workbench.metrics.attacks._tools.rates import STAND_IN
from workbench.metrics.measure import Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables

SHARE, FEWEST = 0.01, 100
MOST = 20_000  # subjects of either side among whom the outlying are looked for
_MOST_SHARE = 0.25  # who would be outlying among so many?
_NEIGHBOUR = 5

_RULE = "among the 1 % (at least 100 a side) whose 5th nearest row of a sample of the population is farthest"
_DISTANCE = definitions(
    "mia_worst_distance",
    "Membership inference on worst-case records, by distance",
    formula=f"minus the distance to the closest row of the release; {_RULE}",
    source="Meeus et al. 2023 (vulnerable records), with Chen et al. 2020 (GAN-Leaks)",
    ceiling=STAND_IN,
)[:1]
_DENSITY = definitions(
    "mia_worst_density",
    "Membership inference on worst-case records, by density ratio",
    formula=f"log of the release's density less log of the population's; {_RULE}",
    source="Meeus et al. 2023 (vulnerable records), with van Breugel et al. 2023 (DOMIAS), eq. 2",
    ceiling=STAND_IN,
)[:1]


def on_outlying(tables: Tables) -> list[Measure]:
    """The two attacks on outlying subjects, with controls chosen by the same rule; see `told`.

    Outlying is whose mean distance, over the rows, to the 5th nearest of the reference's rows is largest: members and controls
    are measured against people who are neither, and cut at the same distance. Raises NotComputableError where fewer than 400
    are on a side: 100 of them would not be outlying.
    """
    found = sides(tables, members=MOST, controls=MOST)
    codec = tables.codec
    known = [placed(rows, codec) for rows in (found.synthetic, found.stand_in.values, found.reference.values)]
    far = [_far(side, known[2]) for side in (found.members, found.controls)]
    threshold = _threshold(*far)
    chosen = [_beyond(side, f, threshold) for side, f in zip((found.members, found.controls), far, strict=True)]
    near = [[closeness(placed(side.values, codec), table) for table in known] for side in chosen]
    members, controls = (_scores(side, *close) for side, close in zip(chosen, near, strict=True))
    return [
        *told(_DISTANCE, *(Scored(members=members[k], controls=controls[k]) for k in (0, 1))),
        *told(_DENSITY, *(Scored(members=members[k], controls=controls[k]) for k in (2, 3))),
    ]


def _far(side: Dataset, reference: MixedVectors) -> Floats:
    """How far each subject lies from the population."""
    rows, place = np.empty(len(side)), min(_NEIGHBOUR, len(reference)) - 1
    for block, apart in distances(placed(side.values, side.codec), reference):
        rows[block] = np.partition(apart, place, axis=1)[:, place]
    return per_subject(rows, side.points)


def _threshold(members: Floats, controls: Floats) -> float:
    """What both 1 % of all and 100 of either side lie beyond; one for both, or the tails would be cut at different places."""
    fewest = min(len(members), len(controls))
    if fewest * _MOST_SHARE < FEWEST:
        raise NotComputableError(f"not computable because it needs {FEWEST / _MOST_SHARE:.0f} subjects on either side")
    everybody = float(np.quantile(np.concatenate([members, controls]), 1 - SHARE))
    return min(everybody, *(float(np.sort(side)[-FEWEST]) for side in (members, controls)))


def _beyond(side: Dataset, far: Floats, threshold: float) -> Dataset:
    """The rows of the subjects who lie at least so far."""
    return side.rows(np.isin(side.points, np.unique(side.points)[far >= threshold]))


def _scores(side: Dataset, synthetic: Closeness, stand_in: Closeness, reference: Closeness) -> tuple[Floats, ...]:
    """By distance to the release and to the stand-in, then by the ratio of either's density to the reference's."""
    return (
        per_subject(-synthetic.nearest, side.points),
        per_subject(-stand_in.nearest, side.points),
        per_subject(synthetic.density - reference.density, side.points),
        per_subject(stand_in.density - reference.density, side.points),
    )


OUTLYING = Metric(title="membership of worst-case records", definitions=(*_DISTANCE, *_DENSITY), compute=on_outlying)

SPEC = AttackSpec(name="outliers", on="large release", metrics=(OUTLYING,), rank=3)
