"""Reconstruction of an erased row from a linear model's parameters before and after, exact for ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.metrics.attacks._tools.membership_scores import Floats, exactly
from workbench.metrics.attacks._tools.rates import share
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError

_DEFINITION = Definition(
    name="disclosure/reconstruction",
    title="Reconstruction of the erased row",
    formula="share of erasures after which the reconstructed row is nearer (L2) to the erased row than to any public one",
    range=(0.0, 1.0),
    better="lower",
    source="Bertran et al. 2024 (linear regression); interval: Wilson 1927",
    baseline="random guessing among the erased row and the public ones",
    note="ridge regression, the versions before and after a single erasure; other learners are attacked by differencing",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Erased:
    """An erasure: parameters `before` and `after` [p], the intercept's first, and the `row` [p] that went, with 1 for it."""

    before: Floats
    after: Floats
    row: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Erasures:
    """Erasures of one row each from ridge models, with `public` rows [m, p] of the same population; `taught` rows learnt."""

    trials: Sequence[Erased]
    public: Floats
    taught: int
    ridge: float


def reconstructed(before: Floats, after: Floats, gram: Floats) -> Floats:
    """The row [p] that was erased between two ridge models, up to the error of `gram`, an estimate of X'X + λI [p, p].

    By the normal equations A θ = b and (A - xx') θ' = b - yx we have A (θ' - θ) = (x'θ' - y) x: the product is a multiple of x,
    and x begins with 1. Exact where `gram` is that of the old version. Raises NotComputableError where nothing changed.
    """
    direction = gram @ (after - before)
    if not np.abs(direction[0]) > 0:
        raise NotComputableError("not computable because the parameters did not change")
    return np.asarray(direction / direction[0])


def reconstruct(erasures: Erasures) -> list[Measure]:
    """How often the erased row is the nearest to what is reconstructed, by who knows public rows instead of X'X."""
    public = erasures.public
    if len(public) <= public.shape[1] or not erasures.trials:
        raise NotComputableError("not computable because it needs an erasure, and more public rows than columns")
    gram = public.T @ public * (erasures.taught / len(public)) + erasures.ridge * np.eye(public.shape[1])
    hits = np.array([_hit(trial, gram, public) for trial in erasures.trials])
    return [Measure(definition=_DEFINITION, estimate=share(hits), baseline=exactly(1 / (len(public) + 1), len(hits)))]


def _hit(trial: Erased, gram: Floats, public: Floats) -> bool:
    if np.array_equal(trial.before, trial.after):
        return False
    row = reconstructed(trial.before, trial.after, gram)
    return bool(np.linalg.norm(trial.row - row) < np.linalg.norm(public - row, axis=1).min())


RECONSTRUCTION: Metric[Erasures] = Metric(
    title="reconstruction of erased rows", definitions=(_DEFINITION,), compute=reconstruct
)
