"""Attacks with siblings for references: as the papers say, fair where nothing is left, and telling where something is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from workbench.metrics import forgetting
from workbench.metrics.forgetting import (
    GAMMA,
    OFFLINE_A,
    Scores,
    excludes_guessing,
    find,
    lira,
    membership,
    minus_squared_error,
    rmia,
    scaled_confidence,
    together,
    true_probability,
)
from workbench.metrics.roc_ranking import Ranked


@pytest.fixture(autouse=True)
def _few_replicates(monkeypatch):
    monkeypatch.setattr(forgetting, "REPLICATES", 200)


def drawn(seed, n, m, *, advantage=0.0):
    """Scores of n subjects by normal confidences: their own constituent's is higher by `advantage`."""
    rng = np.random.default_rng(seed)
    confidences = rng.normal(size=(n, 1)) * 3 + rng.normal(size=(n, m + 1))
    return together([lira(c[:1] + advantage, c[None, 1:]) for c in confidences])


def test_a_confidence_is_the_logit_of_the_true_label():
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8], [0.2, 0.8]])
    labels = np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(true_probability(probabilities, labels), [0.5, 0.8, 0.2])
    np.testing.assert_allclose(scaled_confidence(probabilities, labels), [0, np.log(4), -np.log(4)])
    three = np.array([[0.1, 0.2, 0.7]])
    assert scaled_confidence(three, np.array([1.0]))[0] == pytest.approx(np.log(0.2 / 0.8))


def test_a_confidence_near_certainty_keeps_its_digits_and_certainty_is_finite():
    sure = np.array([[1e-10, 1.0], [1e-11, 1.0], [0.0, 1.0]])
    told = scaled_confidence(sure, np.ones(3))
    np.testing.assert_allclose(told[:2], np.log([1e10, 1e11]))
    assert np.isfinite(told).all()
    assert np.isfinite(scaled_confidence(sure, np.zeros(3))).all()


def test_of_a_regression_the_nearer_value_is_the_more_confident():
    np.testing.assert_allclose(minus_squared_error(np.array([[1.0], [4.0]]), np.array([1.0, 1.0])), [0, -9])


def test_lira_orders_subjects_by_their_chance_under_the_references_gaussian():
    """Carlini et al. 2022: 1 - Pr[Z > confidence], Z normal with mean and variance of the models that never saw the subject."""
    rng = np.random.default_rng(0)
    target, siblings = rng.normal(size=3), rng.normal(size=(3, 6))
    scores = lira(target, siblings)
    assert scores.members.shape == scores.nonmembers.shape == (1, 6)
    for j in range(6):
        others = np.delete(siblings.mean(axis=0), j)
        gaussian = norm(others.mean(), others.std(ddof=1))
        assert norm.cdf(scores.members[0, j]) == pytest.approx(1 - gaussian.sf(target.mean()))
        assert norm.cdf(scores.nonmembers[0, j]) == pytest.approx(1 - gaussian.sf(siblings[:, j].mean()))


def test_rmia_is_the_share_of_the_population_that_the_subject_outdoes():
    """Zarifzadeh et al. 2024, eqs. 2 and 3, pair by pair."""
    rng = np.random.default_rng(1)
    target, siblings = rng.random(2), rng.random((2, 4))
    population, siblings_population = rng.random(30), rng.random((30, 4))

    def ratio(probability, others):
        return probability / (((1 + OFFLINE_A) * others.mean() + 1 - OFFLINE_A) / 2)

    def score(x, z, j):
        """The share of pairs, by the model that says x of the subject's rows and z of the population's."""
        won = [
            ratio(x[i], np.delete(siblings[i], j)) / ratio(z[r], np.delete(siblings_population[r], j)) >= GAMMA
            for i in range(2)
            for r in range(30)
        ]
        return np.mean(won)

    scores = rmia(target, siblings, population, siblings_population)
    for j in range(4):
        assert scores.members[0, j] == pytest.approx(score(target, population, j))
        assert scores.nonmembers[0, j] == pytest.approx(score(siblings[:, j], siblings_population[:, j], j))


tied = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60)


@given(tied.filter(lambda rows: 0 < sum(r[0] for r in rows) < len(rows)), st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]))
@settings(max_examples=60)
def test_hits_at_a_rate_of_false_alarms_are_scikit_learns(rows, share):
    positive, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=float)
    alarms, hits, _ = roc_curve(positive, scores, drop_intermediate=False)
    expected = hits[alarms <= share + 1e-9].max()
    assert Ranked.of(scores, positive).tpr(np.ones(len(rows)), fpr=share) == pytest.approx(expected)


def test_the_auc_compares_each_member_with_all_non_members():
    scores = drawn(2, 40, 5, advantage=1.0)
    both = np.concatenate([scores.members.ravel(), scores.nonmembers.ravel()])
    found = membership(scores).auc
    assert found.value == pytest.approx(roc_auc_score(np.arange(400) < 200, both))
    assert found.n == 40, "subjects count, not comparisons"


@pytest.mark.parametrize("siblings", [3, 12])
def test_where_nothing_is_left_the_interval_holds_the_half(siblings):
    found = [membership(drawn(seed, 60, siblings)).auc for seed in range(40)]
    assert np.mean([auc.value for auc in found]) == pytest.approx(0.5, abs=0.025)
    assert np.mean([excludes_guessing(auc) for auc in found]) < 0.12, "about 0.05"


@pytest.mark.parametrize("advantage", [0.5, 1.0, 2.0])
def test_an_advantage_is_told_as_what_it_is(advantage):
    """With many references the z-score is exact, and the AUC of two unit normals is Φ(difference / √2)."""
    found = membership(drawn(3, 200, 60, advantage=advantage)).auc
    assert found.low < norm.cdf(advantage / np.sqrt(2)) < found.high
    assert found.low > 0.5


def test_subjects_who_learnt_from_each_other_tell_less():
    """All of them drawn: twice the variance."""
    scores = drawn(10, 60, 5, advantage=0.5)
    few, all_ = membership(scores).auc, membership(replace(scores, share=1.0)).auc
    assert all_.value == few.value
    assert all_.value - all_.low == pytest.approx(np.sqrt(2) * (few.value - few.low))
    assert all_.high - all_.value == pytest.approx(np.sqrt(2) * (few.high - few.value))


def test_few_subjects_tell_no_rate_of_hits():
    assert membership(drawn(4, 99, 4)).hits == {0.05: None, 0.01: None}
    found = membership(drawn(4, 100, 4, advantage=3.0)).hits
    assert found[0.01] is None
    assert found[0.05].low > 0.05
    assert found[0.05].n == 100


def test_models_that_say_the_same_are_guessing():
    same = together([lira(np.ones(2), np.ones((2, 4))), lira(np.zeros(1), np.zeros((1, 4)))])
    found = membership(same).auc
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    certain = rmia(np.zeros(1), np.zeros((1, 3)), np.zeros(5), np.zeros((5, 3)))
    assert np.isfinite(certain.members).all()


SURE = {"compared": 20, "equal": 20}
TOLD = {"a": drawn(5, 100, 8, advantage=1.5), "b": drawn(6, 100, 8)}
LEFT = {"a": drawn(7, 100, 8), "b": drawn(8, 100, 8)}


def test_what_is_found():
    assert find(TOLD, LEFT, **SURE)[0] == "forgotten"
    assert find(LEFT, LEFT, **SURE)[0] == "nothing to tell"
    assert find(TOLD, TOLD, **SURE)[0] == "doubtful", "an erasure that did not happen"
    assert find(TOLD, LEFT, compared=20, equal=19)[0] == "not forgotten"
    assert find(TOLD, TOLD, compared=20, equal=0)[0] == "not forgotten"


def test_whoever_scores_too_low_after_the_erasure_is_told_too():
    assert find(TOLD, LEFT | {"a": drawn(9, 100, 8, advantage=-1.5)}, **SURE)[0] == "doubtful"


def test_what_is_found_is_said_in_words():
    finding, sentence = find(TOLD, LEFT, **SURE)
    assert finding == "forgotten"
    assert "told by a (AUC 0.8" in sentence
    assert "20 of 20" in sentence


def test_scores_are_put_together_subject_by_subject():
    whole = together([Scores(members=np.ones((1, 2)), nonmembers=np.zeros((1, 2)))] * 3)
    assert whole.members.shape == whole.nonmembers.shape == (3, 2)
    assert membership(whole).auc.value == 1
