"""Membership inference on what an ensemble tells everybody: on its confidence, its hits alone, and its hardest cases."""

from __future__ import annotations

import numpy as np

from workbench.metrics.attacks._tools.answers import Answers, Asked, Floats, checked
from workbench.metrics.attacks._tools.attack_split import per_subject
from workbench.metrics.attacks._tools.membership_scores import Scored, auc, definitions, exactly, told
from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.forgetting import BASELINE
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec

SHARE, FEWEST = 0.01, 100
_MOST_SHARE = 0.25
_SAW_NONE = "the same people, told by the mean confidence of constituents that never saw them"

_CONFIDENCE = definitions(
    "mia_answers",
    "Membership inference on the ensemble's answers",
    formula="log-odds of the true label by the ensemble (of a value: minus the squared error), mean over a subject's rows",
    source="Yeom et al. 2018, adversary 2, with the scaling of Carlini et al. 2022",
    ceiling=_SAW_NONE,
)
_HARDEST = definitions(
    "mia_worst_answers",
    "Membership inference on worst-case records, on the ensemble's answers",
    formula="log-odds of the true label by the ensemble less the mean of those by constituents that never saw the person; "
    "of the 1 % (at least 100 a side) of whose labels the latter are least sure",
    source="Carlini et al. 2022 (outliers), calibrated for difficulty as by Watson et al. 2022",
)[:1]
_LABELS = definitions(
    "mia_labels",
    "Membership inference on labels alone",
    formula="share of a subject's rows whose label is predicted right",
    source="Yeom et al. 2018, adversary 1; Choquette-Choo et al. 2021 (gap attack)",
)[:1]
_GAP = Definition(
    name="disclosure/gap_attack",
    title="Gap attack",
    formula="accuracy on members less accuracy on the holdout, of subjects: what is gained by taking right labels for members",
    range=(-1.0, 1.0),
    better="lower",
    source="Yeom et al. 2018, adversary 1: its advantage",
    baseline="as accurate on strangers as on members",
)


def on_answers(answers: Answers) -> list[Measure]:
    """Of whom the ensemble is surer is taken for a member; what clients see is enough. See `told`."""
    checked(answers)
    ceiling = _scored(answers, *answers.away) if answers.n_constituents > 1 else None
    return told(_CONFIDENCE, _scored(answers, *_confidences(answers)), ceiling)


def on_hardest(answers: Answers) -> list[Measure]:
    """The same on people whom models that never saw them find hardest, on both sides alike; see `told`.

    Both are cut at the same confidence. Siblings stand for the reference models that such an attacker would train. Raises
    NotComputableError below 400 subjects on a side.
    """
    checked(answers)
    asked = _scored(answers, *_confidences(answers))
    away = _scored(answers, *answers.away)
    fewest = min(len(away.members), len(away.controls))
    if fewest * _MOST_SHARE < FEWEST:
        raise NotComputableError(f"not computable because it needs {FEWEST / _MOST_SHARE:.0f} subjects on either side")
    everybody = float(np.quantile(np.concatenate([away.members, away.controls]), SHARE))
    sure = max(everybody, *(float(np.sort(side)[FEWEST - 1]) for side in (away.members, away.controls)))
    members, controls = away.members <= sure, away.controls <= sure
    calibrated = Scored(
        members=asked.members[members] - away.members[members],
        controls=asked.controls[controls] - away.controls[controls],
    )
    return told(_HARDEST, calibrated)


def on_labels(answers: Answers) -> list[Measure]:
    """Who is predicted right is taken for a member; raises NotComputableError of a regression, which gives no labels."""
    checked(answers)
    if answers.kind == "regression":
        raise NotComputableError("not computable because a regression predicts no labels")
    scored = _scored(answers, _right(answers.members), _right(answers.holdout))
    return [
        Measure(definition=_LABELS[0], estimate=auc(scored), baseline=exactly(BASELINE, scored.n)),
        Measure(definition=_GAP, estimate=_gap(scored), baseline=exactly(0.0, scored.n)),
    ]


def _scored(answers: Answers, members: Floats, holdout: Floats) -> Scored:
    return Scored(
        members=per_subject(members, answers.members.points), controls=per_subject(holdout, answers.holdout.points)
    )


def _confidences(answers: Answers) -> tuple[Floats, Floats]:
    members, holdout = (answers.confidence(side.aggregate, side.labels) for side in (answers.members, answers.holdout))
    return members, holdout


def _right(asked: Asked) -> Floats:
    return np.asarray(asked.aggregate.argmax(axis=1) == asked.labels, dtype=np.float64)


def _gap(scored: Scored) -> Estimate:
    right, member = np.concatenate([scored.members, scored.controls]), np.arange(scored.n) < len(scored.members)

    def gap(weights: Floats) -> float:
        sides = [(weights * side, (weights * side).sum()) for side in (member, ~member)]
        if not all(total for _, total in sides):
            return float("nan")
        return float(np.subtract(*((weight * right).sum() / total for weight, total in sides)))

    return bootstrap(gap, np.arange(scored.n, dtype=np.uint64))


ANSWERS: Metric[Answers] = Metric(title="membership by answers", definitions=_CONFIDENCE, compute=on_answers)
HARDEST: Metric[Answers] = Metric(title="membership of the hardest", definitions=_HARDEST, compute=on_hardest)
LABELS: Metric[Answers] = Metric(title="membership by labels", definitions=(*_LABELS, _GAP), compute=on_labels)

SPECS = (
    AttackSpec(name="answers", on="ensemble", metrics=(ANSWERS,), rank=10),
    AttackSpec(name="labels", on="ensemble", metrics=(LABELS,), rank=11),
    AttackSpec(name="hardest", on="ensemble", metrics=(HARDEST,), rank=12),
)
