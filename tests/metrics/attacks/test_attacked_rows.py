"""What attacks are made of: distances, densities, sides, descriptions and copies, against brute force and by hand."""

import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import people
import pytest
from people import SCHEMA, tables
from sklearn.neighbors import NearestNeighbors

from workbench.metrics.attacks._tools.attack_split import one_row_each, per_subject, sides
from workbench.metrics.attacks._tools.mixed_distance import distances, placed
from workbench.metrics.attacks._tools.nearest_rows import BANDWIDTH, closeness
from workbench.metrics.attacks.copies import EXACT
from workbench.metrics.attacks.dcr import CLOSEST
from workbench.metrics.attacks.linkability import LINKABILITY
from workbench.metrics.attacks.outliers import MOST, _far, _threshold
from workbench.metrics.attacks.singling_out import SINGLING_OUT, Term, fits, multivariate, univariate
from workbench.metrics.measure import measured
from workbench.metrics.tables import Tables
from workbench.schema import Codec, Schema

CODEC = Codec(SCHEMA)
RANGES = {0: 72.0, 2: 3.0, 3: 1000.0, 4: 1000.0}


def apart(a, b, left_out=()):
    """The distance of two rows, column by column."""
    total = 0.0
    for c in range(7):
        if c in left_out:
            continue
        if c in RANGES:
            low = 18.0 if c == 0 else 0.0
            x, y = (-1.0 if np.isnan(v) else (v - low) / RANGES[c] for v in (a[c], b[c]))
            total += abs(x - y)
        else:
            total += float(not (a[c] == b[c] or (np.isnan(a[c]) and np.isnan(b[c]))))
    return total


@pytest.mark.parametrize("left_out", [(), (1, 3), (0, 2, 3, 4), (1, 5, 6)])
def test_distances_are_those_of_a_comparison_column_by_column(left_out):
    rng = np.random.default_rng(0)
    a, b = people.values(40, rng), people.values(60, rng)
    got = np.empty((40, 60))
    for block, found in distances(placed(a, CODEC, without=left_out), placed(b, CODEC, without=left_out)):
        got[block] = found
    np.testing.assert_allclose(got, [[apart(x, y, left_out) for y in b] for x in a], atol=1e-5)


@pytest.mark.parametrize("most", [0, 5, 13, 20])
def test_columns_of_many_categories_are_compared_to_the_same_end(most, monkeypatch):
    rng = np.random.default_rng(0)
    a, b = people.values(40, rng), people.values(60, rng)
    monkeypatch.setattr("workbench.metrics.attacks._tools.mixed_distance._MOST_CELLS", most)
    assert placed(a, CODEC).categories.shape[1] <= most
    for left_out in ((), (1, 3)):
        ((_, found),) = distances(placed(a, CODEC, without=left_out), placed(b, CODEC, without=left_out))
        np.testing.assert_allclose(found, [[apart(x, y, left_out) for y in b] for x in a], atol=1e-5)
    points = [placed(rows, CODEC).points for rows in (a, b)]
    expected = [[apart(x, y) for y in b] for x in a]
    np.testing.assert_allclose(np.abs(points[0][:, None] - points[1]).sum(axis=2), expected, atol=1e-5)


def test_many_categories_take_no_more_memory_than_their_codes():
    rng = np.random.default_rng(0)
    document = TOWNS.model_dump(mode="json", exclude_defaults=True)
    document["columns"]["town"]["categories"] = [f"t{i}" for i in range(3000)]
    codec = Codec(Schema.model_validate(document))
    values = np.column_stack([rng.integers(0, 3000, 5000), rng.integers(0, 2, 5000)]).astype(float)
    tracemalloc.start()
    nearest = closeness(placed(values[:100], codec), placed(values, codec)).nearest
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (nearest == 0).all()
    assert peak < 30e6, "one-hot would be 60 MB"


def test_points_have_the_same_distances_and_equal_rows_have_none():
    rng = np.random.default_rng(1)
    a, b = people.values(50, rng), people.values(80, rng)
    points = [placed(rows, CODEC).points for rows in (a, b)]
    nearest = NearestNeighbors(n_neighbors=1, metric="manhattan").fit(points[1]).kneighbors(points[0])[0][:, 0]
    np.testing.assert_allclose(closeness(placed(a, CODEC), placed(b, CODEC)).nearest, nearest, atol=1e-5)
    assert (closeness(placed(a, CODEC), placed(a, CODEC)).nearest == 0).all()


def test_blocks_are_of_no_matter(monkeypatch):
    rng = np.random.default_rng(2)
    a, b = (placed(people.values(100, rng), CODEC) for _ in range(2))
    whole = closeness(a, b)
    monkeypatch.setattr("workbench.metrics.attacks._tools.mixed_distance._BLOCK", 700)
    parts = closeness(a, b)
    np.testing.assert_allclose(parts.nearest, whole.nearest, atol=1e-6)
    np.testing.assert_allclose(parts.density, whole.density, atol=1e-5)


def test_the_density_is_the_mean_kernel():
    rng = np.random.default_rng(3)
    a, b = people.values(20, rng), people.values(30, rng)
    expected = [np.log(np.mean([np.exp(-apart(x, y) / BANDWIDTH) for y in b])) for x in a]
    np.testing.assert_allclose(closeness(placed(a, CODEC), placed(b, CODEC)).density, expected, atol=1e-4)


def test_nobody_is_on_two_sides_and_all_rows_of_a_person_are_on_one():
    of = tables(0, n=2000, held=2000, each=2)
    found = sides(of, members=300, controls=200)
    everybody = [set(side.points.tolist()) for side in (found.members, found.controls, found.reference, found.stand_in)]
    assert sum(map(len, everybody)) == len(set().union(*everybody))
    assert [len(side) for side in everybody[:2]] == [300, 200]
    assert len(found.members) == 600
    assert everybody[0] <= set(of.training.points.tolist())
    assert set().union(*everybody[1:]) <= set(of.holdout.points.tolist())


def test_one_row_is_drawn_of_each_person_and_scores_are_means():
    of = tables(0, n=200, each=2).training
    drawn = one_row_each(of, np.random.default_rng(0))
    assert len(drawn) == len(np.unique(drawn.points)) == 100
    assert {row.tobytes() for row in drawn.values} <= {row.tobytes() for row in of.values}
    points = np.array([5, 3, 5, 4], dtype=np.uint64)
    np.testing.assert_allclose(per_subject(np.array([1.0, 2.0, 3.0, 7.0]), points), [2.0, 7.0, 2.0])


def test_outlying_are_the_farthest_on_both_sides_by_one_threshold():
    rng = np.random.default_rng(4)
    members, controls = rng.random(MOST), rng.random(500)
    threshold = _threshold(members, controls)
    assert (controls >= threshold).sum() == 100
    assert (members >= threshold).sum() >= 100
    many = rng.random(MOST), rng.random(MOST)
    assert np.mean(np.concatenate(many) >= _threshold(*many)) == pytest.approx(0.01, rel=1e-3)


def test_far_is_who_differs_from_the_population():
    rng = np.random.default_rng(5)
    rows = people.values(300, rng)
    rows[0] = [18, np.nan, 3, np.nan, 1000, 3, 0]
    side = people.dataset(rows, rng)
    far = _far(side, placed(people.values(500, rng), CODEC))
    odd = side.points[np.isnan(side.values[:, 3]) & (side.values[:, 4] == 1000)]
    assert np.unique(side.points)[far.argmax()] == odd[0]


COLUMNS = np.array([[1.0, 2.0, 2.0, np.nan], [5.0, 6.0, 7.0, 7.0]])


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ((Term(0, "is", 2.0),), [0, 1, 1, 0]),
        ((Term(0, "missing", 0.0),), [0, 0, 0, 1]),
        ((Term(0, "at most", 2.0), Term(1, "at least", 6.0)), [0, 1, 1, 0]),
        ((Term(0, "at least", 2.0), Term(1, "is", 7.0)), [0, 0, 1, 0]),
    ],
)
def test_a_description_fits_the_rows_that_it_says(description, expected):
    assert fits(description, COLUMNS).tolist() == [bool(e) for e in expected]


def test_descriptions_by_one_column_are_values_had_alone_and_what_lies_outside():
    """By hand: ages 20, 20, 30; towns a, b, b; all else constant, and one income missing."""
    rows = np.array([[20, 0, 1, 5, 5, 0, 1], [20, 1, 1, 5, 5, 0, 1], [30, 1, 1, np.nan, 5, 0, 1]], dtype=float)
    found = {description[0] for description in univariate(rows, CODEC, np.random.default_rng(0))}
    outside = {Term(c, relation, v) for c, v in ((3, 5.0), (4, 5.0)) for relation in ("at most", "at least")}
    ages = {Term(0, "is", 30.0), Term(0, "at most", 20.0), Term(0, "at least", 30.0)}
    assert found == ages | {Term(1, "is", 0.0), Term(3, "missing", 0.0)} | outside


TOWNS = Schema.model_validate(
    {
        "population": "towns",
        "identity_type": "towns-person",
        "subject": "person",
        "columns": {
            "person": {"kind": "identifier", "role": "subject_id"},
            "town": {"kind": "categorical", "role": "quasi_identifier", "categories": [f"t{i}" for i in range(300)]},
            "loan": {"kind": "boolean", "role": "target"},
        },
    }
)


def towns(n, rng):
    """Few large towns and many small ones: in these some live alone, in rows drawn uniformly from the domain nobody does."""
    return np.column_stack([np.minimum(rng.zipf(1.3, n), 300) - 1, rng.integers(0, 2, n)]).astype(float)


def test_who_is_singled_out_is_told_where_public_rows_single_nobody_out():
    rng = np.random.default_rng(0)
    training, holdout = (people.dataset(towns(5000, rng), rng, schema=TOWNS) for _ in range(2))
    found = by_name(
        SINGLING_OUT[0], Tables(training=training, holdout=holdout, synthetic=rng.permutation(training.values))
    )
    rate, risk = found["singling_out_univariate_rate"], found["singling_out_univariate_risk"]
    assert rate.estimate.low > 0.3
    assert (rate.baseline, rate.reason) == (None, "")
    assert risk.estimate
    assert risk.ceiling


def test_who_is_singled_out_is_told_where_the_stand_in_singles_nobody_out():
    rng = np.random.default_rng(0)
    training, holdout = (people.dataset(towns(5000, rng), rng, schema=TOWNS) for _ in range(2))
    holdout.values[holdout.slice_points >= 3 * 2**62, 0] = 0.0
    found = by_name(
        SINGLING_OUT[0], Tables(training=training, holdout=holdout, synthetic=rng.permutation(training.values))
    )
    assert found["singling_out_univariate_risk"].estimate
    assert found["singling_out_univariate_risk"].ceiling is None
    nobody = Tables(training=training, holdout=holdout, synthetic=np.tile([[0.0, 0.0], [1.0, 1.0]], (50, 1)))
    assert "no row of the release" in by_name(SINGLING_OUT[0], nobody)["singling_out_univariate_rate"].reason


def test_descriptions_are_made_when_it_is_their_turn():
    release = np.random.default_rng(0).random((20_000, 7))
    tracemalloc.start()
    next(univariate(release, CODEC, np.random.default_rng(0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * release.nbytes


def test_descriptions_by_several_columns_fit_one_row_of_the_release():
    rows = people.values(300, np.random.default_rng(6))
    found = [d for _, d in zip(range(50), multivariate(rows, CODEC, np.random.default_rng(0)), strict=False)]
    assert len(found) == 50
    assert all(fits(description, rows.T).sum() == 1 for description in found)


def by_name(metric, of):
    return {m.definition.name.removeprefix("disclosure/"): m for m in measured([metric], of)}


def test_copies_are_counted_by_hand():
    rng = np.random.default_rng(7)
    real, other, fresh = people.values(40, rng), people.values(20, rng), people.values(10, rng)
    synthetic = np.concatenate([np.repeat(real[:1], 5, axis=0), real[1:4], other[:2], fresh])
    of = Tables(training=people.dataset(real, rng), holdout=people.dataset(other, rng), synthetic=synthetic)
    found = by_name(EXACT, of)
    assert found["exact_copies"].estimate.value == 8 / 20
    assert found["exact_copies"].ceiling.value == 2 * 2 / 20  # twice as many in training
    assert found["excess_copies"].estimate.value == pytest.approx((4 / 40 - 2 / 20) / (1 - 2 / 20))
    assert found["most_copied"].estimate.value == 5 / 20
    assert found["most_copied"].ceiling.value == 1 / 20


def crowded(rows, seed):
    """Rows of few kinds, zeros of either sign and missing values among them."""
    return np.random.default_rng(seed).choice([0.0, -0.0, 1.0, np.nan], (rows, 6), p=[0.5, 0.2, 0.2, 0.1])


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_those_that_a_comparison_row_by_row_finds(seed):
    rng = np.random.default_rng(seed)
    schema = Schema.model_validate(
        SCHEMA.model_dump(mode="json", exclude_defaults=True)
        | {
            "columns": {"person": {"kind": "identifier", "role": "subject_id"}}
            | {c: {"kind": "boolean"} for c in "abcdef"}
        }
    )
    training, holdout = (people.dataset(crowded(n, seed + n), rng, each=2, schema=schema) for n in (60, 40))
    release = crowded(50, seed)
    found = by_name(EXACT, Tables(training=training, holdout=holdout, synthetic=release))
    copies = Counter(map(plain, release))
    owners = {}
    for side in (training, holdout):
        for row, point in zip(side.values, side.points, strict=True):
            owners.setdefault(plain(row), set()).add((side is holdout, int(point)))
    assert (
        found["exact_copies"].estimate.value
        == sum(k for r, k in copies.items() if r in map(plain, training.values)) / 50
    )
    shares = [
        np.mean([any(plain(r) in copies for r in side.values[side.points == p]) for p in np.unique(side.points)])
        for side in (training, holdout)
    ]
    assert found["excess_copies"].estimate.value == pytest.approx((shares[0] - shares[1]) / (1 - shares[1]))
    for held, most in ((False, found["most_copied"].estimate), (True, found["most_copied"].ceiling)):
        alone = [copies[r] for r, who in owners.items() if len(who) == 1 and next(iter(who))[0] == held]
        assert most.value == max(alone, default=0) / 50


def test_where_every_control_is_copied_the_other_figures_stand():
    of = tables(9, n=40, held=40)
    found = by_name(EXACT, replace(of, synthetic=np.concatenate([of.holdout.values, of.training.values])))
    assert "every control" in found["excess_copies"].reason
    assert found["exact_copies"].estimate.value == 0.5
    assert found["most_copied"].estimate


def plain(row):
    return tuple(None if np.isnan(v) else float(v) for v in row)


def test_a_row_that_two_people_share_is_nobodys_copy():
    rng = np.random.default_rng(8)
    real = people.values(40, rng)
    real[1] = real[0]
    synthetic = np.concatenate([np.repeat(real[:1], 5, axis=0), people.values(15, rng)])
    of = Tables(
        training=people.dataset(real, rng), holdout=people.dataset(people.values(20, rng), rng), synthetic=synthetic
    )
    found = by_name(EXACT, of)
    assert found["exact_copies"].estimate.value == 5 / 20
    assert found["most_copied"].estimate.value == 0


def test_distances_to_closest_records_are_scikit_learns_and_labelled():
    of = tables(3, n=600, held=400, release=people.memorised)
    found = by_name(CLOSEST, of)
    release, training = (placed(rows, CODEC).points for rows in (of.synthetic, of.training.values))
    two = NearestNeighbors(n_neighbors=2, metric="manhattan").fit(training).kneighbors(release)[0]
    assert found["dcr"].estimate.value == pytest.approx(np.quantile(two[:, 0], 0.5, method="inverted_cdf"), abs=1e-5)
    ratio = two[:, 0] / two[:, 1]
    assert found["nndr"].estimate.value == pytest.approx(np.quantile(ratio, 0.5, method="inverted_cdf"), abs=1e-4)
    assert all("not a privacy measure" in m.definition.note for m in found.values())


def test_halves_that_fit_many_rows_link_to_nobody():
    """A release of one row again and again is nearest to everybody, and links nobody."""
    of = tables(9, n=200, held=200, release=lambda real, _: np.tile(real[:1], (100, 1)))
    assert by_name(LINKABILITY, of)["linkability_rate"].estimate.value == 0
    few = tables(9, n=200, held=200, release=lambda real, _: np.tile(real[:1], (5, 1)))
    assert by_name(LINKABILITY, few)["linkability_rate"].estimate.value == 1
