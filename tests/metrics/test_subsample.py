"""A subsample keeps people whole and the target's shares, and says how many times larger the table is."""

from dataclasses import replace

import numpy as np
import pytest
from planted_tables import HOURS, PASSED, PEOPLE, dataset, people, tables

from workbench.metrics.subsample import subsample, subsample_values, subsampled
from workbench.schema.codec import Codec
from workbench.schema.schema import parse_schema


def rng(seed=0):
    return np.random.default_rng(seed)


def test_people_are_kept_whole_and_the_factor_is_told():
    whole = dataset(people(6000, seed=1), rows_each=3)
    found = subsample(whole, 1500, rng=rng())
    _, rows = np.unique(found.part.points, return_counts=True)
    assert set(rows) == {3}
    assert len(found.part) == pytest.approx(1500, abs=6)
    assert found.factor == pytest.approx(6000 / len(found.part))
    assert (np.diff(found.part.points.astype(float)) >= 0).all(), "still in canonical order"


def test_strata_keep_their_shares():
    values = people(5000, seed=1)
    values[:, PASSED] = np.arange(5000) % 50 == 0
    for seed in range(5):
        assert subsample(dataset(values), 1000, rng=rng(seed)).part.target.sum() == 20
        found = subsample_values(Codec(PEOPLE), values, 1000, rng=rng(seed))
        assert found.part[:, PASSED].sum() == 20
        assert (len(found.part), found.factor) == (1000, 5.0)


def test_a_rare_class_keeps_somebody():
    values = people(5000, seed=1)
    values[:, PASSED] = np.arange(5000) < 1
    assert subsample(dataset(values), 100, rng=rng()).part.target.sum() == 1


def test_every_subject_of_a_stratum_is_as_likely():
    values, drawn = people(200, seed=1), np.zeros(200)
    for seed in range(300):
        drawn[np.isin(np.arange(200), subsample(dataset(values), 50, rng=rng(seed)).part.points)] += 1
    assert drawn.min() > 40
    assert drawn.max() < 110, "75 on average, with a spread of 7.5"


def test_a_small_table_is_itself():
    whole = dataset(people(100, seed=1))
    found = subsample(whole, 100, rng=rng())
    assert found.part is whole
    assert found.factor == 1.0
    assert subsample_values(whole.codec, whole.values, 500, rng=rng()).part is whole.values


def test_a_number_is_stratified_by_its_cells_and_without_a_target_there_is_one_stratum():
    document = PEOPLE.model_dump(mode="json", exclude_defaults=True)
    document["columns"]["passed"].pop("role")
    plain = parse_schema(document, source="test")
    document["columns"]["hours"] |= {"role": "target", "missing": False}
    by_hours = parse_schema(document, source="test")
    values = np.nan_to_num(people(4000, seed=1), nan=20.0)
    found = subsample(dataset(values, schema=by_hours), 400, rng=rng()).part
    shares = [np.bincount((v[:, HOURS] // 5).astype(int), minlength=11) / len(v) for v in (values, found.values)]
    np.testing.assert_allclose(*shares, atol=0.003)
    assert len(subsample(dataset(values, schema=plain), 400, rng=rng()).part) == 400


def test_equal_generators_draw_equal_rows():
    whole = dataset(people(1000, seed=1))
    one, other = (subsample(whole, 200, rng=rng(3)).part for _ in range(2))
    np.testing.assert_array_equal(one.values, other.values)


def test_how_much_of_a_release_is_looked_at_is_told_whatever_the_real_tables_size():
    whole = tables(n=1000)
    assert subsampled(whole, 5000).part.looked_at == 1
    assert subsampled(whole, 250).part.looked_at == 4
    assert subsampled(subsampled(whole, 500).part, 250).part.looked_at == 4
    assert subsampled(replace(whole, synthetic=people(200, seed=3)), 250).part.looked_at == 1
