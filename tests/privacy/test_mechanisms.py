"""The noise is OpenDP's, costs what is charged for it, and has the distribution that the accounting assumes."""

import math

import numpy as np
import opendp.prelude as dp
import pytest

from workbench.errors import InputError
from workbench.privacy.mechanisms import (
    choose,
    common_counts,
    gaussian_counts,
    gaussian_sigma,
    selection_epsilon,
    threshold_for,
)

RHOS = [1e-6, 0.0003, 0.0076, 0.1, 0.5, 7.3]


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("sensitivity", [1, 3, 22])
def test_opendp_maps_the_gaussian_to_at_most_the_rho_charged(rho, sensitivity):
    sigma = gaussian_sigma(rho=rho, sensitivity=sensitivity)
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    price = dp.m.make_gaussian(*space, scale=sigma).map(float(sensitivity))
    assert rho * (1 - 1e-9) < price <= rho


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("sensitivity", [1, 3, 1024 * 22])
def test_opendp_maps_the_choice_to_at_most_the_rho_charged(rho, sensitivity, monkeypatch):
    prices = []
    make = dp.m.make_noisy_max

    def spy(*space, scale):
        mechanism = make(*space, scale=scale)
        prices.append(mechanism.map(sensitivity))
        return mechanism

    monkeypatch.setattr(dp.m, "make_noisy_max", spy)
    epsilon = selection_epsilon(rho=rho)
    choose(np.array([3, 1, 2]), epsilon=epsilon, sensitivity=sensitivity)
    assert rho * (1 - 1e-9) < prices[0] <= rho
    assert epsilon**2 / 8 == pytest.approx(rho)


def test_gaussian_noise_is_the_discrete_gaussian():
    """Frequencies against exp(-x^2 / (2 sigma^2)) on the integers (Canonne, Kamath & Steinke 2020, Def. 1)."""
    sigma, n = 1.3, 20_000
    noise = gaussian_counts(np.zeros(n, dtype=np.int64), sigma=sigma)
    support = np.arange(-12, 13)
    weights = np.exp(-(support**2) / (2 * sigma**2))
    expected = n * weights / weights.sum()
    common = expected > 20
    observed = np.array([(noise == x).sum() for x in support])
    chi_square = ((observed - expected)[common] ** 2 / expected[common]).sum()
    assert chi_square < 40  # 9 cells: p < 1e-5


def test_gaussian_counts_keep_shape_and_type():
    counts = np.arange(12, dtype=np.int64).reshape(3, 4).T
    noisy = gaussian_counts(counts, sigma=1e-3)
    assert noisy.dtype == np.int64
    np.testing.assert_array_equal(noisy, counts)
    assert gaussian_counts(np.zeros((0, 3), dtype=np.int64), sigma=1.0).shape == (0, 3)


def test_choice_is_the_exponential_mechanism():
    scores, epsilon, sensitivity, n = np.array([0, 3, 1, 6]), 0.8, 2, 1_500
    chosen = np.bincount([choose(scores, epsilon=epsilon, sensitivity=sensitivity) for _ in range(n)], minlength=4)
    weights = np.exp(epsilon * scores / (2 * sensitivity))
    expected = n * weights / weights.sum()
    assert ((chosen - expected) ** 2 / expected).sum() < 32  # 3 degrees of freedom: p < 6e-7


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_impossible_parameters_are_refused(bad):
    counts = np.array([1, 2])
    with pytest.raises(InputError, match="positive and finite"):
        gaussian_counts(counts, sigma=bad)
    with pytest.raises(InputError, match="positive and finite"):
        gaussian_sigma(rho=bad, sensitivity=1)
    with pytest.raises(InputError, match="positive and finite"):
        selection_epsilon(rho=bad)
    with pytest.raises(InputError, match="positive and finite"):
        choose(counts, epsilon=bad, sensitivity=1)


def test_non_integer_inputs_are_refused():
    with pytest.raises(InputError, match="int64"):
        gaussian_counts(np.array([1.0]), sigma=1.0)
    with pytest.raises(InputError, match="int64"):
        choose(np.array([1.0]), epsilon=1.0, sensitivity=1)
    with pytest.raises(InputError, match="int64"):
        choose(np.array([], dtype=np.int64), epsilon=1.0, sensitivity=1)


def discrete_tail(sigma, least):
    """P[X >= least] of the discrete Gaussian, summed term by term; relative error far under 1e-9."""
    end = least + int(40 * sigma) + 2
    weights = np.exp(-(np.arange(-end, end + 1, dtype=float) ** 2) / (2 * sigma**2))
    return weights[end + least :].sum() / weights.sum()


def partitions(k, most=None):
    """All ways to put k rows on distinct values, by how many rows each gets."""
    if k == 0:
        return [()]
    most = min(k, most or k)
    return [(first, *rest) for first in range(1, most + 1) for rest in partitions(k - first, first)]


def worst_failure(sigma, threshold, k):
    """How probable it is that a value of one subject's k rows alone reaches the threshold, however the rows are spread."""
    kept = {rows: np.log1p(-discrete_tail(sigma, threshold - rows)) for rows in range(1, k + 1)}
    return max(-np.expm1(sum(kept[rows] for rows in way)) for way in partitions(k))


@pytest.mark.parametrize("rho", [0.0003, 0.01, 0.1, 0.5, 7.3, 80.0])
@pytest.mark.parametrize("delta", [1e-17, 1e-12, 1e-7, 1e-3])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_the_threshold_fails_as_rarely_as_charged_by_the_exact_tail_and_is_hardly_higher_than_needed(rho, delta, k):
    sigma = gaussian_sigma(rho=rho, sensitivity=k)
    threshold = threshold_for(sigma=sigma, delta=delta, per_subject=k)
    assert worst_failure(sigma, threshold, k) <= delta
    assert threshold == 2 * k or worst_failure(sigma, threshold - 2 - threshold // 100, k) > delta


@pytest.mark.parametrize("threshold", [3, 70])
def test_a_count_of_exactly_the_threshold_is_released(threshold):
    """The bound above is about counts of at least the threshold: with next to no noise the library must agree."""
    counts = {"below": threshold - 1, "at": threshold, "above": threshold + 1}
    assert common_counts(counts, sigma=1e-3, threshold=threshold) == {"above": threshold + 1, "at": threshold}


def test_only_counts_over_the_threshold_are_told_whatever_their_names():
    counts = {"often": 1_000, "🙂\0": 900, "rare": 3, "": 950} | {f"one {i}": 1 for i in range(500)}
    for _ in range(20):
        told = common_counts(counts, sigma=10.0, threshold=threshold_for(sigma=10.0, delta=1e-9, per_subject=1))
        assert list(told) == ["", "often", "🙂\0"]
        assert all(abs(told[name] - counts[name]) < 80 for name in told)
    assert common_counts({}, sigma=10.0, threshold=70) == {}


def test_a_value_near_the_threshold_is_told_as_often_as_its_noise_reaches_it():
    told = sum(bool(common_counts({"x": 50}, sigma=10.0, threshold=60)) for _ in range(1_000))
    assert told / 1_000 == pytest.approx(0.171, abs=0.06)  # P(discrete Gaussian of sigma 10 >= 10)
