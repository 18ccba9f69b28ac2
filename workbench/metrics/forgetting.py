"""How well attacks tell a subject of a constituent from subjects it never saw: before an erasure, and after.

The other constituents of a sharded ensemble, the siblings, never saw the subject: they are reference models for free. Each
in turn also takes the attacked one's place, with the others for references. What that gives are the scores of non-members:
of the same subjects, and fixed before anything is erased. If nothing is left of a subject, its own constituent is one among
siblings, so that member's and non-member's score are exchangeable and the AUC of the attack is 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.metrics.estimate import DOUBT, Estimate, bootstrap
from workbench.metrics.roc_ranking import Ranked

Floats = npt.NDArray[np.float64]

BASELINE = 0.5  # the AUC of guessing
FEWEST_SIBLINGS = 3  # one to be attacked, two for a spread
FALSE_ALARMS = (0.05, 0.01)
REPLICATES = 1000
# RMIA: how far a model rises above its references where it saw the row, and the ratio that counts. Values of the authors'
# program; nothing here is tuned on what is audited.
OFFLINE_A, GAMMA = 0.3, 1.0
_FEWEST_ALARMS = 5  # subjects expected above a threshold, or it says more of chance than of the attack
_LEAST = 1e-12  # a probability that is rounded to 0
_LEAST_SPREAD = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Scores of n subjects [n, m]: by the constituent under attack, and by sibling j in its place; higher: more like a member.

    Both in column j are judged by all siblings but j. After an exact erasure they are exchangeable. `share` says which part of
    all subjects that the constituents learnt from they are.
    """

    members: Floats
    nonmembers: Floats
    share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Membership:
    """How well scores tell members: the AUC, and the rate of hits at each rate of false alarms; None: too few subjects."""

    auc: Estimate
    hits: Mapping[float, Estimate | None]


Finding = Literal["forgotten", "nothing to tell", "doubtful", "not forgotten"]


def together(scores: Sequence[Scores], *, share: float = 0.0) -> Scores:
    """The scores of all their subjects, who are that share of those whom the constituents learnt from."""
    return Scores(
        members=np.concatenate([s.members for s in scores]),
        nonmembers=np.concatenate([s.nonmembers for s in scores]),
        share=share,
    )


def true_probability(probabilities: Floats, labels: Floats) -> Floats:
    """The probability [n] of each row's true label, of probabilities [n, K] and codes [n]."""
    return np.asarray(probabilities[np.arange(len(labels)), labels.astype(np.int64)])


def scaled_confidence(probabilities: Floats, labels: Floats) -> Floats:
    """log p - log(1 - p) of the true label [n]: nearly normal over models (Carlini et al. 2022, logit scaling).

    1 - p is the sum of the other labels' probabilities, which keeps its digits where p rounds to 1.
    """
    own = np.zeros(probabilities.shape, dtype=bool)
    own[np.arange(len(labels)), labels.astype(np.int64)] = True
    true, others = probabilities[own], np.where(own, 0.0, probabilities).sum(axis=1)
    return np.asarray(np.log(np.maximum(true, _LEAST)) - np.log(np.maximum(others, _LEAST)))


def minus_squared_error(values: Floats, truth: Floats) -> Floats:
    """-(y - prediction)² [n] of values [n, 1]: what stands for a confidence where no label has a probability."""
    return np.asarray(-((truth - values[:, 0]) ** 2))


def lira(target: Floats, siblings: Floats) -> Scores:
    """The offline likelihood-ratio attack (Carlini et al. 2022, Alg. 1), one subject: (c - mean) / sd over the references.

    Of confidences [k] of its k rows by the constituent under attack and [k, m] by the siblings; a subject's confidence is the
    mean over its rows. The z-score orders subjects as 1 - Pr[N(mean, sd²) > c] does. Any real number.
    """
    confidence, references = target.mean(), siblings.mean(axis=0)
    left = _left_out(references)
    means, spreads = left.mean(axis=1), np.maximum(left.std(axis=1, ddof=1), _LEAST_SPREAD)
    return Scores(members=((confidence - means) / spreads)[None], nonmembers=((references - means) / spreads)[None])


def rmia(target: Floats, siblings: Floats, population: Floats, siblings_population: Floats) -> Scores:
    """The offline robust attack (Zarifzadeh et al. 2024, eqs. 2 and 3), one subject: the share of rows z that x outdoes.

    x outdoes z where p(x|θ)/p(x) >= γ p(z|θ)/p(z), with p(x) = ((1 + a) q + 1 - a) / 2 and q the references' mean. Of the true
    labels' probabilities: [k] and [k, m] of the subject's rows, [Z] and [Z, m] of rows that no constituent saw. A subject's
    score is the mean over its rows. Range [0, 1].
    """
    x, z = _offline_mean(siblings), _offline_mean(siblings_population)
    return Scores(
        members=_share_outdone(target[:, None] / x, population[:, None] / z)[None],
        nonmembers=_share_outdone(siblings / x, siblings_population / z)[None],
    )


def membership(
    scores: Scores,
    *,
    doubt: float = DOUBT,
    false_alarms: Sequence[float] = FALSE_ALARMS,
    replicates: int | None = None,
) -> Membership:
    """How well the scores tell members from non-members: each of n members is compared with the n·m scores of non-members.

    The AUC is the chance that a member's score is the higher one, ties counting half: range [0, 1], 0.5 is guessing, 1 tells
    everybody. Hits: the share of members above a threshold that at most 5 % (1 %) of the non-members are above: range [0, 1],
    guessing gives the share itself; None where fewer than 100 (500) subjects were drawn. `false_alarms` are other such shares.

    Intervals draw subjects anew, and are widened by √(1 + share): what subject i does to the score of i' is about what i' does
    to that of i, so that where both are drawn, their scores go together.
    """
    n, m = scores.members.shape
    whose = np.tile(np.repeat(np.arange(n, dtype=np.uint64), m), 2)
    ranked = Ranked.of(
        np.concatenate([scores.members.ravel(), scores.nonmembers.ravel()]), np.arange(2 * n * m) < n * m
    )

    def hits(share: float) -> Estimate | None:
        if n < fewest_for(share):
            return None
        return estimated(lambda weights: ranked.tpr(weights, fpr=share))

    def estimated(figure: Callable[[Floats], float]) -> Estimate:
        found = bootstrap(figure, whose, replicates=replicates or REPLICATES, doubt=doubt)
        return replace(_widened(found, float(np.sqrt(1 + scores.share))), n=n)

    return Membership(auc=estimated(ranked.auc), hits={share: hits(share) for share in false_alarms})


def fewest_for(share: float) -> int:
    """The number of subjects from which on the rate of hits at this rate of false alarms is told."""
    return round(_FEWEST_ALARMS / share)


def excludes_guessing(auc: Estimate) -> bool:
    """Whether an AUC's interval leaves out 0.5, on either side: also who scores too low is told."""
    return not auc.low <= BASELINE <= auc.high


def find(
    before: Mapping[str, Scores], after: Mapping[str, Scores], *, compared: int, equal: int
) -> tuple[Finding, str]:
    """What an audit found, as one of four words and in a sentence. `equal` of `compared` retrained constituents are exact.

    Scores are by the attack's name. All AUCs after the erasure are judged together at 95 % (Bonferroni), so that of 20 audits
    of exact erasures about one is in doubt.
    """
    told_before = {name: auc for name, auc in _judged(before).items() if auc.low > BASELINE}
    told_after = {name: auc for name, auc in _judged(after).items() if excludes_guessing(auc)}
    exact = f"{equal} of {compared} compared constituents equal those trained from scratch without the subject"
    if equal < compared:
        return "not forgotten", f"Only {exact}. After the erasure, {_said(told_after)}."
    if told_after:
        return "doubtful", (
            f"After the erasure, {_said(told_after)}, although {exact}. One in 20 audits of exact erasures looks so by "
            "chance: ask again with another seed."
        )
    if told_before:
        return "forgotten", f"Before the erasure, {_said(told_before)}; after it, none does. {exact}."
    return "nothing to tell", f"Even before the erasure, no attack tells the subjects. {exact}."


def _judged(scores: Mapping[str, Scores]) -> dict[str, Estimate]:
    return {name: membership(s, doubt=DOUBT / len(scores)).auc for name, s in scores.items()}


def _said(told: Mapping[str, Estimate]) -> str:
    if not told:
        return "no attack tells the subjects"
    return "the subjects are told by " + ", ".join(f"{name} (AUC {auc.value:.3f})" for name, auc in told.items())


def _widened(found: Estimate, times: float) -> Estimate:
    """The estimate with so many times the distance to either end of its interval, inside [0, 1]."""
    low, high = (found.value + times * (end - found.value) for end in (found.low, found.high))
    return replace(found, low=max(low, 0.0), high=min(high, 1.0))


def _left_out(references: Floats) -> Floats:
    """The references [m] without the j-th, in row j: [m, m - 1]."""
    m = len(references)
    return np.broadcast_to(references, (m, m))[~np.eye(m, dtype=bool)].reshape(m, m - 1)


def _offline_mean(siblings: Floats) -> Floats:
    """p of rows [k, m], in column j by all siblings but j: halfway between the mean of who never saw the row and of who did."""
    out = (siblings.sum(axis=1, keepdims=True) - siblings) / (siblings.shape[1] - 1)
    return np.asarray(np.maximum(((1 + OFFLINE_A) * out + 1 - OFFLINE_A) / 2, _LEAST))


def _share_outdone(x: Floats, z: Floats) -> Floats:
    """Per column of ratios [k, m] and [Z, m], the share of pairs in which x is at least γ times z."""
    ordered = np.sort(GAMMA * z, axis=0)
    shares = [np.searchsorted(ordered[:, j], x[:, j], side="right").mean() / len(z) for j in range(x.shape[1])]
    return np.array(shares)
