"""Copies of real rows in a release: exact ones, near ones, and one person's row again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.data.dataset import Dataset
from workbench.metrics.attacks.closeness import Near, seen
from workbench.metrics.attacks.rates import Hits, risk, share, wilson
from workbench.metrics.attacks.sides import checked, count_subjects, per_subject
from workbench.metrics.attacks.told import exactly
from workbench.metrics.estimate import DOUBT, Estimate
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.tables import Tables
from workbench.schema.codec import Values

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
    """Copies in the release, of rows and of people.

    Shares of synthetic rows have intervals over the rows of the release, the real tables being what they are; the excess one
    over subjects.
    """
    checked(tables)
    release = Counter(_keys(tables.synthetic))
    training, holdout = _keys(tables.training.values), _keys(tables.holdout.values)
    return [
        _shared(release, training, holdout, count_subjects(tables.training) / count_subjects(tables.holdout)),
        _excess(_EXCESS, _any(tables.training, training, release), _any(tables.holdout, holdout, release)),
        _most_copied(tables, release, training, holdout),
    ]


def near(tables: Tables) -> list[Measure]:
    """People to whom some synthetic row is near, beyond what is near to controls; interval over subjects."""
    beside = seen(tables)
    return [_excess(_NEAR, _within(beside.members), _within(beside.controls))]


def _keys(values: Values) -> list[bytes]:
    """What equal rows have in common."""
    plain = np.ascontiguousarray(values) + 0.0  # no two zeros
    plain[np.isnan(plain)] = np.nan  # no two kinds of missing
    return [row.tobytes() for row in plain]


def _shared(release: Counter[bytes], training: Sequence[bytes], holdout: Sequence[bytes], times: float) -> Measure:
    """`times`: how many training subjects there are for one of the holdout. More people share rows at most as often more."""
    n, main, other = release.total(), set(training), set(holdout)
    copies, alike = (sum(k for row, k in release.items() if row in of) for of in (main, other))
    found = wilson(alike, n)
    value, low, high = (min(1.0, max(times, 1.0) * end) for end in (found.value, found.low, found.high))
    return Measure(definition=_ROWS, estimate=wilson(copies, n), ceiling=Estimate(value=value, low=low, high=high, n=n))


def _any(dataset: Dataset, keys: list[bytes], release: Counter[bytes]) -> Hits:
    """Whether any row of each subject is in the release."""
    return per_subject(np.array([key in release for key in keys], dtype=float), dataset.points) > 0


def _within(side: Near) -> Hits:
    return per_subject((side.synthetic.nearest <= NEAR).astype(float), side.rows.points) > 0


def _excess(definition: Definition, main: Hits, control: Hits) -> Measure:
    p, q = share(main), share(control)
    if q.value == 1:
        raise NotComputableError("not computable because every control is in the release")
    return Measure(definition=definition, estimate=risk(p, q), baseline=exactly(0.0, p.n))


def _most_copied(tables: Tables, release: Counter[bytes], training: list[bytes], holdout: list[bytes]) -> Measure:
    owners: dict[bytes, set[tuple[bool, int]]] = {}
    for held, keys, points in ((False, training, tables.training.points), (True, holdout, tables.holdout.points)):
        for key, point in zip(keys, points.tolist(), strict=True):
            owners.setdefault(key, set()).add((held, point))
    alone = {key: next(iter(people)) for key, people in owners.items() if len(people) == 1}
    most = {
        held: max((release[key] for key, (side, _) in alone.items() if side == held), default=0)
        for held in (False, True)
    }
    doubt = DOUBT / max(1, len(alone))
    main, other = (wilson(most[held], release.total(), doubt=doubt) for held in (False, True))
    return Measure(definition=_MOST, estimate=main, ceiling=other)


EXACT: Metric[Tables] = Metric(title="exact copies", definitions=(_ROWS, _EXCESS, _MOST), compute=exact)
NEAR_COPIES: Metric[Tables] = Metric(title="near copies", definitions=(_NEAR,), compute=near)
