"""Rates, risks and ROC figures against published, hand-worked and scikit-learn's values."""

import datetime as dt

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from workbench.metrics.attacks._tools.membership_scores import Scored, auc, curve, definitions, told
from workbench.metrics.attacks._tools.rates import risk, share, wilson
from workbench.metrics.attacks.inference import right
from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import NotComputableError
from workbench.schema import Column

FIGURES = definitions("x", "X", formula="x", source="x")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_newcombes_table(successes, n, low, high):
    """Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3."""
    found = wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.value == successes / n


def test_a_share_of_nothing_is_no_number():
    with pytest.raises(NotComputableError, match="nothing to try"):
        share(np.array([], dtype=bool))


def test_a_risk_is_what_members_have_beyond_controls():
    """Giomi et al. 2023: (0.6 - 0.2) / (1 - 0.2) = 0.5."""
    assert risk(wilson(60, 100), wilson(20, 100)).value == pytest.approx(0.5)
    assert risk(wilson(20, 100), wilson(60, 100)).value == pytest.approx(-1.0)
    assert risk(wilson(100, 100), wilson(20, 100)).value == 1.0


def test_the_ends_of_a_risk_are_the_legs_of_its_parts():
    """Worked by hand: p 0.6 in [0.5, 0.7], q 0.2 in [0.1, 0.3]; 0.5 at the middle."""
    main, control = Estimate(value=0.6, low=0.5, high=0.7, n=9), Estimate(value=0.2, low=0.1, high=0.3, n=9)
    found = risk(main, control)
    assert found.low == pytest.approx(0.5 - np.hypot(0.5 - 0.3 / 0.8, 0.5 - 0.3 / 0.7))
    assert found.high == pytest.approx(0.5 + np.hypot(0.5 / 0.8 - 0.5, 0.5 / 0.9 - 0.5))
    assert found.n == 18


def test_no_risk_can_be_told_beside_controls_who_are_all_told():
    with pytest.raises(NotComputableError, match="every control"):
        risk(wilson(10, 10), wilson(10, 10))


def test_a_number_is_guessed_within_a_part_of_its_size_whatever_its_sign():
    true = np.array([100.0, 100.0, 100.0, -100.0, -100.0, 0.0, 0.0, np.nan, np.nan])
    guess = np.array([104.0, 106.0, -500.0, -104.0, 100.0, 0.0, 0.01, np.nan, 1.0])
    number = Column(kind="continuous", bounds=(-1000, 1000), missing=True)
    assert right(guess, true, number).tolist() == [True, False, False, True, False, True, False, True, False]
    truth = Column(kind="boolean", missing=True)
    assert right(np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0, 1.0]), truth).tolist() == [True, False, False]


def test_a_year_and_a_moment_are_guessed_within_a_part_of_their_range():
    """5 % of 2000 is a century; 5 % of the time since the lower bound is nothing for the first days."""
    year = Column(kind="integer", bounds=(1980, 2020))
    true, guess = np.array([2000.0, 2000.0, 2000.0]), np.array([2002.0, 1998.0, 2003.0])
    assert right(guess, true, year).tolist() == [True, True, False]
    day, moment = (
        86_400e6,
        Column(kind="datetime", bounds=(dt.datetime(2000, 1, 1), dt.datetime(2000, 4, 10)), missing=True),
    )
    true, guess = np.array([0.0, 99, 99, 50, np.nan]) * day, np.array([5.0, 95, 93, np.nan, np.nan]) * day
    assert right(guess, true, moment).tolist() == [True, True, False, False, True]


def scored(seed, n=600, m=800, advantage=1.0):
    rng = np.random.default_rng(seed)
    return Scored(members=rng.normal(advantage, 1, n).round(1), controls=rng.normal(0, 1, m).round(1))


def test_the_auc_and_the_curve_are_scikit_learns():
    of = scored(0)
    y, x = np.r_[np.ones(600), np.zeros(800)], np.r_[of.members, of.controls]
    assert auc(of).value == pytest.approx(roc_auc_score(y, x))
    false, true, _ = roc_curve(y, x, drop_intermediate=False)
    assert {tuple(np.round(p, 9)) for p in curve(of)} <= {tuple(np.round(p, 9)) for p in zip(false, true, strict=True)}


def test_hits_at_few_false_alarms_are_scikit_learns():
    of = scored(1)
    false, true, _ = roc_curve(
        np.r_[np.ones(600), np.zeros(800)], np.r_[of.members, of.controls], drop_intermediate=False
    )
    at_one_percent, at_less = told(FIGURES, of)[1:]
    assert at_one_percent.estimate.value == pytest.approx(true[false <= 0.01].max())
    assert at_one_percent.baseline.value == 0.01
    assert at_less.estimate is None
    assert "needs 5,000 controls" in at_less.reason


def test_scores_that_are_no_numbers_are_not_ranked():
    with pytest.raises(NotComputableError, match="not a finite number"):
        auc(Scored(members=np.array([np.nan, 1.0]), controls=np.array([0.0])))
    with pytest.raises(NotComputableError, match="nobody"):
        auc(Scored(members=np.array([]), controls=np.array([0.0])))


def covered(trials, inside):
    """Whether no fewer intervals hold the truth than of 95 % ones do, but for three standard errors."""
    return np.mean(inside) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
@pytest.mark.parametrize("advantage", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("n", [40, 500])
def test_the_interval_of_the_auc_covers(n, advantage):
    truth, trials = norm.cdf(advantage / np.sqrt(2)), 400
    inside = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        found = auc(Scored(members=rng.normal(advantage, 1, n), controls=rng.normal(0, 1, 2 * n)))
        inside.append(found.low <= truth <= found.high)
    assert covered(trials, inside), np.mean(inside)


@pytest.mark.slow
@pytest.mark.parametrize("advantage", [0.0, 0.5, 2.0])
def test_the_interval_of_hits_at_one_percent_covers(advantage):
    truth, trials = norm.sf(norm.isf(0.01) - advantage), 400
    inside = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        of = Scored(members=rng.normal(advantage, 1, 1000), controls=rng.normal(0, 1, 2000))
        found = told(FIGURES, of)[1].estimate
        inside.append(found.low <= truth <= found.high)
    assert covered(trials, inside), np.mean(inside)


@pytest.mark.slow
@pytest.mark.parametrize(("p", "q"), [(0.0, 0.0), (0.02, 0.01), (0.3, 0.3), (0.5, 0.2), (0.9, 0.7), (0.99, 0.9)])
@pytest.mark.parametrize("n", [50, 1000])
def test_the_interval_of_a_risk_covers(p, q, n):
    truth, trials = (p - q) / (1 - q), 4000
    rng = np.random.default_rng(0)
    drawn = zip(rng.binomial(n, p, trials), rng.binomial(n // 2, q, trials), strict=True)
    found = [risk(wilson(a, n), wilson(b, n // 2)) for a, b in drawn if b < n // 2]
    assert covered(trials, [f.low <= truth <= f.high for f in found])
