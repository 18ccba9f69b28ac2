"""Attacks on an erasure by who has the versions before and after: who was erased, and is anything of them left?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.data.identity import Points
from workbench.metrics.attacks._tools.attack_split import per_subject
from workbench.metrics.attacks._tools.membership_scores import Floats, Scored, definitions, told
from workbench.metrics.forgetting import minus_squared_error, scaled_confidence
from workbench.metrics.measure import Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec

FEWEST = 20  # subjects of a kind, below which an interval says nothing
Statuses = npt.NDArray[np.str_]
Status = Literal["erased", "living", "stranger"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Versions:
    """What two versions say of candidates' rows: `before` and `after` the erasure [n, K], with the true `labels` [n].

    `status` [n] is the person's: `erased` between the versions, `living` (in both) or `stranger` (in neither, of the holdout).
    `kind` is that of the task; of a regression K is 1.
    """

    before: Floats
    after: Floats
    labels: Floats
    points: Points
    status: Statuses
    kind: str

    def confidence(self, answers: Floats) -> Floats:
        """How sure answers are of the truth [n]: its scaled log-odds, or minus the squared error of a value."""
        return (
            minus_squared_error(answers, self.labels)
            if self.kind == "regression"
            else scaled_confidence(answers, self.labels)
        )

    def scored(self, scores: Floats, against: tuple[Status, ...]) -> Scored:
        """The scores of subjects: of those who were erased, and of the others; NotComputableError below 20 on a side."""
        sides = [np.isin(self.status, kinds) for kinds in (("erased",), against)]
        members, controls = (per_subject(scores[side], self.points[side]) for side in sides)
        if min(len(members), len(controls)) < FEWEST:
            raise NotComputableError(f"not computable because it needs {FEWEST} erased and {FEWEST} other subjects")
        return Scored(members=members, controls=controls)


_DIFFERENCE = definitions(
    "differencing",
    "Differencing of the versions before and after an erasure",
    formula="by how much the log-odds of the true label (of a value: minus the squared error) fell, mean over the rows; "
    "members are erased people, controls living ones and strangers",
    source="Chen et al. 2021 (direct difference)",
)
_BEFORE = definitions(
    "erased_before",
    "Erased people, before the erasure",
    formula="log-odds of the true label by the version before, mean over a subject's rows; members are erased people, controls "
    "strangers",
    source="Yeom et al. 2018, adversary 2; Carlini et al. 2022 (scaling)",
)[:1]
_AFTER = definitions(
    "erased_after",
    "Erased people, after the erasure",
    formula="log-odds of the true label by the version after, mean over a subject's rows; members are erased people, controls "
    "strangers",
    source="Yeom et al. 2018, adversary 2; Carlini et al. 2022 (scaling)",
)[:1]


def by_difference(versions: Versions) -> list[Measure]:
    """Of whose label the new version is less sure than the old was, is taken for erased; see `told`.

    This is no fault of the erasure: whoever has both versions is told more than who has the last. An erasure that changed
    nothing has an AUC of exactly 0.5, and is found by what is left after it.
    """
    fall = versions.confidence(versions.before) - versions.confidence(versions.after)
    return told(_DIFFERENCE, versions.scored(fall, ("living", "stranger")))


def what_is_left(versions: Versions) -> list[Measure]:
    """How well erased people are told from strangers by the version before, and by that after: 0.5 is forgotten; see `told`.

    Erased people and strangers must be drawn alike, or a difference between the groups looks like memory.
    """
    before, after = (versions.confidence(answers) for answers in (versions.before, versions.after))
    return [
        *told(_BEFORE, versions.scored(before, ("stranger",))),
        *told(_AFTER, versions.scored(after, ("stranger",))),
    ]


DIFFERENCE: Metric[Versions] = Metric(title="differencing of versions", definitions=_DIFFERENCE, compute=by_difference)
LEFT: Metric[Versions] = Metric(title="what an erasure left", definitions=(*_BEFORE, *_AFTER), compute=what_is_left)

SPECS = (
    AttackSpec(name="left", on="erasure", metrics=(LEFT,), rank=15),
    AttackSpec(name="difference", on="erasure", metrics=(DIFFERENCE,), rank=16),
)
