"""Models trained on a release and tested on real people: scores are scikit-learn's, and planted faults trip them."""

import numpy as np
import pytest
from planted_tables import AGE, HOURS, PASSED, PEOPLE, by_name, dataset, people, shuffled, tables
from scipy.stats import kendalltau, spearmanr
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from workbench.metrics.measure import measured
from workbench.metrics.tables import Tables
from workbench.metrics.utility import importance, ranking, utility_metrics
from workbench.metrics.utility.predictions import accuracy, auc, brier, calibration_error, f1
from workbench.schema.schema import parse_schema
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.sisa.shard import fit_whole
from workbench.sisa.task import task_of


def filled(features):
    return np.nan_to_num(features, nan=-1.0)


class Counted:
    """A scikit-learn estimator as a learner, which counts how often it was trained."""

    def __init__(self, make, *, classes=2):
        self.make, self.classes, self.trained = make, classes, 0

    def __call__(self, features, target):
        self.trained += 1
        model = self.make().fit(filled(features), target)

        def predict(asked):
            if not self.classes:
                return model.predict(filled(asked))[:, None]
            probabilities = np.zeros((len(asked), self.classes))
            probabilities[:, model.classes_.astype(int)] = model.predict_proba(filled(asked))
            return probabilities

        return predict


def boosting(features, target):
    learner = GradientBoosting(rounds=30, learning_rate=0.1, leaves=7, min_rows_per_leaf=20, category_smoothing=10.0)
    model = fit_whole(learner, features, target, task=task_of(PEOPLE))
    return lambda asked: learner.predict(model, asked, task=task_of(PEOPLE))


def learners():
    return {
        "boosting": boosting,
        "logistic": Counted(lambda: LogisticRegression(max_iter=1000)),
        "bayes": Counted(GaussianNB),
        "stump": Counted(lambda: DecisionTreeClassifier(max_depth=1, random_state=0)),
    }


def judged(these, using=None, schema=PEOPLE):
    return by_name(measured(utility_metrics(schema, learners() if using is None else using), these))


@pytest.fixture(scope="module")
def fair():
    return judged(tables())


@pytest.fixture(scope="module")
def unrelated():
    return judged(tables(shuffled(people(2000, seed=1))))


def apart(one, other):
    return one.high < other.low or other.high < one.low


def test_every_score_has_an_estimate_a_baseline_and_a_ceiling_inside_its_range(fair):
    assert len(fair) == 4 * 5 + 4 + 1 + 2
    for name, measure in fair.items():
        low, high = measure.definition.range
        bounded = [measure.estimate, measure.baseline]
        if not name.startswith(("importance", "ranking")):
            bounded.append(measure.ceiling)
        for found in bounded:
            assert low <= found.low <= found.high <= high, name
            assert low <= found.value <= high, name
            assert found.n > 0


def test_a_release_of_the_population_serves_as_the_training_rows_do(fair):
    for name, measure in fair.items():
        if name.startswith("tstr"):
            assert not apart(measure.estimate, measure.ceiling), name
            assert apart(measure.estimate, measure.baseline) or "stump" in name or "calibration" in name, name
    assert fair["importance_agreement_boosting"].estimate.value > 0.6
    assert fair["ranking_agreement"].estimate.value == 1


def test_of_shuffled_columns_nothing_is_learnt(unrelated):
    for learner in ("boosting", "logistic", "bayes"):
        measure = unrelated[f"tstr_auc_{learner}"]
        assert measure.estimate.high < measure.ceiling.low - 0.2
        assert unrelated[f"tstr_brier_{learner}"].estimate.low > unrelated[f"tstr_brier_{learner}"].ceiling.high
    assert unrelated["importance_agreement_boosting"].estimate.value < 0.6


def test_each_learner_is_trained_once_on_each_of_three_tables():
    using = {name: learner for name, learner in learners().items() if name != "boosting"}  # the others count
    metrics = utility_metrics(PEOPLE, using)
    measured(metrics, tables(n=400))
    assert {name: learner.trained for name, learner in using.items()} == {
        "logistic": 3,
        "bayes": 3,
        "stump": 3,
    }


def test_scores_are_of_the_model_trained_on_the_release(fair):
    these = tables()
    fitted = LogisticRegression(max_iter=1000).fit(filled(these.synthetic[:, :PASSED]), these.synthetic[:, PASSED])
    p = fitted.predict_proba(filled(these.holdout.features))[:, 1]
    assert fair["tstr_auc_logistic"].estimate.value == pytest.approx(roc_auc_score(these.holdout.target, p))
    assert fair["tstr_f1_logistic"].estimate.value == pytest.approx(f1_score(these.holdout.target, p > 0.5))
    assert fair["tstr_brier_logistic"].estimate.value == pytest.approx(brier_score_loss(these.holdout.target, p))


def test_equal_seeds_give_equal_measures():
    first, again = (judged(tables(n=300), {"boosting": boosting, "bayes": Counted(GaussianNB)}) for _ in range(2))
    assert first == again


# Figures


@pytest.mark.parametrize("classes", [2, 4])
def test_weighted_figures_are_scikit_learns(classes):
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, 200).astype(float)
    probabilities = rng.dirichlet(np.ones(classes), 200)
    weights = rng.integers(0, 4, 200).astype(float)
    average = "binary" if classes == 2 else "macro"
    expected = f1_score(truth, probabilities.argmax(axis=1), average=average, sample_weight=weights)
    assert f1(truth, probabilities)(weights) == pytest.approx(expected)
    expected = brier_score_loss(truth, probabilities, sample_weight=weights, scale_by_half=classes == 2)
    assert brier(truth, probabilities)(weights) == pytest.approx(expected)
    assert accuracy(truth, probabilities)(weights) == pytest.approx(
        np.average(probabilities.argmax(axis=1) == truth, weights=weights)
    )


def test_a_class_that_is_absent_is_left_out_of_the_mean_of_f1():
    """Class 2 is never there, and guessed once; class 3 has no weight."""
    truth, weights = np.array([0.0, 0, 1, 1, 3]), np.array([1.0, 1, 1, 1, 0])
    probabilities = np.eye(4)[[0, 2, 1, 1, 3]]
    expected = f1_score(truth[:4], [0, 2, 1, 1], labels=[0, 1], average="macro")
    assert f1(truth, probabilities)(weights) == pytest.approx(expected) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(f1(np.zeros(3), np.eye(2)[[0, 0, 1]])(np.ones(3)))


def test_the_calibration_error_is_summed_bin_by_bin():
    """Guo et al. 2017, eq. 3: bins ((m - 1)/15, m/15]."""
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 2, 500).astype(float), np.round(rng.random(500), 2)
    probabilities = np.column_stack([1 - p, p])
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    expected = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(truth, probabilities)(np.ones(500)) == pytest.approx(expected)


def test_a_confidence_on_the_border_of_two_bins_is_in_the_lower_one():
    p = np.array([0.55, 0.6, 0.65])
    found = calibration_error(np.array([1.0, 0.0, 1.0]), np.column_stack([1 - p, p]))(np.ones(3))
    assert found == pytest.approx((abs(-0.45 + 0.6) + 0.35) / 3)


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not():
    truth = np.array([0.0, 1.0, 1.0])
    sure = np.eye(2)[truth.astype(int)]
    assert calibration_error(truth, sure)(np.ones(3)) == 0
    assert calibration_error(truth, sure[:, ::-1])(np.ones(3)) == 1


# Importances, order, groups


def test_importances_are_those_of_scikit_learn(monkeypatch):
    """Of many shufflings: the mean growth of the Brier score where a feature is shuffled."""
    monkeypatch.setattr(importance, "REPEATS", 30)
    these = tables(n=1500)
    model = LogisticRegression(max_iter=1000).fit(filled(these.synthetic[:, :PASSED]), these.synthetic[:, PASSED])
    found = importance._increases(lambda x: model.predict_proba(filled(x)), these, np.arange(1500)).mean(axis=0)
    expected = permutation_importance(
        model,
        filled(these.holdout.features),
        these.holdout.target,
        scoring="neg_brier_score",
        n_repeats=30,
        random_state=0,
    ).importances_mean
    np.testing.assert_allclose(found, expected, atol=0.004)
    assert found[HOURS] > 0.03


def test_of_many_features_a_model_is_asked_about_few_at_a_time(monkeypatch):
    these, asked = tables(n=300), []

    def predict(features):
        asked.append(features.size)
        p = 1 / (1 + np.exp(-np.nan_to_num(features).sum(axis=1) / 50))
        return np.column_stack([1 - p, p])

    whole = importance._increases(predict, these, np.arange(300))
    asked.clear()
    monkeypatch.setattr(importance, "_MOST_NUMBERS", 2 * 300 * PASSED)
    np.testing.assert_array_equal(importance._increases(predict, these, np.arange(300)), whole)
    assert max(asked) == 2 * 300 * PASSED


def test_agreement_of_importances_is_spearmans():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(5, 8)), rng.integers(0, 3, (5, 8)).astype(float)
    other[4] = 1
    expected = [spearmanr(*rows).statistic for rows in zip(one[:4], other[:4], strict=True)]
    np.testing.assert_allclose(importance._spearman(one, other), [*expected, np.nan])


def test_agreement_of_orders_is_kendalls():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(5, 6)), rng.integers(0, 3, (5, 6)).astype(float)
    other[4] = 1
    expected = [kendalltau(*rows).statistic for rows in zip(one[:4], other[:4], strict=True)]
    np.testing.assert_allclose(ranking._kendall(one, other), [*expected, np.nan])


def test_an_order_turned_round_is_told():
    """Who relies on a feature that the release turns round is the worst on it, not the best."""
    synthetic = people(800, seed=3)
    synthetic[:, HOURS] = 50 - synthetic[:, HOURS]

    def by(place):
        def fit(features, target):
            sign = np.sign(np.corrcoef(filled(features)[:, place], target)[0, 1])
            score = lambda asked: 1 / (1 + np.exp(-sign * (filled(asked)[:, place] - 30) / 10))  # noqa: E731
            return lambda asked: np.column_stack([1 - score(asked), score(asked)])

        return fit

    found = judged(tables(synthetic, n=800), {"hours": by(HOURS), "age": by(AGE), "group": by(0)})
    assert found["ranking_agreement"].estimate.high <= 0
    assert (
        judged(tables(n=800), {"hours": by(HOURS), "age": by(AGE), "group": by(0)})["ranking_agreement"].estimate.value
        == 1
    )


def test_a_group_that_the_release_serves_badly_is_told():
    """In the release, passing is a coin in group c; the others are served as before."""
    synthetic = people(6000, seed=3)
    group_c = synthetic[:, 0] == 2
    synthetic[group_c, PASSED] = np.random.default_rng(0).integers(0, 2, group_c.sum())
    grown = {"tree": Counted(lambda: DecisionTreeClassifier(max_depth=6, min_samples_leaf=30, random_state=0))}
    these = tables(synthetic, n=4000)
    found = judged(these, grown)
    gap, worst = found["subgroup_gap_group"], found["subgroup_worst_group"]
    assert gap.estimate.low > gap.ceiling.high
    assert worst.estimate.high < worst.ceiling.low
    fitted = DecisionTreeClassifier(max_depth=6, min_samples_leaf=30, random_state=0)
    fitted.fit(filled(synthetic[:, :PASSED]), synthetic[:, PASSED])
    p = fitted.predict_proba(filled(these.holdout.features))[:, 1]
    aucs = [
        roc_auc_score(these.holdout.target[mask], p[mask])
        for mask in (these.holdout.values[:, 0] == k for k in range(3))
    ]
    assert gap.estimate.value == pytest.approx(max(aucs) - min(aucs))
    assert worst.estimate.value == pytest.approx(min(aucs))


def test_groups_of_few_people_are_not_judged():
    holdout = people(900, seed=2)
    holdout = holdout[(holdout[:, 0] == 0) | (np.arange(900) < 60)]
    found = judged(tables(holdout=holdout), {"bayes": Counted(GaussianNB)})
    assert found["subgroup_gap_group"].reason == (
        "not computable because fewer than two groups of group are large enough"
    )


# Numbers as targets

WAGES = parse_schema(
    {
        "population": "wages",
        "identity_type": "wages-row",
        "subject": "row",
        "columns": {
            "sex": {"kind": "categorical", "role": "sensitive", "categories": ["f", "m"]},
            "age": {"kind": "integer", "bounds": [18, 81]},
            "hours": {"kind": "continuous", "bounds": [0, 50]},
            "wage": {"kind": "continuous", "role": "target", "bounds": [0, 1000]},
        },
    },
    source="test",
)


def wages(n, seed):
    rng = np.random.default_rng(seed)
    sex, age, hours = rng.integers(0, 2, n), rng.integers(18, 82, n), rng.uniform(0, 50, n)
    return np.column_stack([sex, age, hours, np.clip(4 * hours + 3 * age + rng.normal(0, 30, n), 0, 1000)]).astype(
        float
    )


def wage_tables(synthetic):
    return Tables(
        training=dataset(wages(800, 1), schema=WAGES),
        holdout=dataset(wages(800, 2), schema=WAGES, first=10**6),
        synthetic=synthetic,
    )


def wage_learners():
    return {
        "linear": Counted(LinearRegression, classes=0),
        "tree": Counted(lambda: DecisionTreeRegressor(max_depth=4, random_state=0), classes=0),
        "stump": Counted(lambda: DecisionTreeRegressor(max_depth=1, random_state=0), classes=0),
    }


def test_a_number_is_judged_by_r2_and_error():
    good, bad = wages(800, 3), shuffled(wages(800, 3))
    found = judged(wage_tables(good), wage_learners(), WAGES)
    assert found["tstr_r2_linear"].estimate.value == pytest.approx(found["tstr_r2_linear"].ceiling.value, abs=0.02)
    assert found["tstr_rmse_linear"].estimate.value == pytest.approx(30, rel=0.1)
    assert found["tstr_r2_linear"].estimate.low > 0.6
    assert found["ranking_agreement"].estimate.value == 1
    assert found["importance_agreement_linear"].estimate.value == 1
    assert not any(measure.failed for measure in found.values())
    assert judged(wage_tables(bad), wage_learners(), WAGES)["tstr_r2_linear"].estimate.high < 0.1


# What has no meaning


def test_a_target_of_one_value_in_the_release_is_told():
    synthetic = people(600, seed=3)
    synthetic[:, PASSED] = 1.0
    found = judged(tables(synthetic, n=600))
    assert {m.reason for m in found.values()} == {"not computable because the target has one value only in the release"}


def test_a_target_of_one_value_in_the_training_rows_costs_the_ceiling_alone():
    training = people(600, seed=1)
    training[:, PASSED] = 0.0
    found = judged(tables(training=training, n=600))
    for name, measure in found.items():
        if name.startswith("tstr"):
            assert measure.estimate is not None
            assert measure.ceiling is None
            assert measure.baseline is None, "its columns are the training rows'"
        elif name.startswith(("importance", "ranking")):
            assert measure.reason == "not computable because the target has one value only in the training rows"


def test_a_holdout_of_ten_rows_or_of_one_class_is_told():
    one_class = people(600, seed=2)
    one_class[:, PASSED] = 1.0
    few = judged(tables(holdout=people(10, seed=2), n=600))
    assert {m.reason for m in few.values()} == {"not computable because the holdout has fewer than 30 subjects"}
    same = judged(tables(holdout=one_class, n=600))
    assert {m.reason for m in same.values()} == {"not computable because the target has one value only in the holdout"}


def test_a_class_that_the_holdout_lacks_costs_the_auc_alone():
    truth, probabilities = np.array([0.0, 1.0, 0.0, 1.0]), np.full((4, 3), 1 / 3)
    assert auc(truth, probabilities) is None
    document = PEOPLE.model_dump(mode="json", exclude_defaults=True)
    document["columns"]["passed"].pop("role")
    document["columns"]["town"] |= {"role": "target", "missing": False}
    schema = parse_schema(document, source="test")

    def towns(seed, most):
        values = people(600, seed=seed)
        values[:, 2] = np.minimum(np.nan_to_num(values[:, 2]), most)
        return dataset(values, schema=schema)

    these = Tables(training=towns(1, 3), holdout=towns(2, 2), synthetic=towns(3, 3).values)
    found = judged(these, {"bayes": Counted(lambda: GaussianNB(var_smoothing=0.1), classes=4)}, schema)
    assert found["tstr_auc_bayes"].reason == "not computable because the holdout lacks a class of the target"
    assert found["tstr_accuracy_bayes"].estimate.value > 0.3


def test_a_learner_that_fails_does_not_lose_the_others():
    def broken(*_):
        raise ValueError("17.25")

    found = judged(tables(n=400), {"broken": broken, "bayes": Counted(GaussianNB)})
    assert found["tstr_auc_broken"].failed
    assert found["tstr_auc_broken"].reason == "failed: ValueError"
    assert found["tstr_auc_bayes"].estimate.value > 0.5
    assert found["ranking_agreement"].reason == "not computable because there are fewer than 3 learners"


def test_predictions_that_are_no_numbers_are_told():
    def silent(*_):
        return lambda asked: np.full((len(asked), 2), np.nan)

    found = judged(tables(n=400), {"silent": silent})
    assert found["tstr_auc_silent"].reason == "not computable because silent does not predict every row of the holdout"
    assert not any(measure.estimate for measure in found.values())


def test_without_a_target_or_a_learner_there_is_nothing_to_tell():
    document = PEOPLE.model_dump(mode="json", exclude_defaults=True)
    document["columns"]["passed"].pop("role")
    for found in (judged(tables(n=100), schema=parse_schema(document, source="test")), judged(tables(n=100), {})):
        assert [m.reason for m in found.values()] == [
            "not computable because the schema declares no target that can be predicted"
        ]
