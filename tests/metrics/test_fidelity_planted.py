"""Fidelity figures trip where a fault is planted, stay still where none is, and say so where they have no meaning."""

import logging

import numpy as np
import pytest
from planted_tables import (
    AGE,
    GROUP,
    HOURS,
    PASSED,
    PEOPLE,
    RANK,
    TOWN,
    by_name,
    dataset,
    people,
    shuffled,
    tables,
)
from sklearn.linear_model import LogisticRegression

from workbench.metrics.fidelity.propensity import PROPENSITY, design, propensity
from workbench.metrics.fidelity.real_vs_synthetic import Mixed
from workbench.metrics.measure import NotComputableError, measured
from workbench.metrics.registry import fidelity_metrics
from workbench.metrics.tables import Tables
from workbench.schema.codec import Codec
from workbench.schema.schema import parse_schema

ASSOCIATION_FIGURES = (
    "pair_trends",
    "tvd2",
    "tvd3",
    "k_marginal",
    "correlation_difference",
    "c2st_auc",
    "pmse",
    "pmse_ratio",
)


def judged(these, figures=None):
    """The figures of these names, or all."""
    metrics = fidelity_metrics(these.codec.schema)
    asked = [m for m in metrics if figures is None or figures & {d.name.partition("/")[2] for d in m.definitions}]
    return by_name(measured(asked, these))


def apart(one, other):
    """Whether two intervals share nothing."""
    return one.high < other.low or other.high < one.low


def worse(measure, than):
    """Whether the release is worse than another figure, beyond both intervals."""
    return apart(measure.estimate, than) and (
        (measure.estimate.value > than.value) == (measure.definition.better == "lower")
    )


@pytest.fixture(scope="module")
def fair():
    """The release is another sample of the population."""
    return judged(tables())


@pytest.fixture(scope="module")
def copied():
    training = people(2000, seed=1)
    return judged(tables(training.copy(), training=training))


@pytest.fixture(scope="module")
def unrelated():
    training = people(2000, seed=1)
    return judged(tables(shuffled(training), training=training))


def test_every_figure_has_an_estimate_a_baseline_and_a_ceiling_inside_its_range(fair):
    for name, measure in fair.items():
        assert not measure.failed, name
        low, high = measure.definition.range
        for found in (measure.estimate, measure.baseline, measure.ceiling):
            assert low <= found.low <= found.value <= found.high <= high, name
            assert found.n > 0


def test_another_sample_of_the_population_is_no_worse_than_the_holdout(fair):
    assert [name for name, measure in fair.items() if worse(measure, measure.ceiling)] == []


def test_another_sample_is_better_than_the_naive_release_where_columns_belong_together(fair):
    for name in ASSOCIATION_FIGURES:
        assert worse(fair[name], fair[name].baseline) is False, name
        assert apart(fair[name].estimate, fair[name].baseline), name


def test_a_copy_is_perfect(copied):
    for name in ("tvd1", "tvd2", "tvd3", "correlation_difference", "missingness", "constraint_violations", "pmse"):
        assert copied[name].estimate.value == pytest.approx(0, abs=1e-9), name
    for name in ("column_shapes", "pair_trends"):
        assert copied[name].estimate.value == pytest.approx(1)
    assert copied["k_marginal"].estimate.value == pytest.approx(1000)
    assert copied["tvd3"].estimate.high < copied["tvd3"].ceiling.low, "closer than the holdout: a copy, or over-fitted"


def test_a_copy_is_ranked_below_chance_by_who_saw_its_original_as_real(copied):
    assert copied["c2st_auc"].estimate.high < 0.5


def test_of_shuffled_columns_each_is_right_and_no_two_belong_together(unrelated):
    for name in ("column_shapes", "tvd1"):
        assert not worse(unrelated[name], unrelated[name].ceiling), name
    for name in (*ASSOCIATION_FIGURES, "missingness", "constraint_violations"):
        assert worse(unrelated[name], unrelated[name].ceiling), name
        assert not apart(unrelated[name].estimate, unrelated[name].baseline), name


def test_the_bias_of_a_plug_in_distance_is_the_ceilings_too(fair):
    """Two samples of one population: the distance is 0, what is shown is not, and the interval does not pretend that it is."""
    assert fair["tvd3"].estimate.low > 0.05
    assert not apart(fair["tvd3"].estimate, fair["tvd3"].ceiling)


def test_equal_seeds_give_equal_measures():
    assert judged(tables(n=200)) == judged(tables(n=200))


def test_rows_of_one_subject_are_not_independent():
    """Every row of the training table three times: no more certainty than once."""
    training, holdout, release = people(1000, seed=1), people(1000, seed=2), people(3000, seed=3)
    thrice = Tables(
        training=dataset(np.repeat(training, 3, axis=0), rows_each=3),
        holdout=dataset(holdout, first=10**6),
        synthetic=release,
    )
    once = tables(release, training=training, holdout=holdout)
    by_row = tables(release, training=np.repeat(training, 3, axis=0), holdout=holdout)
    widths = [
        np.diff([judged_.estimate.low, judged_.estimate.high])[0]
        for judged_ in (judged(t, {"pair_trends"})["pair_trends"] for t in (thrice, once, by_row))
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.5)
    assert widths[2] < 0.85 * widths[0], "rows taken for subjects"


# What has no meaning


@pytest.mark.parametrize("which", ["training", "synthetic"])
def test_ten_rows_are_too_few(which):
    few = people(10, seed=1)
    found = judged(tables(few) if which == "synthetic" else tables(training=few))
    assert {m.reason[:45] for m in found.values()} == {"not computable because there are fewer than 3"}
    assert all(m.estimate is None and not m.failed for m in found.values())


def test_a_small_holdout_costs_the_ceiling_alone():
    found = judged(tables(holdout=people(10, seed=2), n=600))
    assert all(m.estimate is not None and m.baseline is not None and m.ceiling is None for m in found.values())


def test_another_number_of_columns_is_told():
    found = judged(tables(people(500, seed=3)[:, :-1], n=500))
    assert {m.reason for m in found.values()} == {
        "not computable because the release has not the columns of the schema"
    }


@pytest.mark.parametrize(
    ("place", "value"), [(GROUP, 3.0), (GROUP, 0.5), (GROUP, np.nan), (AGE, 17.0), (HOURS, 51.0), (PASSED, -1.0)]
)
def test_a_value_outside_the_public_domain_is_told_and_not_shown(place, value, caplog):
    synthetic = people(500, seed=3)
    synthetic[7, place] = value
    with caplog.at_level(logging.DEBUG):
        found = judged(tables(synthetic, n=500))
    name = list(PEOPLE.encoded)[place]
    assert {m.reason for m in found.values()} == {
        f"not computable because column {name} of the release has values outside its domain"
    }
    assert str(value) not in caplog.text


def test_a_column_without_values_is_left_out_of_the_shapes_and_told():
    def emptied(seed):
        values = people(600, seed=seed)
        values[:, HOURS] = np.nan
        return values

    found = judged(tables(emptied(3), training=emptied(1), holdout=emptied(2)))
    assert "Left out, having no value in training rows and release: hours." in found["column_shapes"].definition.note
    assert "age with hours" in found["pair_trends"].definition.note
    assert "town with hours" in found["correlation_difference"].definition.note
    assert all(m.estimate is not None for m in found.values())


def test_a_column_that_the_release_alone_lacks_costs_all_of_its_shape():
    synthetic = people(600, seed=3)
    synthetic[:, HOURS] = np.nan
    figures = {"column_shapes", "missingness"}
    found = judged(tables(synthetic, n=600), figures)
    whole = judged(tables(people(600, seed=3), n=600), figures)
    lost = whole["column_shapes"].estimate.value - found["column_shapes"].estimate.value
    assert lost == pytest.approx(1 / 6, abs=0.02)
    assert worse(found["missingness"], found["missingness"].ceiling)


def test_a_constant_number_goes_with_nothing():
    constant = people(2000, seed=3)
    constant[:, HOURS] = np.where(np.isnan(constant[:, HOURS]), np.nan, 20.0)
    figures = {"correlation_difference", "pair_trends"}
    found = judged(tables(constant), figures)
    assert worse(found["correlation_difference"], found["correlation_difference"].ceiling)
    both = judged(tables(constant, training=constant.copy()), figures)
    assert "group with hours" in both["correlation_difference"].definition.note
    assert "age with hours" in both["pair_trends"].definition.note


def test_two_constant_numbers_leave_nothing_to_compare():
    schema = parse_schema(
        {
            "population": "flat",
            "identity_type": "flat-row",
            "subject": "row",
            "columns": {name: {"kind": "integer", "bounds": [0, 9]} for name in ("one", "two")},
        },
        source="test",
    )
    flat = np.full((100, 2), 3.0)
    found = judged(Tables(training=dataset(flat, schema=schema), holdout=dataset(flat, schema=schema), synthetic=flat))
    for name in ("pair_trends", "correlation_difference"):
        assert found[name].reason == "not computable because no two columns vary in the training rows"
    assert found["pmse"].reason == "not computable because no column varies in either table"
    for name in ("tvd3", "k_marginal"):
        assert found[name].reason == "not computable because the table has fewer than 3 columns"
    assert found["missingness"].reason == "not computable because the schema lets no column be missing"
    assert found["constraint_violations"].reason == "not computable because the schema states no constraints"
    assert found["tvd2"].estimate.value == 0


# pMSE


def mixed(seed, n=2000, *, resampled=False):
    rng = np.random.default_rng(seed)
    real = people(n, seed=1000 + seed)
    released = real[rng.integers(0, n, n)] if resampled else people(n, seed=5000 + seed)
    return Mixed(values=np.vstack([real, released]), groups=np.arange(2 * n) % 20, released=np.arange(2 * n) >= n)


def ratio(found):
    return found.pmse[0] / found.expected


def test_pmse_of_one_population_is_as_expected_on_average():
    found = [ratio(propensity(mixed(seed), Codec(PEOPLE))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(1, abs=4 * np.std(found) / np.sqrt(20))
    assert np.std(found) < 0.5


def test_pmse_of_rows_drawn_anew_from_the_records_is_half_of_it():
    """The expectation of Snoke et al. 2018, who hold the records fixed: (k - 1)(1 - c)²c/N, which is half of ours at c = ½."""
    found = [ratio(propensity(mixed(seed, resampled=True), Codec(PEOPLE))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / np.sqrt(20))


def test_pmse_is_that_of_scikit_learns_logistic_regression():
    sample = mixed(3)
    sample.values[2000:, AGE] = np.random.default_rng(0).permutation(sample.values[2000:, AGE]) // 2 + 20
    x = design(Codec(PEOPLE), sample.values)
    model = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=200)
    p = model.fit(x, sample.released).predict_proba(x)[:, 1]
    found = propensity(sample, Codec(PEOPLE))
    assert found.pmse[0] == pytest.approx(((p - 0.5) ** 2).mean(), rel=1e-4)
    assert found.pmse[0] > 10 * found.expected
    assert np.linalg.matrix_rank(x) == x.shape[1], "the determined column adds no parameter"


def test_one_step_without_a_group_is_nearly_the_fit_without_it():
    sample = mixed(4)
    found = propensity(sample, Codec(PEOPLE))
    for group in (0, 7):
        kept = sample.groups != group
        refitted = propensity(
            Mixed(values=sample.values[kept], groups=sample.groups[kept], released=sample.released[kept]), Codec(PEOPLE)
        )
        assert found.pmse[1 + group] == pytest.approx(refitted.pmse[0], rel=0.02)


def test_rows_that_the_regression_would_know_by_heart_are_too_few():
    (pmse, _) = measured([PROPENSITY], tables(n=40))
    assert pmse.reason == "not computable because the table has too many columns for a regression of its rows"
    (fewer, _) = measured([PROPENSITY], tables(n=100))
    assert fewer.estimate is not None, "of the columns alone, without categories and products"


def test_a_category_that_one_table_alone_has_is_no_obstacle():
    synthetic = people(1500, seed=3)
    synthetic[:, [GROUP, RANK, TOWN]] = [2.0, 2.0, 3.0]
    (pmse, found) = measured([PROPENSITY], tables(synthetic, n=1500))
    assert worse(found, found.ceiling)
    assert 0.05 < pmse.estimate.value <= 0.25


def wide(columns):
    names = [f"number{place}" for place in range(columns)]
    return parse_schema(
        {
            "population": "wide",
            "identity_type": "wide-row",
            "subject": "row",
            "columns": {name: {"kind": "integer", "bounds": [0, 9]} for name in names},
        },
        source="test",
    )


@pytest.mark.parametrize(("columns", "parameters"), [(20, 1 + 20 + 190), (40, 1 + 40)])
def test_products_are_left_out_where_they_would_be_too_many(columns, parameters):
    values = np.random.default_rng(0).integers(0, 10, (4000, columns)).astype(float)
    assert design(Codec(wide(columns)), values).shape == (4000, parameters)


def test_a_table_too_wide_for_the_regression_is_told():
    with pytest.raises(NotComputableError, match="too many columns"):
        design(Codec(wide(400)), np.zeros((5000, 400)))


def test_a_number_that_varies_for_one_person_alone_is_computable():
    training = people(600, seed=1)
    training[:, AGE] = 40.0
    training[0, AGE] = 41.0
    figures = ("pair_trends", "correlation_difference", "column_shapes")
    found = judged(tables(training=training, n=600), set(figures))
    for name in figures:
        assert found[name].estimate is not None, name
