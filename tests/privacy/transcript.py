"""Records what every private mechanism is given and answers, and gives the same answers to a run on a neighbouring table.

A run that learns of the rows through mechanisms alone asks the same questions when it gets the same answers, and ends with the
same result. What each question cost is computed here from what the two runs gave it, by formulas of our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import opendp.prelude as dp
import pytest
import torch
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping

from workbench.generators import dp_ctgan_networks
from workbench.privacy import schema_search as search
from workbench.sisa.learners import dp_sgd

Outcome = TypeVar("Outcome")
ORDERS = (1.01, 1.5, 2.0, 5.0, 20.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One use of a mechanism: the question, which holds nothing of the rows, what it was given of them, and its answer."""

    kind: str
    question: tuple[Any, ...]
    given: Any
    answer: Any


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one call tells apart of two inputs: rho (zCDP), a probability of failure, or a share of the clipping norm."""

    rho: float = 0.0
    failure: float = 0.0
    clipped: float = 0.0


def recorded(run: Callable[[], Outcome], coins: Coins | None = None) -> tuple[Outcome, list[Call]]:
    """What a run returns, and every call of a mechanism in it."""
    calls: list[Call] = []
    with _tapped(lambda kind, question, given, ask: _keep(calls, kind, question, given, ask()), coins):
        return run(), calls


def replayed(run: Callable[[], Outcome], calls: list[Call], coins: Coins | None = None) -> tuple[Outcome, list[Call]]:
    """What a run returns that gets the answers of `calls`, and its own calls; it must ask the same questions in order."""
    own: list[Call] = []

    def answer(kind: str, question: tuple[Any, ...], given: Any, _: Callable[[], Any]) -> Any:
        assert len(own) < len(calls), f"another path: a {kind} more"
        known = calls[len(own)]
        assert (kind, question) == (known.kind, known.question), f"another path at call {len(own)}"
        return _keep(own, kind, question, given, known.answer)

    with _tapped(answer, coins):
        outcome = run()
    assert len(own) == len(calls), "another path: it ends sooner"
    return outcome, own


def cost(one: Call, two: Call) -> Cost:
    """What the answer to one question tells apart of the two inputs that it was given."""
    if one.kind == "gaussian":
        (scale, _) = one.question
        return Cost(rho=float(((one.given - two.given) ** 2).sum()) / (2 * scale**2))
    if one.kind == "choose":
        (scale, _) = one.question
        return Cost(rho=_rho_of_choice(one.given / scale, two.given / scale))
    if one.kind == "threshold":
        scale, threshold = one.question
        return _cost_of_values(one.given, two.given, scale, threshold)
    clip = one.question[1]
    return Cost(clipped=float(np.linalg.norm(one.given - two.given)) / clip)


def discrete_tail(sigma: float, least: int) -> float:
    """P[X >= least] of the discrete Gaussian, summed term by term."""
    end = abs(least) + int(40 * sigma) + 2
    weights = np.exp(-(np.arange(-end, end + 1, dtype=float) ** 2) / (2 * sigma**2))
    return float(weights[end + least :].sum() / weights.sum())


@dataclass
class Coins:
    """Who is in each step's batch: one coin per step and person, the same in both tables; the person apart is always in.

    `people` is how many the larger table has, `apart` the place of the one whom the other lacks, `lacking` which this is.
    """

    people: int
    apart: int
    lacking: bool
    step: int = 0

    def toss(self, n: int, rate: float) -> npt.NDArray[np.int64]:
        assert n == self.people - self.lacking
        thrown = np.random.default_rng(self.step).random(self.people) < rate
        self.step += 1
        thrown[self.apart] = True
        return np.flatnonzero(np.delete(thrown, self.apart) if self.lacking else thrown)


def _keep(calls: list[Call], kind: str, question: tuple[Any, ...], given: Any, answer: Any) -> Any:
    calls.append(Call(kind=kind, question=question, given=given, answer=answer))
    return answer


def _rho_of_choice(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> float:
    """The largest Rényi divergence over its order of the two choices, in both directions."""
    p, q = (scores - scores.max() for scores in (u, v))
    p, q = (scores - math.log(np.exp(scores).sum()) for scores in (p, q))
    divergences = [
        np.logaddexp.reduce(order * a + (1 - order) * b) / (order - 1) / order
        for order in ORDERS
        for a, b in ((p, q), (q, p))
    ]
    return float(max(divergences))


def _cost_of_values(one: dict[str, int], two: dict[str, int], scale: float, threshold: int) -> Cost:
    both, alone = one.keys() & two.keys(), one.keys() ^ two.keys()
    rho = sum((one[name] - two[name]) ** 2 for name in both) / (2 * scale**2)
    kept = [math.log1p(-discrete_tail(scale, threshold - one.get(name, 0) - two.get(name, 0))) for name in alone]
    return Cost(rho=rho, failure=-math.expm1(sum(kept)))


Tap = Callable[[str, tuple[Any, ...], Any, Callable[[], Any]], Any]


@contextmanager
def _tapped(tap: Tap, coins: Coins | None) -> Iterator[None]:
    make_gaussian, make_noisy_max, common = dp.m.make_gaussian, dp.m.make_noisy_max, search.common_counts

    def gaussian(*space: Any, scale: float) -> Callable[[Any], Any]:
        mechanism = make_gaussian(*space, scale=scale)
        return lambda given: tap("gaussian", (scale, given.shape), given.copy(), lambda: mechanism(given))

    def noisy_max(*space: Any, scale: float) -> Callable[[Any], Any]:
        mechanism = make_noisy_max(*space, scale=scale)
        return lambda given: tap("choose", (scale, given.shape), given.copy(), lambda: mechanism(given))

    def values(counts: Any, *, sigma: float, threshold: int) -> Any:
        ask = lambda: common(counts, sigma=sigma, threshold=threshold)  # noqa: E731
        return tap("threshold", (sigma, threshold), dict(counts), ask)

    def noised(add_noise: Callable[[DPOptimizer], None]) -> Callable[[DPOptimizer], None]:
        def step(optimizer: DPOptimizer) -> None:
            given = torch.cat([p.summed_grad.flatten() for p in optimizer.params]).numpy().copy()
            question = (optimizer.noise_multiplier, optimizer.max_grad_norm, optimizer.expected_batch_size, given.shape)

            def ask() -> list[torch.Tensor]:
                add_noise(optimizer)
                return [p.grad.clone() for p in optimizer.params]

            answer = tap("step", question, given, ask)
            for p, noisy in zip(optimizer.params, answer, strict=True):
                p.grad = noisy.clone()
                p.summed_grad._processed = True

        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp.m, "make_gaussian", gaussian)
        patch.setattr(dp.m, "make_noisy_max", noisy_max)
        patch.setattr(search, "common_counts", values)
        for optimizer in (DPOptimizer, DPOptimizerFastGradientClipping):
            patch.setattr(optimizer, "add_noise", noised(optimizer.add_noise))
        if coins is not None:
            public = iter(range(10**6))  # what is public chance is the same in both runs
            patch.setattr(dp_ctgan_networks.secrets, "randbits", lambda _: next(public))
            for module in (dp_ctgan_networks, dp_sgd):
                patch.setattr(module, "stir", lambda generator: generator.manual_seed(next(public)))
                patch.setattr(module, "poisson_sample", coins.toss)
        yield
