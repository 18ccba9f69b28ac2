"""Attacks on erasures: one that happened, one that did not, and the row that two ridge models give away."""

from dataclasses import replace

import numpy as np
import pytest
from people import exceeds
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier

from workbench.metrics.attacks.erasure import Versions
from workbench.metrics.attacks.reconstruction import RECONSTRUCTION, Erased, Erasures, reconstructed
from workbench.metrics.measure import NotComputableError, measured
from workbench.metrics.registry import attacks_on_erasure


def tree(x, y):
    return DecisionTreeClassifier(random_state=0, min_samples_leaf=2).fit(x, y)


def versions(*, happened=True, seed=0, n=900, erased=100):
    """Of `n` living people and as many strangers `erased` are erased: by training without them, or not at all."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n, 6))
    y = (x[:, 0] + rng.normal(size=2 * n) > 0).astype(float)
    status = np.array(["erased"] * erased + ["living"] * (n - erased) + ["stranger"] * n)
    stay = slice(erased if happened else 0, n)
    before, after = (tree(x[part], y[part]).predict_proba(x) for part in (slice(0, n), stay))
    points = np.arange(2 * n, dtype=np.uint64)
    return Versions(before=before, after=after, labels=y, points=points, status=status, kind="binary")


def found(of, metrics=None):
    measures = measured(metrics or attacks_on_erasure(), of)
    assert not [m.reason for m in measures if m.failed]
    return {m.definition.name.removeprefix("disclosure/"): m for m in measures}


def test_an_erasure_leaves_nothing_and_shows_who_went_to_who_has_both_versions():
    measures = found(versions())
    assert exceeds(measures["erased_before_auc"])
    assert not exceeds(measures["erased_after_auc"])
    assert exceeds(measures["differencing_auc"])
    assert measures["differencing_tpr_at_0.01"].estimate


def test_an_erasure_that_did_not_happen_is_told_after_it_and_by_no_difference():
    measures = found(versions(happened=False))
    assert exceeds(measures["erased_after_auc"])
    assert measures["erased_after_auc"].estimate == measures["erased_before_auc"].estimate
    assert measures["differencing_auc"].estimate.value == 0.5
    assert not exceeds(measures["differencing_auc"])


def test_exact_erasures_are_seldom_told_afterwards():
    assert sum(exceeds(found(versions(seed=seed))["erased_after_auc"]) for seed in range(1, 9)) <= 1


def test_a_regression_is_told_by_its_errors():
    of = versions()
    truth = np.where(of.labels > 0, 3.0, -3.0)
    numbers = replace(
        of, before=of.before[:, 1:] * 6 - 3, after=of.after[:, 1:] * 6 - 3, labels=truth, kind="regression"
    )
    assert exceeds(found(numbers)["differencing_auc"])


@pytest.mark.parametrize(("erased", "reason"), [(10, "needs 20 erased")])
def test_few_erased_people_tell_nothing(erased, reason):
    measures = found(versions(erased=erased, n=300))
    assert all(reason in m.reason for m in measures.values())
    assert all(m.estimate is None for m in measures.values())


def ridge(x, y, penalty=1.0):
    return Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(x, y).coef_


def rows(n, rng):
    return np.column_stack([np.ones(n), rng.normal(size=(n, 5))])


def test_two_ridge_models_give_the_erased_row_away_exactly_to_who_knows_the_gram_matrix():
    rng = np.random.default_rng(0)
    x = rows(200, rng)
    y = x @ rng.normal(size=6) + rng.normal(size=200)
    before, after = ridge(x, y), ridge(x[1:], y[1:])
    np.testing.assert_allclose(reconstructed(before, after, x.T @ x + np.eye(6)), x[0], rtol=1e-5)


def erasures(*, happened=True, trials=40, n=400):
    rng = np.random.default_rng(1)
    x = rows(n, rng)
    y = x @ rng.normal(size=6) + rng.normal(size=n)
    before = ridge(x, y)
    after = [ridge(np.delete(x, i, axis=0), np.delete(y, i)) if happened else before for i in range(trials)]
    gone = [Erased(before=before, after=model, row=x[i]) for i, model in enumerate(after)]
    return Erasures(trials=gone, public=rows(1000, rng), taught=n, ridge=1.0)


def test_the_erased_row_is_found_among_a_thousand_by_who_knows_the_population_alone():
    measure = found(erasures(), [RECONSTRUCTION])["reconstruction"]
    assert measure.estimate.value > 0.5
    assert exceeds(measure)
    assert measure.baseline.value == 1 / 1001


def test_where_nothing_changed_nothing_is_reconstructed():
    assert found(erasures(happened=False), [RECONSTRUCTION])["reconstruction"].estimate.value == 0
    same = np.ones(3)
    with pytest.raises(NotComputableError, match="did not change"):
        reconstructed(same, same, np.eye(3))


def test_too_few_public_rows_are_said():
    of = erasures(trials=2)
    measure = found(replace(of, public=of.public[:5]), [RECONSTRUCTION])["reconstruction"]
    assert "more public rows than columns" in measure.reason
