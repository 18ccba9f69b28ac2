"""Copies of real rows in a release: exact ones, near ones, and one person's row again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import checked, count_subjects, per_subject
from workbench.metrics.attacks._tools.membership_scores import exactly
from workbench.metrics.attacks._tools.nearest_rows import Near, seen
from workbench.metrics.attacks._tools.rates import Hits, risk, share, wilson
from workbench.metrics.estimate import DOUBT, Estimate
from workbench.metrics.measure import Definition, Measure, Metric
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables
from workbench.schema.codec import Values

Keys = npt.NDArray[np.uint64]

NEAR = 0.05
_WILSON = "share with Wilson's interval (Wilson 1927)"
_ROWS = Definition(
    name="disclosure/exact_copies",
    title="Exact copies",
    formula="share of synthetic rows that equal a training row",
    range=(0.0, 1.0),
    better="lower",
    source=_WILSON,
    ceiling="share that equals a row of as many strangers, at most: of the holdout's, times the ratio of the subjects' numbers",
    note="common rows are copied by any good release: excess_copies is what tells copying from likeness",
)
_EXCESS = Definition(
    name="disclosure/excess_copies",
    title="People copied, beyond the holdout's",
    formula="(p - q) / (1 - q), p and q the shares of training and of holdout subjects with a row that is in the release",
    range=(float("-inf"), 1.0),
    better="lower",
    source="the risk of Giomi et al. 2023; interval: Wilson 1927, combined as Newcombe 1998 and Zou & Donner 2008 do",
    baseline="training subjects are copied as often as holdout subjects",
)
_NEAR = replace(
    _EXCESS,
    name="disclosure/excess_near_copies",
    title="People nearly copied, beyond the holdout's",
    formula=f"(p - q) / (1 - q), p and q the shares of members and of controls to whom a synthetic row is within {NEAR}",
    note=f"{NEAR}: all categories equal, and all numbers together off by at most {NEAR:.0%} of a range",
)
_MOST = Definition(
    name="disclosure/most_copied",
    title="The person copied most",
    formula="largest share of the synthetic rows that equal a row which, of all real people, one training subject has alone",
    range=(0.0, 1.0),
    better="lower",
    source=f"{_WILSON}, at a confidence that holds for all people at once (Bonferroni)",
    ceiling="the same of holdout subjects",
)


def exact(tables: Tables) -> list[Measure]:
    """Copies in the release, of rows and of people; to be asked of whole tables, it takes seconds for a million rows.

    Shares of synthetic rows have intervals over the rows of the release, the real tables being what they are; the excess one
    over subjects.
    """
    checked(tables)
    release, training, holdout = map(_keys, (tables.synthetic, tables.training.values, tables.holdout.values))
    return [
        _shared(release, training, holdout, count_subjects(tables.training) / count_subjects(tables.holdout)),
        _excess(_EXCESS, _any(tables.training, training, release), _any(tables.holdout, holdout, release)),
        _most_copied(tables, release, training, holdout),
    ]


def near(tables: Tables) -> list[Measure]:
    """People to whom some synthetic row is near, beyond what is near to controls; interval over subjects."""
    beside = seen(tables)
    return [_excess(_NEAR, _within(beside.members), _within(beside.controls))]


def _keys(values: Values) -> Keys:
    """A hash of each row [n]: equal for equal rows, and for any two others of a million with a chance of 1 in ten million."""
    from pandas.util import hash_array  # for start-up: the registry imports this file

    keys = np.zeros(len(values), dtype=np.uint64)
    for column in values.T:
        plain = column + 0.0  # no two zeros
        plain[np.isnan(plain)] = np.nan  # no two kinds of missing
        keys = hash_array(keys + hash_array(plain))
    return keys


def _shared(release: Keys, training: Keys, holdout: Keys, times: float) -> Measure:
    """`times`: how many training subjects there are for one of the holdout. More people share rows at most as often more."""
    n = len(release)
    copies, alike = (int(np.isin(release, of).sum()) for of in (training, holdout))
    found = wilson(alike, n)
    value, low, high = (min(1.0, max(times, 1.0) * end) for end in (found.value, found.low, found.high))
    return Measure(definition=_ROWS, estimate=wilson(copies, n), ceiling=Estimate(value=value, low=low, high=high, n=n))


def _any(dataset: Dataset, keys: Keys, release: Keys) -> Hits:
    """Whether any row of each subject is in the release."""
    return per_subject(np.isin(keys, release).astype(float), dataset.points) > 0


def _within(side: Near) -> Hits:
    return per_subject((side.synthetic.nearest <= NEAR).astype(float), side.rows.points) > 0


def _excess(definition: Definition, main: Hits, control: Hits) -> Measure:
    p, q = share(main), share(control)
    if q.value == 1:
        return Measure(definition=definition, reason="not computable because every control is in the release")
    return Measure(definition=definition, estimate=risk(p, q), baseline=exactly(0.0, p.n))


def _most_copied(tables: Tables, release: Keys, training: Keys, holdout: Keys) -> Measure:
    points = np.concatenate([tables.training.points, tables.holdout.points])
    held = np.arange(len(points)) >= len(training)
    keys, first, which = np.unique(np.concatenate([training, holdout]), return_index=True, return_inverse=True)
    others = points != points[first][which]  # not the owner of the first row like it; nobody is on both sides
    alone = np.ones(len(keys), dtype=bool)
    alone[which[others]] = False
    copies = _counted(keys, release)
    doubt = DOUBT / max(1, int(alone.sum()))
    main, other = (
        wilson(int(copies[alone & (held[first] == side)].max(initial=0)), len(release), doubt=doubt)
        for side in (False, True)
    )
    return Measure(definition=_MOST, estimate=main, ceiling=other)


def _counted(keys: Keys, release: Keys) -> npt.NDArray[np.int64]:
    """How many rows of the release have each of the keys."""
    ordered = np.sort(release)
    return np.asarray(np.searchsorted(ordered, keys, side="right") - np.searchsorted(ordered, keys, side="left"))


EXACT: Metric[Tables] = Metric(title="exact copies", definitions=(_ROWS, _EXCESS, _MOST), compute=exact)
NEAR_COPIES: Metric[Tables] = Metric(title="near copies", definitions=(_NEAR,), compute=near)

SPECS = (
    AttackSpec(name="near_copies", on="large release", metrics=(NEAR_COPIES,), rank=4),
    AttackSpec(name="exact_copies", on="whole tables", metrics=(EXACT,), rank=9),
)
