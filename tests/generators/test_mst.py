"""MST: what it charges, what one subject can change, what it keeps, and that it finds the structure of a table."""

import json
import math
from itertools import combinations

import numpy as np
import pytest
from dp_accounting import ZCDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from workbench.errors import InputError
from workbench.generators.marginals import fitted as fitted_module
from workbench.generators.marginals import measurement_log
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import Measurement
from workbench.generators.marginals.fitted import load_marginals
from workbench.generators.marginals.initial_measurements import measure_all
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.model import GraphicalModel
from workbench.generators.mst import Mst, pair_scores, select_tree
from workbench.privacy.calibration import epsilon_of

DOMAIN = Domain(("a", "b", "c", "d"), (4, 3, 5, 2))
PAIRS = list(combinations(DOMAIN.names, 2))
MST = Mst(epsilon=1.0, delta=1e-5)


def correlated(n, rng):
    """d follows c closely, b follows a; c and a are independent."""
    a, c = rng.integers(0, 4, n), rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.09, 0.01])
    b = np.where(rng.random(n) < 0.8, np.minimum(a, 2), rng.integers(0, 3, n))
    d = np.where(rng.random(n) < 0.9, (c > 0).astype(int), rng.integers(0, 2, n))
    return np.stack([a, b, c, d], axis=1)


def rows_of(records, domain=DOMAIN, k=1):
    return Rows(domain, (records,), k)


def fit(records, domain=DOMAIN, k=1, **more):
    return MST.fit(rows_of(records, domain, k), Notebook(), **more)


@pytest.fixture(scope="module")
def fitted():
    return fit(correlated(20_000, np.random.default_rng(0)))


@pytest.fixture
def spent(monkeypatch):
    """The zCDP price of each call of a mechanism, for subjects with k rows (`spent.k`)."""

    class Spent(list):
        k = 1

    prices = Spent()
    gaussian, select = measurement_log.gaussian_counts, measurement_log.choose

    def spy_gaussian(counts, *, sigma):
        prices.append(prices.k**2 / (2 * sigma**2))
        return gaussian(counts, sigma=sigma)

    def spy_choose(scores, *, epsilon, sensitivity):
        # the true sensitivity of scores in 1/1024 rows against the declared one
        prices.append((epsilon * (1024 * prices.k / sensitivity)) ** 2 / 8)
        return select(scores, epsilon=epsilon, sensitivity=sensitivity)

    monkeypatch.setattr(measurement_log, "gaussian_counts", spy_gaussian)
    monkeypatch.setattr(measurement_log, "choose", spy_choose)
    return prices


@pytest.mark.parametrize("n_columns", [1, 2, 4])
@pytest.mark.parametrize("k", [1, 7])
def test_the_pieces_cost_the_event_and_no_more(n_columns, k, spent):
    spent.k = k
    domain = Domain(DOMAIN.names[:n_columns], DOMAIN.sizes[:n_columns])
    records = correlated(500, np.random.default_rng(1))[:, :n_columns]
    fit(records, domain, k)
    assert len(spent) == n_columns + 2 * (n_columns - 1)
    assert sum(spent) <= MST.rho
    assert sum(spent) == pytest.approx(MST.rho, rel=1e-9)


def test_the_event_costs_the_epsilon_asked_for():
    assert MST.event == ZCDpEvent(MST.rho)
    assert 0.999 < epsilon_of(MST.event, 1e-5) <= 1.0


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-5), (-1, 1e-5), (math.nan, 1e-5), (1, 0), (1, 1)])
def test_impossible_budgets_are_refused_before_anything_is_read(epsilon, delta):
    with pytest.raises(InputError):
        Mst(epsilon=epsilon, delta=delta)


# --- sensitivity: brute force over tables that differ by one subject --------------------------------------------------

neighbours = st.integers(1, 5).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.integers(0, 2**32 - 1),
        st.lists(st.tuples(*[st.integers(0, size - 1) for size in DOMAIN.sizes]), min_size=1, max_size=k),
    )
)


@settings(max_examples=60, deadline=None)
@given(neighbours)
def test_one_subject_moves_a_marginal_by_at_most_its_rows(case):
    k, seed, rows = case
    rest = np.random.default_rng(seed).integers(0, DOMAIN.sizes, size=(seed % 30, 4))
    whole = np.concatenate([rest, np.array(rows)])
    for clique in [("a",), ("a", "b"), ("d", "c")]:
        change = DOMAIN.count(whole, clique) - DOMAIN.count(rest, clique)
        assert np.abs(change).sum() <= k
        assert (change**2).sum() <= k**2


@settings(max_examples=60, deadline=None)
@given(neighbours)
def test_one_subject_moves_a_score_by_at_most_its_rows(case):
    k, seed, rows = case
    rng = np.random.default_rng(seed)
    rest = rng.integers(0, DOMAIN.sizes, size=(seed % 30, 4))
    whole = np.concatenate([rest, np.array(rows)])
    singles = tuple((name,) for name in DOMAIN.names)
    potentials = tuple(rng.normal(size=size) for size in DOMAIN.sizes)
    public = GraphicalModel(DOMAIN, singles, potentials, float(rng.uniform(1, 60)))
    before, after = pair_scores(rows_of(rest), public, PAIRS), pair_scores(rows_of(whole), public, PAIRS)
    assert max(abs(after[pair] - before[pair]) for pair in before) <= 1024 * k


def test_the_bounds_are_reached():
    """k equal rows in a cell where nothing is expected: noise for less than k would not protect this subject."""
    k = 5
    rows = np.zeros((k, 4), dtype=np.int64)
    none = rows[:0]
    assert (DOMAIN.count(rows, ("a", "b")) ** 2).sum() == k**2
    far = tuple(np.where(np.arange(size) == size - 1, 0.0, -1e3) for size in DOMAIN.sizes)
    public = GraphicalModel(DOMAIN, tuple((name,) for name in DOMAIN.names), far, 10.0)
    before, after = pair_scores(rows_of(none), public, PAIRS), pair_scores(rows_of(rows), public, PAIRS)
    assert all(after[pair] - before[pair] == 1024 * k for pair in before)


def test_scores_are_the_distance_from_independence():
    records = correlated(300, np.random.default_rng(2))
    zero = tuple(np.zeros(size) for size in DOMAIN.sizes)
    uniform = GraphicalModel(DOMAIN, tuple((name,) for name in DOMAIN.names), zero, 300.0)
    for (a, b), score in pair_scores(rows_of(records), uniform, PAIRS).items():
        expected = np.full(DOMAIN.shape((a, b)), 300 / DOMAIN.cells((a, b)))
        assert score / 1024 == pytest.approx(np.abs(DOMAIN.count(records, (a, b)) - expected).sum(), abs=0.02)


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_measurements_spread_the_budget_by_size():
    """Least expected total noise: sigma falls with the cube root of the number of cells."""
    records = correlated(100, np.random.default_rng(3))
    small, large = measure_all(rows_of(records), [("d",), ("a", "b")], Notebook(), rho=0.5)
    assert small.sigma / large.sigma == pytest.approx((12 / 2) ** (1 / 3))
    assert small.sigma**-2 / 2 + large.sigma**-2 / 2 == pytest.approx(0.5)


def test_the_tree_joins_what_belongs_together():
    records = correlated(20_000, np.random.default_rng(4))
    singles = tuple((name,) for name in DOMAIN.names)
    logs = tuple(np.log(DOMAIN.count(records, name) + 1.0) for name in singles)
    edges = select_tree(rows_of(records), GraphicalModel(DOMAIN, singles, logs, 20_000.0), Notebook(), rho=0.1)
    assert {("a", "b"), ("c", "d")} <= set(edges)
    assert len(edges) == 3
    assert {name for edge in edges for name in edge} == set(DOMAIN.names)


def test_a_fit_reproduces_pairs_and_total(fitted):
    records = correlated(20_000, np.random.default_rng(0))
    rows = fitted.sample(20_000, rng=np.random.default_rng(1))
    DOMAIN.check(rows)
    for pair in [("a", "b"), ("c", "d"), ("a", "c")]:
        distance = np.abs(DOMAIN.count(rows, pair) - DOMAIN.count(records, pair)).sum() / 40_000
        assert distance < 0.02
    assert abs(fitted.total - 20_000) < 200


def test_the_default_sample_size_is_the_noisy_total(fitted):
    assert len(fitted.sample(rng=np.random.default_rng(0))) == round(fitted.total)


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_or_single_row_table_can_be_fitted(n):
    fitted = fit(np.zeros((n, 4), dtype=np.int64))
    assert fitted.total >= 1
    DOMAIN.check(fitted.sample(50, rng=np.random.default_rng(0)))
    assert len(fitted.sample(rng=np.random.default_rng(0))) >= 1


def test_one_column_is_enough():
    domain = Domain(("a",), (4,))
    records = np.repeat([[0], [1], [3]], [500, 300, 200], axis=0)
    rows = fit(records, domain).sample(1000, rng=np.random.default_rng(0))
    assert np.abs(domain.count(rows, ("a",)) - [500, 300, 0, 200]).max() < 60


def test_rare_cells_are_merged_and_split_by_what_is_known():
    measured = Measurement(("a",), np.array([900.0, 4.0, 600.0, -8.0, 19.0]), 10.0)
    group = fitted_module.merge_rare(measured)
    np.testing.assert_array_equal(group, [0, 2, 1, 2, 2])
    shares = fitted_module.shares_of(measured, group)
    np.testing.assert_allclose(shares[[0, 2]], 1.0)
    assert 0 < shares[3] < shares[1] < shares[4]
    codes = np.repeat([2, 0, 1], [10_000, 40, 60])
    expanded = fitted_module._expand(codes, group, shares, rng=np.random.default_rng(0))
    expected = [40, 10_000 * shares[1], 60, 10_000 * shares[3], 10_000 * shares[4]]
    assert np.abs(np.bincount(expanded, minlength=5) - expected).max() <= 1


def test_a_single_rare_cell_is_left_alone():
    measured = Measurement(("a",), np.array([900.0, 4.0, 600.0]), 10.0)
    np.testing.assert_array_equal(fitted_module.merge_rare(measured), [0, 1, 2])


def test_codes_outside_the_domain_are_refused_before_any_mechanism_runs(spent):
    with pytest.raises(InputError, match="outside the domain"):
        fit(np.full((3, 4), 9))
    assert spent == []


def test_progress_rises_from_zero_to_one():
    told = []
    records = correlated(200, np.random.default_rng(5))
    fit(records, progress=lambda fraction, text, **_: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)


def test_pairs_of_too_many_cells_are_not_measured_and_their_columns_stay_independent(monkeypatch):
    monkeypatch.setattr("workbench.generators.mst.MOST_PAIR_CELLS", 9)
    model = fit(correlated(20_000, np.random.default_rng(0))).model
    assert {clique for clique in model.cliques if len(clique) == 2} == {("a", "d"), ("b", "d")}


@pytest.mark.slow
def test_two_hundred_columns():
    domain = Domain(tuple(f"c{i:03}" for i in range(200)), (6,) * 200)
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(-1, 2, (5_000, 200)), axis=1) % 6
    model = fit(walk, domain)
    rows = model.sample(5_000, rng=rng)
    near = domain.count(rows, ("c010", "c011")) / 5_000 - domain.count(walk, ("c010", "c011")) / 5_000
    assert np.abs(near).sum() / 2 < 0.2


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_saved_model_samples_the_same_rows(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = load_marginals(tmp_path)
    assert loaded.total == fitted.total
    rows = [model.sample(500, rng=np.random.default_rng(6)) for model in (fitted, loaded)]
    np.testing.assert_array_equal(*rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marginals.json", "marginals.safetensors"]


def cut_tensors(folder):
    path = folder / "marginals.safetensors"
    path.write_bytes(path.read_bytes()[:-16])


def edit_json(**changes):
    def corrupt(folder):
        path = folder / "marginals.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return corrupt


def edit_array(name, change):
    def corrupt(folder):
        arrays = load_file(folder / "marginals.safetensors")
        arrays[name] = change(arrays[name])
        save_file(arrays, folder / "marginals.safetensors")

    return corrupt


def add_array(folder):
    arrays = load_file(folder / "marginals.safetensors")
    save_file(arrays | {"rows": np.zeros(3)}, folder / "marginals.safetensors")


FAULTS = {
    "no description": lambda folder: (folder / "marginals.json").unlink(),
    "no arrays": lambda folder: (folder / "marginals.safetensors").unlink(),
    "not JSON": lambda folder: (folder / "marginals.json").write_text("{"),
    "not an object": lambda folder: (folder / "marginals.json").write_text("[]"),
    "cut short": cut_tensors,
    "other format": edit_json(format="mst-0"),
    "infinite total": edit_json(total=math.inf),
    "text total": edit_json(total="many"),
    "other sizes": edit_json(sizes=[4, 3, 5, 3]),
    "renamed column": edit_json(names=["a", "b", "c", "x"]),
    "missing clique": edit_json(cliques=[["a"]]),
    "infinite potential": edit_array("potential.0", lambda a: a + np.inf),
    "potential of another shape": edit_array("potential.0", lambda a: a[:-1].copy()),
    "potential of another type": edit_array("potential.0", lambda a: a.astype(np.float32)),
    "group out of range": edit_array("group.0", lambda a: a + 1),
    "negative group": edit_array("group.0", lambda a: a - 1),
    "negative share": edit_array("shares.0", lambda a: -a),
    "shares that do not sum to 1": edit_array("shares.0", lambda a: a / 2),
    "extra array": add_array,
}


@pytest.mark.parametrize("corrupt", FAULTS.values(), ids=FAULTS.keys())
def test_corrupt_files_are_refused(corrupt, fitted, tmp_path):
    fitted.save(tmp_path)
    corrupt(tmp_path)
    with pytest.raises(InputError):
        load_marginals(tmp_path)
