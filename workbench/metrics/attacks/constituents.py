"""Membership inference on single constituents, by whoever sees what each of them says: the siblings are reference models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from workbench.metrics.attacks._tools.answers import Answers, Asked, Floats, Shards, checked
from workbench.metrics.attacks._tools.membership_scores import ALARMS, Scored, curve, definitions, exactly
from workbench.metrics.forgetting import (
    BASELINE,
    FEWEST_SIBLINGS,
    Scores,
    fewest_for,
    lira,
    membership,
    rmia,
    together,
)
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec

SUBJECTS, POPULATION = 5_000, 1_000  # the fewest for a rate at 0.1 % false alarms
MOST_SIBLINGS = 64  # more would tell hardly more, and each one is judged by all the others, for every subject
_REPLICATES = 200

_LIRA = definitions(
    "mia_lira",
    "Membership inference on a constituent, likelihood ratio",
    formula="z-score of the own constituent's log-odds of the true label among those of at most "
    f"{MOST_SIBLINGS} siblings; controls: siblings in its place",
    source="Carlini et al. 2022, alg. 1 (offline)",
)
_RMIA = definitions(
    "mia_rmia",
    "Membership inference on a constituent, robust",
    formula=f"share of holdout rows whose ratio to at most {MOST_SIBLINGS} siblings the person's outdoes; controls: siblings "
    "in its place",
    source="Zarifzadeh et al. 2024, eqs. 2 and 3 (offline)",
)


def by_likelihood(answers: Answers) -> list[Measure]:
    """LiRA with at most 64 siblings for references, for 5,000 subjects; see `forgetting.lira` and `forgetting.membership`.

    Controls are the same people at constituents that never saw them. Raises NotComputableError below 4 constituents.
    """
    siblings = _siblings(answers)
    confidences = _of_subjects(answers, answers.confidences(answers.members), SUBJECTS)
    scores = [lira(rows[:, shard], rows[:, siblings(shard)]) for rows, shard in confidences]
    return _measures(_LIRA, answers, scores)


def by_robust_ratio(answers: Answers) -> list[Measure]:
    """RMIA with at most 64 siblings for references and 1,000 holdout rows, on at most 5,000 subjects; see `forgetting.rmia`.

    Controls are the same people at constituents that never saw them. Raises NotComputableError below 4 constituents, and of a
    regression.
    """
    siblings, rng = _siblings(answers), answers.rng("population")
    population = answers.probabilities(answers.holdout)
    population = population[rng.permutation(len(population))[:POPULATION]]
    scores = [
        rmia(
            rows[:, shard],
            rows[:, siblings(shard)],
            population[:, shard],
            population[:, siblings(shard)],
        )
        for rows, shard in _of_subjects(answers, answers.probabilities(answers.members), SUBJECTS)
    ]
    return _measures(_RMIA, answers, scores)


def _siblings(answers: Answers) -> Callable[[int], Shards]:
    """The siblings of a constituent that are asked: all, or 64 of those drawn, the same for everybody but for the own one."""
    checked(answers)
    if answers.n_constituents - 1 < FEWEST_SIBLINGS:
        raise NotComputableError(f"not computable because it needs {FEWEST_SIBLINGS + 1} constituents")
    many = min(MOST_SIBLINGS, answers.n_constituents - 1)
    drawn = answers.rng("siblings").permutation(answers.n_constituents)[: many + 1]
    return lambda shard: drawn[drawn != shard][:many]


def _of_subjects(answers: Answers, figures: Floats, most: int) -> list[tuple[Floats, int]]:
    """The figures [k, S] of each subject's rows and its shard, of at most so many subjects drawn."""
    asked: Asked = answers.members
    order = np.argsort(asked.points, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(asked.points[order]) != 0])
    each = np.split(order, starts[1:])
    chosen = answers.rng("subjects").permutation(len(each))[:most]
    return [(figures[each[i]], int(answers.shards[each[i][0]])) for i in chosen]


def _measures(of: Sequence[Definition], answers: Answers, scores: Sequence[Scores]) -> list[Measure]:
    """The measures of `definitions`, with the intervals of `forgetting.membership`: over subjects, siblings kept together."""
    everybody = together(scores, share=min(1.0, len(scores) / answers.taught))
    found = membership(everybody, false_alarms=ALARMS, replicates=_REPLICATES)
    auc_is, *hits_are = of
    drawn = curve(Scored(members=everybody.members.ravel(), controls=everybody.nonmembers.ravel()))
    measures = [Measure(definition=auc_is, estimate=found.auc, baseline=exactly(BASELINE, len(scores)), curve=drawn)]
    for definition, share in zip(hits_are, ALARMS, strict=True):
        hits = Measure(definition=definition, estimate=found.hits[share], baseline=exactly(share, len(scores)))
        if hits.estimate is None:
            why = (
                f"not computable because a rate at {100 * share:g} % false alarms needs {fewest_for(share):,} subjects"
            )
            hits = replace(hits, baseline=None, reason=why)
        measures.append(hits)
    return measures


LIRA: Metric[Answers] = Metric(title="membership by LiRA", definitions=_LIRA, compute=by_likelihood)
RMIA: Metric[Answers] = Metric(title="membership by RMIA", definitions=_RMIA, compute=by_robust_ratio)

SPECS = (
    AttackSpec(name="lira", on="ensemble", metrics=(LIRA,), rank=13),
    AttackSpec(name="rmia", on="ensemble", metrics=(RMIA,), rank=14),
)
