"""The delete-a-group jackknife against its definition and against what is known of means."""

import numpy as np
import pytest
from scipy.stats import t

from workbench.metrics.jackknife import GROUPS, groups_of, jackknife, without_each
from workbench.metrics.measure import NotComputableError

EVERYWHERE = (float("-inf"), float("inf"))


def test_all_rows_of_a_subject_are_left_out_together_and_groups_are_even():
    subjects = np.repeat(np.arange(205, dtype=np.uint64) * 7, 3)
    groups = groups_of(subjects, rng=np.random.default_rng(0))
    assert (groups.reshape(205, 3) == groups[::3, None]).all()
    sizes = np.bincount(groups[::3], minlength=GROUPS)
    assert sizes.min() == 10
    assert sizes.max() == 11


def test_sums_without_a_group_are_those_of_the_other_rows():
    rng = np.random.default_rng(0)
    groups, values = np.arange(100) % GROUPS, rng.normal(size=100)
    sums = without_each(np.bincount(groups, weights=values)[:, None])[:, 0]
    expected = [values.sum(), *(values[groups != group].sum() for group in range(GROUPS))]
    np.testing.assert_allclose(sums, expected)


def test_of_a_mean_it_is_the_interval_of_the_groups_means():
    """With groups of one size the error is that of a mean of as many independent means."""
    values = np.random.default_rng(0).normal(size=400)
    groups = np.arange(400) % GROUPS
    replicates = np.array([values.mean(), *(values[groups != group].mean() for group in range(GROUPS))])
    found = jackknife(replicates, n=400, within=EVERYWHERE)
    means = np.array([values[groups == group].mean() for group in range(GROUPS)])
    reach = t.ppf(0.975, GROUPS - 1) * means.std(ddof=1) / np.sqrt(GROUPS)
    assert (found.value, found.n) == (pytest.approx(values.mean()), 400)
    assert (found.low, found.high) == (pytest.approx(values.mean() - reach), pytest.approx(values.mean() + reach))


def test_a_bias_that_all_replicates_share_does_not_move_the_interval():
    left = np.random.default_rng(0).normal(size=GROUPS)
    one = jackknife(np.r_[1.0, left], n=1, within=EVERYWHERE)
    other = jackknife(np.r_[1.0, left + 3], n=1, within=EVERYWHERE)
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))


def test_ends_stay_inside_the_range_and_hold_the_value():
    found = jackknife(np.r_[0.001, np.linspace(0, 0.5, GROUPS)], n=1, within=(0.0, 1.0))
    assert found.low == 0.0
    assert found.low <= found.value <= found.high <= 1.0


def test_a_figure_that_some_group_alone_makes_possible_is_not_computable():
    with pytest.raises(NotComputableError, match="without some of the subjects"):
        jackknife(np.r_[1.0, np.nan, np.ones(GROUPS - 1)], n=1, within=EVERYWHERE)
