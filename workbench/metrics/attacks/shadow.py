"""Membership inference with shadow releases: what members look like is learnt on releases of people the attacker knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import FEWEST, AttackSplit, count_subjects, drawn, per_subject, sides
from workbench.metrics.attacks._tools.membership_scores import Floats, Scored, definitions, told
from workbench.metrics.attacks._tools.mixed_distance import placed
from workbench.metrics.attacks._tools.nearest_rows import Closeness, Near, closeness, seen
from workbench.metrics.attacks._tools.rates import STAND_IN
from workbench.metrics.measure import Measure, Metric, NotComputableError
from workbench.metrics.tables import Tables
from workbench.schema.codec import Values

Mask = npt.NDArray[np.bool_]
Refit = Callable[[Dataset, np.random.Generator], Values]

RELEASES = 4
_DEFINITIONS = definitions(
    "mia_shadow",
    "Membership inference with shadow releases",
    formula="log-odds of membership by a logistic regression on distance and densities, taught on shadow releases",
    source="Shokri et al. 2017; Stadler et al. 2022",
    ceiling=STAND_IN,
)


def shadow(refit: Refit, *, releases: int = RELEASES) -> Metric[Tables]:
    """The attack by who can run the generator: `refit` makes a release of the rows it is given. It costs `releases` fits."""
    compute = partial(by_shadow, refit=refit, releases=releases)
    return Metric(title="membership with shadow releases", definitions=_DEFINITIONS, compute=compute)


def by_shadow(tables: Tables, *, refit: Refit, releases: int) -> list[Measure]:
    """The attacker makes releases of halves of a part of the holdout, so that members are known; see `told`.

    What is learnt there is used on the real release. Nobody under attack is in a shadow release. Raises NotComputableError
    where that part holds fewer than 40 people.
    """
    found, beside = sides(tables), seen(tables)
    if count_subjects(found.stand_in) < 2 * FEWEST:
        raise NotComputableError(f"not computable because it needs {2 * FEWEST} people for the shadow releases")
    rng = tables.rng("shadow")
    features, member = zip(*(_shadow(found, refit, rng) for _ in range(releases)), strict=True)
    log_odds = _taught(np.concatenate(features), np.concatenate(member))

    def scored(members: Closeness, controls: Closeness) -> Scored:
        return Scored(
            members=_scores(log_odds, members, beside.members), controls=_scores(log_odds, controls, beside.controls)
        )

    return told(
        _DEFINITIONS,
        scored(beside.members.synthetic, beside.controls.synthetic),
        scored(beside.members.stand_in, beside.controls.stand_in),
    )


def _shadow(found: AttackSplit, refit: Refit, rng: np.random.Generator) -> tuple[Floats, Mask]:
    """The features of the rows the attacker knows beside a release of half of their people, and which rows were in it."""
    known, codec = found.stand_in, found.stand_in.codec
    members = drawn(known, count_subjects(known) // 2, rng)
    release = refit(members, rng)
    rows = placed(known.values, codec)
    synthetic, reference = (closeness(rows, placed(t, codec)) for t in (release, found.reference.values))
    return _features(synthetic, reference), np.isin(known.points, members.points)


def _features(release: Closeness, reference: Closeness) -> Floats:
    """What a classifier is told of each row [n, 4]."""
    return np.stack([release.nearest, reference.nearest, release.density, release.density - reference.density], axis=1)


def _taught(features: Floats, member: Mask) -> Callable[[Floats], Floats]:
    """The log-odds of membership as a logistic regression tells them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, member)
    return lambda x: np.asarray(model.decision_function(x), dtype=np.float64)


def _scores(log_odds: Callable[[Floats], Floats], release: Closeness, near: Near) -> Floats:
    return per_subject(log_odds(_features(release, near.reference)), near.rows.points)
