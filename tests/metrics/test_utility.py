"""Utility numbers equal scikit-learn's, and their doubt counts persons, not rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error

from workbench.metrics.roc_ranking import Ranked
from workbench.metrics.utility import classification, regression


def alone(n):
    return np.arange(n, dtype=np.uint64)


def binary(scores):
    return np.column_stack([1 - np.array(scores), scores])


scored = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 4)), min_size=2, max_size=40)
two_classes = scored.filter(lambda rows: 0 < sum(r[0] for r in rows) < len(rows))


@given(two_classes)
@settings(max_examples=60, deadline=None)
def test_auc_is_scikit_learns_with_ties(rows):
    truth, scores = np.array([r[0] for r in rows], dtype=float), np.array([r[1] for r in rows]) / 6
    auc = classification(truth, binary(scores), alone(len(rows)))["auc"]
    assert auc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert auc.n == len(rows)
    assert -1e-12 <= auc.low <= auc.high <= 1 + 1e-12


@given(two_classes.filter(lambda rows: sum(r[2] for r in rows if r[0]) > 0 and sum(r[2] for r in rows if not r[0]) > 0))
def test_weighted_auc_is_scikit_learns_with_ties(rows):
    truth, scores, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = roc_auc_score(truth, scores, sample_weight=weights)
    assert Ranked.of(scores, truth == 1).auc(weights) == pytest.approx(expected, abs=1e-12)


def test_multiclass_auc_is_the_mean_of_one_against_rest():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300) + 0.3 * np.eye(4)[truth]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    estimates = classification(truth.astype(float), probabilities, alone(300))
    expected = roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert estimates["auc"].value == pytest.approx(expected, abs=1e-12)
    assert estimates["accuracy"].value == pytest.approx(accuracy_score(truth, probabilities.argmax(axis=1)))


def test_the_regression_numbers_are_scikit_learns():
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 2, 200)
    predictions = truth + rng.normal(0, 1, 200)
    estimates = regression(truth, predictions, alone(200))
    assert estimates["r2"].value == pytest.approx(r2_score(truth, predictions))
    assert estimates["rmse"].value == pytest.approx(root_mean_squared_error(truth, predictions))
    assert regression(truth, np.full(200, 99.0), alone(200))["r2"].value < 0


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_contains_its_value_and_narrows_with_more_subjects(seed):
    rng = np.random.default_rng(seed)
    widths = {}
    for n in (100, 1600):
        truth = rng.integers(0, 2, n).astype(float)
        scores = np.clip(truth * 0.2 + rng.uniform(0, 0.8, n), 0, 1)
        estimates = classification(truth, binary(scores), alone(n)) | regression(truth, scores, alone(n))
        for name, estimate in estimates.items():
            assert estimate.low <= estimate.value <= estimate.high
            widths[name, n] = estimate.high - estimate.low
    for name in ("auc", "accuracy", "r2", "rmse"):
        assert 2 < widths[name, 100] / widths[name, 1600] < 8, "about 4, the root of 16"


def test_copies_of_a_persons_row_add_rows_but_no_certainty():
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 100).astype(float), 9)
    scores = np.repeat(rng.uniform(0, 1, 100), 9)
    by_subject = classification(truth, binary(scores), np.repeat(alone(100), 9))
    by_row = classification(truth, binary(scores), alone(900))
    once = classification(truth[::9], binary(scores[::9]), alone(100))
    for name in ("auc", "accuracy"):
        assert by_subject[name].value == pytest.approx(by_row[name].value)
        subject_width, row_width = (e.high - e.low for e in (by_subject[name], by_row[name]))
        assert 2 < subject_width / row_width < 4.5, "about 3, the root of 9"
        assert (by_subject[name].low, by_subject[name].high) == pytest.approx((once[name].low, once[name].high))


@pytest.mark.parametrize("classes", [2, 3])
def test_there_is_no_auc_where_a_class_is_absent(classes):
    probabilities = np.full((10, classes), 1 / classes)
    assert set(classification(np.zeros(10), probabilities, alone(10))) == {"accuracy"}


def test_there_is_no_r2_where_the_target_is_constant():
    estimates = regression(np.full(5, 3.0), np.arange(5.0), alone(5))
    assert set(estimates) == {"rmse"}


@pytest.mark.parametrize("subjects", [alone(1), np.zeros(2, dtype=np.uint64)])
def test_one_person_gives_a_number_without_width(subjects):
    n = len(subjects)
    accuracy = classification(np.arange(n) % 2.0, binary([0.9] * n), subjects)["accuracy"]
    assert accuracy.low == accuracy.value == accuracy.high


def test_the_same_input_gives_the_same_interval():
    truth, scores = np.array([0.0, 1, 1, 0]), binary([0.1, 0.4, 0.35, 0.8])
    assert classification(truth, scores, alone(4)) == classification(truth, scores, alone(4))
