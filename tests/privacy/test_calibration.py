"""Calibration against an independent computation of the zCDP conversion in high precision."""

import math
from itertools import pairwise

import numpy as np
import pytest
from dp_accounting import (
    ComposedDpEvent,
    GaussianDpEvent,
    NeighboringRelation,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    ZCDpEvent,
)
from dp_accounting.rdp import RdpAccountant
from mpmath import diff, exp, findroot, log, mp, mpf, sqrt

from workbench.errors import InputError
from workbench.privacy.calibration import ORDERS, divergences, epsilon_of, zcdp_rho

BUDGETS = [(0.1, 1e-6), (0.5, 1e-5), (1.0, 1e-5), (1.0, 1e-9), (3.0, 1e-5), (8.0, 1e-6), (20.0, 1e-3)]


def exact_delta(rho, epsilon):
    """The least delta for which rho-zCDP implies (epsilon, delta)-DP: Canonne, Kamath & Steinke 2020, Cor. 13."""

    def log_delta(a):
        return (a - 1) * (a * rho - epsilon) + (a - 1) * log(1 - 1 / a) - log(a)

    guess = 1 + (epsilon - rho) / (2 * rho) + mpf("0.5")
    return exp(log_delta(findroot(lambda a: diff(log_delta, a), guess)))


def exact_rho(epsilon, delta):
    mp.dps = 30
    low, high = mpf(0), mpf(epsilon)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if exact_delta(middle, mpf(epsilon)) <= delta else (low, middle)
    return float(low)


@pytest.mark.parametrize(("epsilon", "delta"), BUDGETS)
def test_rho_is_the_exact_one_to_one_percent_and_never_more(epsilon, delta):
    exact = exact_rho(epsilon, delta)
    assert exact * 0.99 < zcdp_rho(epsilon, delta) <= exact * (1 + 1e-9)


@pytest.mark.parametrize(("epsilon", "delta"), [*BUDGETS, (0.01, 1e-7), (50.0, 0.6)])
def test_rho_costs_at_most_epsilon_and_is_the_largest(epsilon, delta):
    rho = zcdp_rho(epsilon, delta)
    assert epsilon_of(ZCDpEvent(rho), delta) <= epsilon
    assert epsilon_of(ZCDpEvent(rho * (1 + 1e-9)), delta) > epsilon


def test_rho_beats_the_simple_conversion():
    """epsilon = rho + 2 sqrt(rho log(1/delta)) (Bun & Steinke 2016, Prop. 1.3) is looser."""
    simple = (sqrt(1 + log(mpf(10) ** 5)) - sqrt(log(mpf(10) ** 5))) ** 2
    assert zcdp_rho(1.0, 1e-5) > float(simple)


def test_a_gaussian_costs_its_zcdp():
    assert epsilon_of(GaussianDpEvent(4.0), 1e-5) == pytest.approx(epsilon_of(ZCDpEvent(1 / 32), 1e-5))


def test_pieces_cost_what_the_whole_costs():
    pieces = ComposedDpEvent([ZCDpEvent(0.01), ZCDpEvent(0.02)])
    assert epsilon_of(pieces, 1e-5) == pytest.approx(epsilon_of(ZCDpEvent(0.03), 1e-5))


def test_nothing_costs_nothing_and_a_leak_costs_everything():
    assert epsilon_of(NoOpDpEvent(), 1e-5) == 0
    assert epsilon_of(NonPrivateDpEvent(), 1e-5) == math.inf


def test_an_order_without_a_price_has_the_price_of_the_next_higher_one():
    """Rényi divergences do not fall with the order; the library gives up on sampled Gaussians at small fractional ones."""
    first = ORDERS[:24]
    sampled = SelfComposedDpEvent(PoissonSampledDpEvent(0.5, GaussianDpEvent(0.6)), 40)
    bare = RdpAccountant(first, NeighboringRelation.ADD_OR_REMOVE_ONE).compose(sampled).rdp
    found = divergences(sampled, first)
    assert np.isinf(bare).any()
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert (found[np.isfinite(bare)] == bare[np.isfinite(bare)]).all()
    assert [divergences(sampled, (order,))[0] for order in first[:8]] == found[:8].tolist(), "also of one order alone"


def test_what_is_remembered_of_a_step_changes_no_bit():
    step = PoissonSampledDpEvent(0.1, GaussianDpEvent(0.8))
    whole = ComposedDpEvent(
        [ZCDpEvent(0.05), SelfComposedDpEvent(SelfComposedDpEvent(step, 3), 7), GaussianDpEvent(4.0)]
    )
    orders = [order for order in ORDERS if order.is_integer()]
    bare = RdpAccountant(orders, NeighboringRelation.ADD_OR_REMOVE_ONE).compose(whole).rdp.tolist()
    assert divergences(whole, orders).tolist() == divergences(whole, orders).tolist() == bare


def test_orders_rise_strictly_from_above_one():
    assert ORDERS[0] > 1
    assert all(a < b for a, b in pairwise(ORDERS))


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_impossible_epsilons_are_refused(epsilon):
    with pytest.raises(InputError, match="epsilon must be positive and finite"):
        zcdp_rho(epsilon, 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 2.0, math.nan, math.inf])
def test_impossible_deltas_are_refused(delta):
    with pytest.raises(InputError, match="delta must lie strictly between 0 and 1"):
        zcdp_rho(1.0, delta)
    with pytest.raises(InputError, match="delta must lie strictly between 0 and 1"):
        epsilon_of(ZCDpEvent(0.1), delta)
