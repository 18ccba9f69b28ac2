"""Guessing coins: the bound holds for what is private, comes close where it can, and refutes what is not."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from workbench.metrics.canaries import Counted, count_scores, distance_scores, epsilon_bound, rare_rows


def bound_of(right, guesses, *, delta=0.0, canaries=None):
    """The bound from exactly so many right guesses, out of twice as many canaries."""
    canaries = canaries or 2 * guesses
    order = np.arange(canaries)
    truth = order >= canaries // 2
    wrong = guesses - right
    coins = truth.copy()
    coins[-1 : -1 - wrong : -1] = False
    return epsilon_bound(order.astype(float), coins, delta=delta)


@pytest.mark.parametrize(("right", "guesses"), [(50, 50), (48, 50), (40, 50), (250, 250), (180, 250), (125, 250)])
def test_the_bound_is_the_epsilon_at_which_so_many_are_just_unlikely(right, guesses):
    """Pure DP: no fit lets anyone guess better than randomised response (Steinke, Nasr & Jagielski 2023, Thm. 5.2)."""
    bound = bound_of(right, guesses)
    assert bound.n == guesses
    chance = binom.sf(right - 1, guesses, 1 / (1 + math.exp(-bound.low)))
    assert bound.low == 0 or chance == pytest.approx(0.025, rel=1e-3)
    assert bound.low > 0 or chance > 0.025
    assert bound.low <= bound.value <= bound.high < math.inf


def test_a_delta_can_only_lower_the_bound():
    bounds = [bound_of(245, 250, delta=delta).low for delta in (0, 1e-7, 1e-5, 1e-3)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[1] == pytest.approx(bounds[0], abs=0.01)
    assert bounds[3] < bounds[0] - 0.3


def test_a_delta_pays_for_answers_told_outright():
    """A fit that tells all coins with probability delta, and nothing else, must not be refuted oftener than that allows."""
    m, delta = 100, 0.004
    rng = np.random.default_rng(0)
    refuted = 0
    for _ in range(200):
        coins = rng.random(m) < 0.5
        told = rng.random() < m * delta  # at most delta for each canary
        scores = np.where(coins, 1.0, -1.0) if told else rng.normal(size=m)
        refuted += epsilon_bound(scores, coins, delta=delta).low > 0
    assert refuted / 200 < 0.025 + 0.025  # for a private fit, however it fails


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0])
def test_randomised_response_is_bounded_truly_and_closely(epsilon):
    rng = np.random.default_rng(1)
    bounds = []
    for _ in range(120):
        coins = rng.random(1000) < 0.5
        kept = rng.random(1000) < 1 / (1 + math.exp(-epsilon))
        bounds.append(epsilon_bound(np.where(coins == kept, 1.0, -1.0) + rng.random(1000), coins, delta=0.0))
    assert np.mean([bound.low > epsilon for bound in bounds]) < 0.025 + 0.02
    assert np.median([bound.low for bound in bounds]) > 0.6 * epsilon - 0.1
    assert np.mean([bound.low <= epsilon <= bound.high for bound in bounds]) > 0.9


def test_canaries_differ_and_lie_in_the_domain():
    sizes = (3, 2, 40)
    for n in (10, 100, 240):
        rows = rare_rows(sizes, n, rng=np.random.default_rng(2))
        assert rows.shape == (n, 3)
        assert len(set(map(tuple, rows.tolist()))) == n
        assert (rows >= 0).all()
        assert (rows < sizes).all()
    assert len(rare_rows(sizes, 500, rng=np.random.default_rng(2))) == 240
    assert len(rare_rows((1000,) * 12, 50, rng=np.random.default_rng(2))) == 50


def test_counts_tell_canaries_that_share_cells_apart():
    """Two tables without noise: each canary shares its cell in either with others, yet the cells together decide."""
    rng = np.random.default_rng(3)
    codes = rare_rows((8, 8, 8), 40, rng=rng)
    coins = rng.random(40) < 0.5
    marginals = []
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        cells = codes[:, a] * 8 + codes[:, b]
        without = rng.integers(0, 50, 64).astype(float)
        values = without + 2 * np.bincount(cells[coins], minlength=64)
        marginals.append(Counted(values=values, without=without, cells=cells, sigma=0.05))
    scores = count_scores(marginals, rows_each=2)
    assert scores[coins].min() > scores[~coins].max()


def test_what_lies_nearer_to_a_synthetic_row_scores_higher():
    synthetic = np.array([[0.0, 0.0], [1.0, 1.0]])
    scores = distance_scores(np.array([[0.1, 0.0], [0.5, 0.5], [1.0, 1.0]]), synthetic)
    np.testing.assert_allclose(scores, [-0.1, -1.0, 0.0])
