"""Fidelity figures equal those of SDMetrics, scipy and plain definitions."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_tables import AGE, GROUP, HOURS, PASSED, PEOPLE, RANK, TOWN, by_name, dataset, people, shuffled, tables
from scipy.stats import pearsonr
from scipy.stats.contingency import association as scipy_association
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.single_column import KSComplement, TVComplement

from workbench.metrics import sample as sampling
from workbench.metrics.fidelity import mean_tvd
from workbench.metrics.fidelity.associations import association, association_matrix
from workbench.metrics.fidelity.marginals import K_MARGINALS, MARGINALS, _at, drawn_marginals, tvd
from workbench.metrics.fidelity.pairs import PAIRS, similarity
from workbench.metrics.fidelity.shapes import SHAPES, shape
from workbench.metrics.jackknife import GROUPS
from workbench.metrics.measure import measured
from workbench.metrics.registry import fidelity_metrics
from workbench.metrics.sample import sample_of
from workbench.metrics.tables import Tables
from workbench.schema import Schema

COLUMNS = list(PEOPLE.encoded)
NUMBERS = (AGE, HOURS)


@pytest.fixture(scope="module")
def small():
    skewed = people(300, seed=8)
    skewed[:, TOWN] = np.where(skewed[:, TOWN] == 2, 0, skewed[:, TOWN])
    skewed[:, AGE] = np.clip(skewed[:, AGE] + 6, 18, 81)
    return tables(np.vstack([skewed, shuffled(skewed)[:100]]), n=250)


@pytest.mark.parametrize("place", range(6))
def test_a_columns_shape_is_that_of_sdmetrics(small, place):
    real, synthetic = pd.Series(small.training.values[:, place]), pd.Series(small.synthetic[:, place])
    oracle = KSComplement if place in NUMBERS else TVComplement
    found = shape(
        sample_of(small, "training"),
        sample_of(small, "synthetic"),
        place=place,
        column=list(PEOPLE.encoded.values())[place],
    )
    assert found[0] == pytest.approx(oracle.compute(real, synthetic), abs=1e-12)
    assert found[0] < 1


def expected_trend(small, one, two):
    if one in NUMBERS and two in NUMBERS:
        real, synthetic = (pd.DataFrame(values[:, [one, two]]) for values in (small.training.values, small.synthetic))
        return CorrelationSimilarity.compute(real, synthetic)
    real, synthetic = (pd.DataFrame(small.bins[name][:, [one, two]]) for name in ("training", "synthetic"))
    return ContingencySimilarity.compute(real, synthetic)


def test_pair_trends_are_those_of_sdmetrics_on_the_public_cells(small):
    training, synthetic = sample_of(small, "training"), sample_of(small, "synthetic")
    expected = []
    for one, two in itertools.combinations(range(6), 2):
        expected.append(expected_trend(small, one, two))
        found = similarity(training, synthetic, small.codec, one, two)[0]
        assert found == pytest.approx(expected[-1], abs=1e-12), (COLUMNS[one], COLUMNS[two])
    (measure,) = measured([PAIRS], small)
    assert measure.estimate.value == pytest.approx(np.mean(expected))


def test_column_shapes_are_the_mean(small):
    (measure,) = measured([SHAPES], small)
    real, synthetic = small.training.values, small.synthetic
    expected = [
        (KSComplement if place in NUMBERS else TVComplement).compute(
            pd.Series(real[:, place]), pd.Series(synthetic[:, place])
        )
        for place in range(6)
    ]
    assert measure.estimate.value == pytest.approx(np.mean(expected))


def test_cramers_v_is_scipys(small):
    sample = sample_of(small, "synthetic")
    for one, two in itertools.combinations([GROUP, TOWN, PASSED], 2):
        table = pd.crosstab(sample.bins[:, one], sample.bins[:, two]).to_numpy()
        assert association(sample, small.codec, one, two)[0] == pytest.approx(scipy_association(table, method="cramer"))


def test_pearson_is_scipys_of_the_rows_that_have_both(small):
    there = small.synthetic[~np.isnan(small.synthetic[:, HOURS])]
    found = association(sample_of(small, "synthetic"), small.codec, AGE, HOURS)[0]
    assert found == pytest.approx(pearsonr(there[:, AGE], there[:, HOURS]).statistic)


def test_the_correlation_ratio_is_the_share_of_variance_between_groups(small):
    frame = pd.DataFrame(small.synthetic)[[GROUP, AGE]].to_numpy()
    between = sum(
        (frame[:, 0] == k).sum() * (frame[frame[:, 0] == k, 1].mean() - frame[:, 1].mean()) ** 2 for k in range(3)
    )
    expected = np.sqrt(between / ((frame[:, 1] - frame[:, 1].mean()) ** 2).sum())
    assert association(sample_of(small, "synthetic"), small.codec, AGE, GROUP)[0] == pytest.approx(expected)


def test_a_matrix_of_associations_is_symmetric_and_knows_what_determines_what(small):
    matrix = association_matrix(small, "training", most=60)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[GROUP, RANK] == pytest.approx(1)
    assert (np.diag(matrix) == 1).all()


@pytest.mark.parametrize("most_cells", [2**15, 1])
def test_distances_of_marginals_are_those_of_the_release_workflow(small, monkeypatch, most_cells):
    """Whether all cells are counted, or those that occur."""
    monkeypatch.setattr(sampling, "_MOST_CELLS", most_cells)
    found = by_name(measured(MARGINALS, small))
    real, synthetic = small.bins["training"], small.bins["synthetic"]
    for way in (1, 2, 3):
        expected = mean_tvd(real, synthetic, small.codec.sizes, way=way)
        assert found[f"tvd{way}"].estimate.value == pytest.approx(expected, abs=1e-12)
    assert K_MARGINALS > 20, "all marginals of this table"
    assert found["k_marginal"].estimate.value == pytest.approx(
        1000 * (1 - mean_tvd(real, synthetic, small.codec.sizes, way=3))
    )


def test_replicates_are_distances_without_the_rows_of_a_group(small):
    training, synthetic = sample_of(small, "training"), sample_of(small, "synthetic")
    found = tvd(training, synthetic, columns=(TOWN, HOURS), sizes=small.codec.sizes)
    sizes = [small.codec.sizes[place] for place in (TOWN, HOURS)]
    for group in range(GROUPS):
        kept = [s.bins[s.groups != group][:, [TOWN, HOURS]] for s in (training, synthetic)]
        assert found[1 + group] == pytest.approx(mean_tvd(*kept, sizes, way=2))


def test_missingness_and_violations_are_counted(small):
    found = by_name(measured(fidelity_metrics(small.codec.schema), small))
    patterns = [
        pd.DataFrame(np.isnan(v)).value_counts(normalize=True) for v in (small.training.values, small.synthetic)
    ]
    expected = patterns[0].sub(patterns[1], fill_value=0).abs().sum() / 2
    assert found["missingness"].estimate.value == pytest.approx(expected)
    broken = (small.synthetic[:, GROUP] != small.synthetic[:, RANK]).mean()
    assert broken > 0.1
    violations = found["constraint_violations"]
    assert violations.estimate.value == pytest.approx(broken)
    assert violations.estimate.low < broken < violations.estimate.high
    assert violations.ceiling.value == 0
    assert 0 < violations.ceiling.high < 3.7 / 250 + 0.001, (
        "none of 250 persons: the interval says at most about 3.7 in 250"
    )


def test_of_many_marginals_so_many_are_drawn_and_no_two_alike():
    these = tables(n=100)
    drawn = drawn_marginals(these, 3, 12)
    assert len(set(drawn)) == len(drawn) == 12
    assert all(len(set(columns)) == 3 for columns in drawn)
    assert drawn == drawn_marginals(tables(n=100), 3, 12), "the same for equal seeds"
    assert drawn != drawn_marginals(replace(these, seed=1), 3, 12)
    assert len(drawn_marginals(these, 3, 20)) == 20, "all of them"


@pytest.mark.parametrize(("d", "way"), [(6, 1), (6, 2), (9, 3), (5, 5)])
def test_sets_of_columns_are_those_of_a_list_of_all(d, way):
    every = list(itertools.combinations(range(d), way))
    assert [_at(place, d, way) for place in range(len(every))] == every


def test_of_a_wide_table_marginals_are_drawn_without_a_list_of_all():
    columns = {f"c{i}": {"kind": "boolean"} for i in range(400)}
    schema = Schema.model_validate(
        PEOPLE.model_dump(mode="json", exclude_defaults=True)
        | {"constraints": []}
        | {"columns": {"person": {"kind": "identifier", "role": "subject_id"}} | columns}
    )
    values = np.zeros((20, 400))
    wide = Tables(training=dataset(values, schema=schema), holdout=dataset(values, schema=schema), synthetic=values)
    tracemalloc.start()
    drawn = drawn_marginals(wide, 3, 400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6, "of 10,586,800"
    assert len(set(drawn)) == 400
    assert max(map(max, drawn)) > 390
