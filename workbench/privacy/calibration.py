"""From a promise (epsilon, delta) to a zCDP budget and back, by the accountant that the ledger uses too."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.privacy.accounting import dpa, rdp
from workbench.privacy.events import ApproximateDpEvent, split_failure

# Rényi orders at which every event is priced. The best order for rho-zCDP is near 1 + sqrt(log(1/delta) / rho): tenths
# to 11 serve large epsilons, integers to 64 the usual ones, steps of 15 % to 4,237 those down to about 0.005. The gaps
# lose under 0.3 % of epsilon; more large orders would make subsampled events slow to price (now 0.3 s; time is their
# sum).
ORDERS: tuple[float, ...] = (
    *(i / 10 for i in range(11, 110)),
    *(float(i) for i in range(11, 64)),
    *(float(round(64 * 1.15**i)) for i in range(31)),
)

# The library warns where the price of a sampled event does not converge at an order: `divergences` takes a higher order.
logging.getLogger("absl").addFilter(lambda record: "Excluding this order" not in str(record.msg))


def divergences(event: dpa.DpEvent, orders: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the Rényi divergence of an event at each order, under adding or removing one subject.

    The library answers infinity where its sum for a sampled Gaussian does not converge, at small fractional orders. Divergences
    do not fall with the order, so such an order gets the value of the next higher one of ORDERS that has a finite one.
    """
    known = dict(zip(orders, _divergences(event, orders), strict=True))
    for order in sorted((order for order, value in known.items() if math.isinf(value)), reverse=True):
        for higher in (one for one in ORDERS if one > order):
            if higher not in known:
                known[higher] = _divergences(event, (higher,))[0]
            if math.isfinite(known[higher]):
                known[order] = known[higher]
                break
    return np.array([known[order] for order in orders])


def _divergences(event: dpa.DpEvent, orders: Sequence[float]) -> Sequence[float]:
    """Add up the divergences of the parts, in the library's order and so to its very bits."""
    total = np.zeros(len(orders))
    for part, count in _parts(event, 1):
        if isinstance(part, dpa.PoissonSampledDpEvent) and isinstance(part.event, dpa.GaussianDpEvent):
            total += count * _sampled_gaussian(part, tuple(orders))
        else:
            total += rdp.RdpAccountant(orders, dpa.NeighboringRelation.ADD_OR_REMOVE_ONE).compose(part, count).rdp
    found: Sequence[float] = total.tolist()
    return found


def _parts(event: dpa.DpEvent, count: int) -> Iterator[tuple[dpa.DpEvent, int]]:
    """Yield what an event is composed of, each part with how often it happens."""
    if isinstance(event, dpa.SelfComposedDpEvent):
        yield from _parts(event.event, event.count * count)
    elif isinstance(event, dpa.ComposedDpEvent):
        for part in event.events:
            yield from _parts(part, count)
    else:
        yield event, count


@lru_cache(maxsize=1024)
def _sampled_gaussian(event: dpa.PoissonSampledDpEvent, orders: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the divergences of one step: they take 0.3 s at ORDERS, and every report of a training prices the same one."""
    found: npt.NDArray[np.float64] = (
        rdp.RdpAccountant(orders, dpa.NeighboringRelation.ADD_OR_REMOVE_ONE).compose(event).rdp
    )
    found.setflags(write=False)
    return found


def epsilon_of(event: dpa.DpEvent, delta: float, *, orders: Sequence[float] = ORDERS) -> float:
    """What `event` costs at `delta` under adding or removing one subject; infinite for a non-private event.

    Raises InputError where delta is not strictly between 0 and 1.
    """
    _require_delta(delta)
    rest, failure = split_failure(event)
    if failure >= delta:
        return math.inf
    return float(rdp.compute_epsilon(orders, divergences(rest, orders), delta - failure)[0])


@lru_cache(maxsize=1024)
def filter_order(epsilon: float, delta: float) -> float:
    """Return the one Rényi order at which a budget is kept: the best one for a zCDP mechanism that spends all of it.

    It depends on the budget alone, never on what was charged: that makes the ledger's filter sound for adaptive choices. A
    mechanism that is calibrated at this order costs the filter of an equal budget no more than epsilon.
    """
    whole = rdp.RdpAccountant(ORDERS, dpa.NeighboringRelation.ADD_OR_REMOVE_ONE).compose(
        dpa.ZCDpEvent(zcdp_rho(epsilon, delta))
    )
    return float(whole.get_epsilon_and_optimal_order(delta)[1])


@lru_cache(maxsize=1024)
def zcdp_rho(epsilon: float, delta: float, *, failure: float = 0.0) -> float:
    """The largest rho (to 12 digits) for which rho-zCDP costs at most `epsilon` at `delta`.

    A mechanism that may also fail with probability `failure` is priced at the filter's order: the rest of delta has another
    best one. Guarantee: epsilon_of(ZCDpEvent(rho), delta - failure) <= epsilon. Conversion by Canonne, Kamath & Steinke 2020,
    Prop. 12. Raises InputError where epsilon is not positive and finite, or delta is not strictly between 0 and 1.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise InputError(
            f"epsilon must be positive and finite, found {epsilon}", hint="usual values lie between 0.1 and 10"
        )
    _require_delta(delta)
    orders = (filter_order(epsilon, delta),) if failure else ORDERS

    def is_affordable(rho: float) -> bool:
        return epsilon_of(ApproximateDpEvent(dpa.ZCDpEvent(rho), failure), delta, orders=orders) <= epsilon

    # rho = epsilon + 1 is too much for any usual delta; doubling covers the rest.
    affordable, excessive = 0.0, epsilon + 1
    while is_affordable(excessive):
        affordable, excessive = excessive, 2 * excessive
    while excessive - affordable > 1e-12 * excessive:
        middle = (affordable + excessive) / 2
        if is_affordable(middle):
            affordable = middle
        else:
            excessive = middle
    return affordable


def least_noise(event_of: Callable[[float], dpa.DpEvent], epsilon: float, delta: float) -> float:
    """Return the least noise multiplier (to 0.1 %) with which `event_of` costs the filter at most `epsilon` at `delta`.

    It is priced at the order of the ledger's filter, so that a fit of a whole budget is admitted: sampled events have another
    best order.
    """
    orders = (filter_order(epsilon, delta),)

    def is_enough(noise: float) -> bool:
        return epsilon_of(event_of(noise), delta, orders=orders) <= epsilon

    enough = 1.0
    while not is_enough(enough):
        enough *= 2
    short = enough / 2 if enough > 1 else 0.0
    while enough - short > 1e-3 * enough:
        middle = (short + enough) / 2
        if is_enough(middle):
            enough = middle
        else:
            short = middle
    return enough


def _require_delta(delta: float) -> None:
    if not (np.isfinite(delta) and 0 < delta < 1):
        raise InputError(
            f"delta must lie strictly between 0 and 1, found {delta}",
            hint="usual values are well under one over the number of subjects, for example 1e-6",
        )
