"""A test-time auditor: how private a mechanism can at most be, seen from many runs on two neighbouring tables.

What a run shows is a `View`: the log-likelihood ratio of its noisy counts, known in closed form because the auditor knows
both tables, and its discrete outcomes (what was chosen, which cells there are). The first runs of either table teach the
auditor how to weigh the discrete outcomes and where to draw the line between the tables; the bound comes from the others,
so it holds at the stated confidence whatever the first ones taught (Nasr et al. 2023, sec. 3; Annamalai et al. 2024).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from dp_accounting import DpEvent, NeighboringRelation
from dp_accounting.rdp import RdpAccountant
from scipy.stats import beta, norm

from workbench.privacy.calibration import ORDERS

ALPHA = 1e-6
_ORDERS = np.concatenate([np.linspace(1.01, 4, 60), np.geomspace(4, 500, 60)])


@dataclass(frozen=True)
class View:
    """What one run shows: the log-likelihood ratio of its noisy counts, and its discrete outcomes by place."""

    ratio: float
    outcomes: tuple[Hashable, ...]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """An attack's rate of hits is at least `hits` while that of false alarms is at most `alarms`, at confidence 1 - ALPHA.

    From that follows what the mechanism can at best be.
    """

    hits: float
    alarms: float

    @property
    def rho(self) -> float:
        """No zCDP mechanism of less rho can do that.

        Data processing of the Rényi divergence, D_a(p, q) <= a rho for every order a > 1, in both directions (Bun &
        Steinke 2016, Def. 1.1 and Lemma 2.2).
        """
        return float((self.divergences(_ORDERS) / _ORDERS).max())

    def share_of(self, event: DpEvent) -> float:
        """The most of any price, by Rényi order, at which the ledger's accountant takes `event`: above 1 it is refuted.

        Data processing again, of an event that is no zCDP (Mironov 2017).
        """
        accountant = RdpAccountant(ORDERS, NeighboringRelation.ADD_OR_REMOVE_ONE).compose(event)
        return float((self.divergences(np.array(accountant._orders)) / accountant._rdp).max())

    def divergences(self, orders: np.ndarray) -> np.ndarray:
        """No mechanism whose outcomes on the two tables diverge less, at some order, can do that."""
        if self.hits <= self.alarms:
            return np.zeros(len(orders))
        return np.maximum(_renyi(self.hits, self.alarms, orders), _renyi(self.alarms, self.hits, orders))

    @property
    def mu(self) -> float:
        """No Gaussian mechanism of less mu can (Dong, Roth & Su 2022, Def. 2.6): tight where all noise is Gaussian."""
        return max(0.0, float(norm.ppf(self.hits) - norm.ppf(self.alarms)))

    def epsilon(self, delta: float) -> float:
        """No (epsilon, delta)-DP mechanism of less epsilon can (Kairouz, Oh & Viswanath 2015, Thm. 2.1)."""
        sides = (self.hits, self.alarms), (1 - self.alarms, 1 - self.hits)
        return max(0.0, *(math.log((p - delta) / q) for p, q in sides if p > delta))


def audit(observe: Callable[[bool], View], *, runs: int, pilot: float = 0.25) -> Bound:
    """The bound from `runs` runs on either table; `observe(True)` runs on the larger one."""
    larger, smaller = ([observe(which) for _ in range(runs)] for which in (True, False))
    learn = round(pilot * runs)
    weigh = _weights(larger[:learn], smaller[:learn])
    scores = [np.array([weigh(view) for view in views]) for views in (larger, smaller)]
    line = _line(*(s[:learn] for s in scores), left=runs - learn)
    hits, alarms = (int((s[learn:] >= line).sum()) for s in scores)
    return _bound(hits, alarms, runs - learn)


def _weights(larger: Sequence[View], smaller: Sequence[View]) -> Callable[[View], float]:
    """The ratio of counts plus, place by place, that of the outcomes' frequencies (naive Bayes, add one half).

    An outcome whose frequencies differ by less than two and a half standard errors counts as equally frequent.
    """
    seen = [Counter(place for view in views for place in enumerate(view.outcomes)) for views in (larger, smaller)]
    weights: dict[Hashable, float] = {}
    for place in seen[0] | seen[1]:
        times = [counter[place] + 0.5 for counter in seen]
        ratio = math.log(times[0] / times[1])
        if abs(ratio) > 2.5 * math.sqrt(1 / times[0] + 1 / times[1]):
            weights[place] = ratio
    return lambda view: view.ratio + sum(weights.get(place, 0.0) for place in enumerate(view.outcomes))


def _line(larger: np.ndarray, smaller: np.ndarray, *, left: int) -> float:
    """The threshold that would bound best if the other `left` runs were like these; of few, so that it is not by luck."""
    lines = np.quantile(np.concatenate([larger, smaller]), np.linspace(0.1, 0.9, 17))
    shares = [[float((s >= line).mean()) for s in (larger, smaller)] for line in lines]
    bounds = [_bound(round(hits * left), round(alarms * left), left).mu for hits, alarms in shares]
    return float(lines[int(np.argmax(bounds))])


def _bound(hits: int, alarms: int, runs: int) -> Bound:
    """Clopper & Pearson 1934 for both rates, at ALPHA / 2 each."""
    return Bound(
        hits=float(beta.ppf(ALPHA / 2, hits, runs - hits + 1)) if hits else 0.0,
        alarms=float(beta.ppf(1 - ALPHA / 2, alarms + 1, runs - alarms)) if alarms < runs else 1.0,
    )


def _renyi(p: float, q: float, orders: np.ndarray) -> np.ndarray:
    """The divergence, by order, of two coins with chances p and q."""
    heads = orders * math.log(p) + (1 - orders) * math.log(q)
    tails = orders * math.log1p(-p) + (1 - orders) * math.log1p(-q)
    return np.logaddexp(heads, tails) / (orders - 1)
