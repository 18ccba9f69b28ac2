"""Attacks that succeed or fail, one trial per subject: rates with intervals, and what is left beside the control group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import AttackSplit
from workbench.metrics.attacks._tools.membership_scores import exactly
from workbench.metrics.estimate import DOUBT, Estimate
from workbench.metrics.measure import Definition, Measure, NotComputableError
from workbench.schema.codec import Values

Hits = npt.NDArray[np.bool_]
Attack = Callable[[Values, Dataset], Hits]

STAND_IN = "the same attack with a part of the holdout for the release: real rows, nobody under attack among them"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Which trials succeeded: against members, against controls, and against members without the release."""

    members: Hits
    controls: Hits
    naive: Hits


def definitions(name: str, title: str, *, success: str, naive: str, source: str) -> tuple[Definition, ...]:
    """The risk and the rate of one attack."""
    risk_is = Definition(
        name=f"disclosure/{name}_risk",
        title=f"{title}: risk",
        formula=f"(p - q) / (1 - q), p and q the shares of members and of controls with success: {success}",
        range=(float("-inf"), 1.0),
        better="lower",
        source=f"{source}; interval: Wilson 1927, combined as Newcombe 1998 and Zou & Donner 2008 do",
        baseline="nothing is told of members that is not told of controls",
        ceiling=STAND_IN,
        note="controls are told what the population tells; the risk is what membership adds",
    )
    rate_is = Definition(
        name=f"disclosure/{name}_rate",
        title=f"{title}: rate of success",
        formula=f"share of members with success: {success}",
        range=(0.0, 1.0),
        better="lower",
        source=f"{source}; interval: Wilson 1927",
        baseline=naive,
        ceiling="the same attack on controls: what the population tells",
    )
    return risk_is, rate_is


def rated(of: Sequence[Definition], outcome: Outcome, stand_in: Outcome) -> list[Measure]:
    """The measures of `definitions`; the risk has none where every control is told already.

    Without trials against members it raises NotComputableError; without naive ones or any on the stand-in there is no baseline
    or no ceiling.
    """
    main, control = share(outcome.members), share(outcome.controls)
    naive = share(outcome.naive) if len(outcome.naive) else None
    risk_is, rate_is = of
    rate = Measure(definition=rate_is, estimate=main, baseline=naive, ceiling=control)
    if control.value == 1:
        return [Measure(definition=risk_is, reason="not computable because it succeeds with every control"), rate]
    ceiling = None
    if not stand_in.controls.all():  # of none it is true
        ceiling = risk(share(stand_in.members), share(stand_in.controls))
    return [
        Measure(definition=risk_is, estimate=risk(main, control), baseline=exactly(0.0, main.n), ceiling=ceiling),
        rate,
    ]


def attempted(found: AttackSplit, attack: Attack, naive: Attack) -> tuple[Outcome, Outcome]:
    """What an attack does with the release, and with the stand-in for it."""

    def outcome(release: Values) -> Outcome:
        members, controls = found.members, found.controls
        return Outcome(
            members=attack(release, members), controls=attack(release, controls), naive=naive(release, members)
        )

    return outcome(found.synthetic), outcome(found.stand_in.values)


def share(hits: Hits) -> Estimate:
    """The share of successes with Wilson's interval; raises NotComputableError where nothing was tried."""
    if not len(hits):
        raise NotComputableError("not computable because there is nothing to try")
    return wilson(int(hits.sum()), len(hits))


def wilson(successes: int, n: int, *, doubt: float = DOUBT) -> Estimate:
    """A share with its score interval: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) (Wilson 1927)."""
    p, z = successes / n, float(norm.isf(doubt))
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + end) / (1 + z * z / n) for end in (-half, half))
    return Estimate(value=p, low=0.0 if successes == 0 else low, high=1.0 if successes == n else high, n=n)


def risk(main: Estimate, control: Estimate) -> Estimate:
    """(p - q) / (1 - q) (Giomi et al. 2023), at most 1; below 0 where controls are told more often.

    Either end lies as far off as moving p alone and q alone to the ends of their intervals does, both taken together as the
    legs of a right triangle (Newcombe 1998; Zou & Donner 2008). Raises NotComputableError where q is 1.
    """
    if control.value == 1:
        raise NotComputableError("not computable because it succeeds with every control")

    def added(p: float, q: float) -> float:
        return (p - q) / (1 - q)

    value = added(main.value, control.value)
    down = np.hypot(value - added(main.low, control.value), value - added(main.value, control.high))
    up = np.hypot(added(main.high, control.value) - value, added(main.value, control.low) - value)
    return Estimate(value=value, low=value - float(down), high=min(1.0, value + float(up)), n=main.n + control.n)
