"""How well scores tell members from controls: area under the ROC curve, and hits where false alarms are rare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import Estimate, bootstrap
from workbench.metrics.forgetting import BASELINE, fewest_for
from workbench.metrics.measure import Definition, Measure, NotComputableError
from workbench.metrics.roc_ranking import Ranked

Floats = npt.NDArray[np.float64]

ALARMS = (0.01, 0.001)
MOST_POINTS = 200
_GUESSING = "random guessing"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """A score per subject under attack; higher: more like a member."""

    members: Floats
    controls: Floats

    @property
    def n(self) -> int:
        """How many subjects were scored."""
        return len(self.members) + len(self.controls)

    def ranked(self) -> Ranked:
        """The scores in order; raises NotComputableError where a side has none or a score is no number."""
        scores = np.concatenate([self.members, self.controls])
        if not len(self.members) or not len(self.controls):
            raise NotComputableError("not computable because nobody is on one of the sides")
        if not np.isfinite(scores).all():
            raise NotComputableError("not computable because an answer or a distance is not a finite number")
        return Ranked.of(scores, np.arange(self.n) < len(self.members))


def definitions(name: str, title: str, *, formula: str, source: str, ceiling: str = "") -> tuple[Definition, ...]:
    """The AUC and the rates of hits at 1 % and 0.1 % false alarms of one attack."""
    auc = Definition(
        name=f"disclosure/{name}_auc",
        title=f"{title}: AUC",
        formula=f"chance that a member's score is higher than a control's, ties half; score: {formula}",
        range=(0.0, 1.0),
        better="lower",
        source=source,
        baseline=_GUESSING,
        ceiling=ceiling,
    )
    hits = [
        Definition(
            name=f"disclosure/{name}_tpr_at_{share:g}",
            title=f"{title}: hits at {100 * share:g} % false alarms",
            formula=f"share of members above a threshold that {100 * share:g} % of the controls are above; score: {formula}",
            range=(0.0, 1.0),
            better="lower",
            source=f"{source}; Carlini et al. 2022 (rates at few false alarms)",
            baseline=_GUESSING,
            ceiling=ceiling,
        )
        for share in ALARMS
    ]
    return auc, *hits


def told(of: Sequence[Definition], scored: Scored, ceiling: Scored | None = None) -> list[Measure]:
    """The measures of `definitions`, or of its first; no rate of hits where fewer than 5 false alarms are to be expected.

    Intervals are percentiles over subjects drawn with replacement, so that the threshold is drawn anew with the controls.
    """
    auc_is, *hits_are = of
    measures = [
        Measure(
            definition=auc_is,
            estimate=auc(scored),
            baseline=exactly(BASELINE, scored.n),
            ceiling=auc(ceiling) if ceiling else None,
            curve=curve(scored),
        )
    ]
    return measures + [_hits(d, share, scored, ceiling) for d, share in zip(hits_are, ALARMS, strict=False)]


def auc(scored: Scored) -> Estimate:
    """The area under the ROC curve: 0.5 is guessing, 1 tells everybody."""
    return _estimated(scored, scored.ranked().auc)


def exactly(value: float, n: int) -> Estimate:
    """A value that is known without doubt."""
    return Estimate(value=value, low=value, high=value, n=n)


def curve(scored: Scored) -> tuple[tuple[float, float], ...]:
    """The ROC curve's points (false, true positive rate), at most 200: the highest hits at rates on a log scale."""
    false, true = scored.ranked().roc()
    finest = np.log10(1 / len(scored.controls))
    wanted = np.r_[0.0, np.logspace(finest, 0, MOST_POINTS - 1)] * (1 + 1e-12)
    places = np.unique(np.searchsorted(false, wanted, side="right") - 1)
    return tuple(zip(false[places].tolist(), true[places].tolist(), strict=True))


def _hits(definition: Definition, share: float, scored: Scored, ceiling: Scored | None) -> Measure:
    fewest = fewest_for(share)
    if len(scored.controls) < fewest:
        return Measure(
            definition=definition,
            reason=f"not computable because a rate at {100 * share:g} % false alarms needs {fewest:,} controls",
        )

    def hits(of: Scored) -> Estimate:
        ranked = of.ranked()
        return _estimated(of, lambda weights: ranked.tpr(weights, fpr=share))

    return Measure(
        definition=definition,
        estimate=hits(scored),
        baseline=exactly(share, scored.n),
        ceiling=hits(ceiling) if ceiling else None,
    )


def _estimated(scored: Scored, statistic: Callable[[Floats], float]) -> Estimate:
    return bootstrap(statistic, np.arange(scored.n, dtype=np.uint64))
