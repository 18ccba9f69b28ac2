"""The inference engine against brute force: the joint table of a small domain, enumerated cell by cell."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.elimination import junction_tree, tree_cells
from workbench.generators.marginals.estimate import Measurement, estimate, estimate_total
from workbench.generators.marginals.lbfgs import minimise
from workbench.generators.marginals.model import GraphicalModel, draw_in_groups

DOMAIN = Domain(("a", "b", "c", "d", "e"), (2, 3, 4, 1, 3))
CLIQUES = {
    "none": [],
    "empty clique": [(), ("a",)],
    "singles": [("a",), ("b",), ("c",), ("d",), ("e",)],
    "chain": [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")],
    "star": [("c", "a"), ("c", "b"), ("c", "e")],
    "disconnected": [("a", "b"), ("e", "c")],
    "missing columns": [("b", "e")],
    "cycle": [("a", "b"), ("b", "c"), ("c", "e"), ("e", "a")],
    "duplicates": [("a", "b"), ("b", "a"), ("a", "b"), ("b",)],
    "overlapping triples": [("a", "b", "c"), ("e", "c", "b"), ("b", "c"), ("a", "e")],
    "one inside another": [("b",), ("c", "b"), ("a", "b", "c"), ("b", "e"), ("c", "a"), (), ("b",)],
    "size-1 column only": [("d",)],
    "everything": [("e", "d", "c", "b", "a")],
}
every_shape = pytest.mark.parametrize("cliques", CLIQUES.values(), ids=CLIQUES.keys())


def potentials_for(domain, cliques, rng, scale=2.0):
    return tuple(rng.normal(scale=scale, size=domain.shape(clique)) for clique in cliques)


def joint_table(domain, cliques, potentials):
    """exp(sum of potentials) over the whole domain, by enumeration."""
    joint = np.zeros(domain.sizes)
    for cell in itertools.product(*map(range, domain.sizes)):
        at = dict(zip(domain.names, cell, strict=True))
        joint[cell] = math.exp(sum(p[tuple(at[name] for name in c)] for c, p in zip(cliques, potentials, strict=True)))
    return joint


def project(domain, joint, clique):
    outside = tuple(i for i, name in enumerate(domain.names) if name not in clique)
    kept = [name for name in domain.names if name in clique]
    return joint.sum(axis=outside).transpose([kept.index(name) for name in clique])


@every_shape
def test_inference_is_the_brute_force(cliques):
    potentials = potentials_for(DOMAIN, cliques, np.random.default_rng(1))
    joint = joint_table(DOMAIN, cliques, potentials)
    log_z, tables = junction_tree(DOMAIN, cliques).marginals(potentials)
    assert log_z == pytest.approx(math.log(joint.sum()), rel=1e-12)
    for clique, table in zip(cliques, tables, strict=True):
        np.testing.assert_allclose(table, project(DOMAIN, joint, clique) / joint.sum(), rtol=1e-10)


@every_shape
def test_any_marginal_of_a_model_is_the_brute_force(cliques):
    potentials = potentials_for(DOMAIN, cliques, np.random.default_rng(2))
    joint = joint_table(DOMAIN, cliques, potentials)
    model = GraphicalModel(DOMAIN, tuple(cliques), potentials, 70.0)
    for query in [(), ("a",), ("e", "a"), ("d", "b"), ("c", "a", "e"), DOMAIN.names]:
        np.testing.assert_allclose(model.marginal(query), 70 * project(DOMAIN, joint, query) / joint.sum(), rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_inference_is_the_brute_force_on_random_models(data):
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=6), label="sizes")
    domain = Domain(tuple(f"x{i}" for i in range(len(sizes))), tuple(sizes))
    columns = st.lists(st.sampled_from(domain.names), unique=True, max_size=3).map(tuple)
    cliques = data.draw(st.lists(columns, max_size=7), label="cliques")
    potentials = potentials_for(domain, cliques, np.random.default_rng(0))
    joint = joint_table(domain, cliques, potentials)
    tree = junction_tree(domain, cliques)
    log_z, tables = tree.marginals(potentials)
    assert log_z == pytest.approx(math.log(joint.sum()), abs=1e-10)
    for clique, table in zip(cliques, tables, strict=True):
        np.testing.assert_allclose(table, project(domain, joint, clique) / joint.sum(), rtol=1e-9)
    candidates = data.draw(st.lists(columns, max_size=4), label="candidates")
    trees = [junction_tree(domain, [*cliques, candidate]) for candidate in candidates]
    needed = [sum(domain.cells(bag.columns) for bag in tree.bags) for tree in trees]
    assert tree_cells(domain, cliques, candidates).tolist() == needed
    owners = [name for bag in tree.bags for name in bag.own]
    assert sorted(owners) == sorted(domain.names)
    assert all(bag.parent is None or bag.parent < i for i, bag in enumerate(tree.bags))


def test_extreme_potentials_do_not_overflow():
    potentials = (np.array([[0.0, -2000.0], [900.0, -2000.0]]), np.array([[1e4, 0.0], [0.0, 1e4]]))
    domain = Domain(("a", "b", "c"), (2, 2, 2))
    log_z, (ab, bc) = junction_tree(domain, [("a", "b"), ("b", "c")]).marginals(potentials)
    assert log_z == pytest.approx(10_900.0)
    np.testing.assert_allclose(ab, [[0, 0], [1, 0]], atol=1e-12)
    np.testing.assert_allclose(bc, [[1, 0], [0, 0]], atol=1e-12)


def test_a_model_too_large_for_memory_is_refused():
    names = tuple("abcdefgh")
    pairs = list(itertools.combinations(names, 2))  # a complete graph: one table over all columns
    with pytest.raises(InputError, match="table of 25600000000"):
        junction_tree(Domain(names, (20,) * 8), pairs)


# --- estimation -----------------------------------------------------------------------------------------------------


@every_shape
def test_estimation_recovers_noise_free_marginals(cliques):
    rng = np.random.default_rng(3)
    joint = rng.dirichlet(np.full(math.prod(DOMAIN.sizes), 2.0)).reshape(DOMAIN.sizes) * 1000
    measurements = [Measurement(clique, project(DOMAIN, joint, clique), 0.5 + i) for i, clique in enumerate(cliques)]
    model = estimate(DOMAIN, measurements, total=1000.0)
    for m in measurements:
        np.testing.assert_allclose(model.marginal(m.clique), m.values, atol=0.05)


def test_the_estimate_has_the_most_entropy_of_all_fits():
    """a - b - c measured as pairs: the answer is p(a, b) p(b, c) / p(b) (Lauritzen 1996); d is free, so uniform."""
    domain = Domain(("a", "b", "c", "d"), (2, 3, 2, 5))
    joint = np.random.default_rng(4).dirichlet(np.full(12, 3.0)).reshape(2, 3, 2) * 500
    ab, bc, b = joint.sum(axis=2), joint.sum(axis=0), joint.sum(axis=(0, 2))
    model = estimate(domain, [Measurement(("a", "b"), ab, 1.0), Measurement(("c", "b"), bc.T, 1.0)])
    expected = ab[:, :, None] * bc[None, :, :] / b[None, :, None]
    np.testing.assert_allclose(model.marginal(("a", "b", "c")), expected, atol=0.05)
    np.testing.assert_allclose(model.marginal(("d",)), 100.0, rtol=1e-6)


def best_fit(values, total):
    """The nearest non-negative table that sums to total, by bisection on the water level (an independent solution)."""
    low, high = values.min() - total, values.max()
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(values - level, 0).sum() > total else (low, level)
    return np.maximum(values - low, 0)


def test_a_single_noisy_marginal_is_projected_on_the_simplex():
    values = np.array([400.0, 30.0, -25.0, 90.0, -3.0, 12.0])
    model = estimate(Domain(("a",), (6,)), [Measurement(("a",), values, 10.0)])
    np.testing.assert_allclose(model.marginal(("a",)), best_fit(values, values.sum()), atol=0.5)


def test_the_misfit_is_the_root_mean_square_of_what_no_model_can_explain():
    measurements = [
        Measurement(("a",), np.array([30.0, -40.0, 60.0]), 10.0),
        Measurement(("b",), np.array([20.0, 30.0]), 5.0),
    ]
    model = estimate(Domain(("a", "b"), (3, 2)), measurements, total=50.0, shrinkage=0.0)
    away = [(model.marginal(m.clique) - m.values) / m.sigma for m in measurements]
    assert model.misfit == pytest.approx(math.sqrt((np.concatenate(away) ** 2).mean()), rel=1e-6)
    assert model.misfit > 2
    assert math.isnan(estimate(Domain(("a",), (3,)), [], total=50.0).misfit)


def test_repeated_measurements_count_by_their_precision():
    exact, wrong = np.array([[40.0, 10.0], [20.0, 30.0]]), np.array([[60.0, 0.0], [0.0, 40.0]])
    domain = Domain(("a", "b"), (2, 2))
    model = estimate(domain, [Measurement(("a", "b"), exact, 1.0), Measurement(("b", "a"), wrong.T, 2.0)])
    np.testing.assert_allclose(model.marginal(("a", "b")), 0.8 * exact + 0.2 * wrong, atol=0.05)


def test_conflicting_overlaps_reach_the_least_squares_optimum():
    """At an optimum with positive cells the gradient of the misfit is orthogonal to every change of the joint table."""
    rng = np.random.default_rng(5)
    domain = Domain(("a", "b", "c"), (3, 3, 2))
    cliques = [("a", "b"), ("b", "c"), ("c", "a"), ("b",)]
    noisy = [Measurement(c, 50 + rng.normal(scale=3, size=domain.shape(c)), 1.0 + i) for i, c in enumerate(cliques)]
    model = estimate(domain, noisy, total=450.0)
    gradient = np.zeros(domain.sizes)
    for m in noisy:
        slope = (model.marginal(m.clique) - m.values) / m.sigma**2
        order = sorted(range(len(m.clique)), key=lambda i: domain.position[m.clique[i]])
        shape = [size if name in m.clique else 1 for name, size in zip(domain.names, domain.sizes, strict=True)]
        gradient += slope.transpose(order).reshape(shape)
    assert np.ptp(gradient) < 0.01 * max(np.ptp(m.values) for m in noisy)


def test_total_is_the_inverse_variance_mean_of_the_sums():
    four, two = Measurement(("c",), np.full(4, 26.0), 1.0), Measurement(("a",), np.full(2, 45.0), 3.0)
    weights = np.array([1 / 4, 1 / 18])
    assert estimate_total([four, two]) == pytest.approx(weights @ [104, 90] / weights.sum())
    assert estimate_total([Measurement(("a",), np.array([-40.0, 3.0]), 9.0)]) == 1.0


def test_progress_rises_from_zero():
    told = []
    estimate(
        Domain(("a",), (3,)), [Measurement(("a",), np.arange(3.0), 1.0)], progress=lambda f, t: told.append((f, t))
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions[0] == 0
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1


@pytest.mark.parametrize(
    "bad",
    [
        Measurement(("a",), np.zeros(3), 1.0),
        Measurement(("a",), np.array([1.0, math.nan]), 1.0),
        Measurement(("a",), np.zeros(2), 0.0),
        Measurement(("z",), np.zeros(2), 1.0),
        Measurement(("a", "a"), np.zeros((2, 2)), 1.0),
    ],
    ids=["shape", "not finite", "no noise scale", "unknown column", "repeated column"],
)
def test_impossible_measurements_are_refused(bad):
    with pytest.raises(InputError):
        estimate(DOMAIN, [bad], total=10.0)


def test_minimise_solves_a_quadratic_in_about_one_evaluation_per_descent():
    rng = np.random.default_rng(13)
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    hessian = rotation @ np.diag(np.geomspace(1, 1e3, 40)) @ rotation.T
    linear, calls = rng.normal(size=40), []

    def quadratic(x):
        calls.append(x)
        return float(x @ hessian @ x / 2 - linear @ x), hessian @ x - linear

    found = minimise(quadratic, np.zeros(40), iterations=150)
    np.testing.assert_allclose(found, np.linalg.solve(hessian, linear), atol=1e-4)
    assert len(calls) < 200


def test_minimise_never_ends_above_its_start():
    """A function whose gradient lies: no descent exists along it."""
    start = np.array([1.0, 2.0])
    np.testing.assert_array_equal(minimise(lambda x: (float(x @ x), -x), start, iterations=5), start)


# --- sampling -------------------------------------------------------------------------------------------------------


@every_shape
def test_sampled_marginals_are_the_models(cliques):
    model = GraphicalModel(DOMAIN, tuple(cliques), potentials_for(DOMAIN, cliques, np.random.default_rng(6), 1.0), 1.0)
    n = 200_000
    rows = model.sample(n, rng=np.random.default_rng(7))
    assert rows.shape == (n, 5)
    assert rows.dtype == np.int64
    expected = n * model.marginal(DOMAIN.names)
    # all joint cells at once: also pairs that share no clique, so the shuffle leaves no order behind
    excess = (DOMAIN.count(rows, DOMAIN.names) - expected) / np.sqrt(expected + 1)
    assert np.abs(excess).max() < 5


def test_sampling_has_less_variance_than_independent_draws():
    domain = Domain(("a", "b"), (4, 5))
    potential = np.random.default_rng(8).normal(size=(4, 5))
    model = GraphicalModel(domain, (("a", "b"),), (potential,), 1.0)
    n = 1000
    counts = domain.count(model.sample(n, rng=np.random.default_rng(9)), ("a", "b"))
    assert np.abs(counts - n * model.marginal(("a", "b"))).max() < 1


def test_few_rows_are_unbiased():
    """Groups of one or two rows: each row's own distribution must be the group's."""
    cumulative = np.cumsum([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4]], axis=1)
    rng, counts = np.random.default_rng(10), np.zeros((3, 3))
    for _ in range(6000):
        counts[range(3), draw_in_groups(np.array([0, 1, 0]), cumulative, rng=rng)] += 1
    expected = np.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4], [0.2, 0.5, 0.3]])
    assert np.abs(counts / 6000 - expected).max() < 0.035  # 5 standard errors


def test_columns_drawn_from_one_parent_are_independent_given_it():
    """Were a group's rows filled in order and not shuffled, b and c would be copies of each other given a."""
    domain = Domain(("a", "b", "c"), (2, 2, 2))
    zeros = np.zeros((2, 2))
    model = GraphicalModel(domain, (("a", "b"), ("a", "c")), (zeros, zeros), 1.0)
    counts = domain.count(model.sample(80_000, rng=np.random.default_rng(11)), ("a", "b", "c"))
    assert np.abs(counts - 10_000).max() < 500


def test_equal_generators_give_equal_rows_over_many_blocks():
    model = GraphicalModel(DOMAIN, (("a", "b"),), (np.zeros((2, 3)),), 1.0)
    first, again = (model.sample(300_000, rng=np.random.default_rng(12)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    blocks = first[:131_072], first[131_072:262_144]
    assert not np.array_equal(*blocks)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_samples(n):
    model = GraphicalModel(DOMAIN, (("a", "b"),), (np.zeros((2, 3)),), 1.0)
    assert model.sample(n, rng=np.random.default_rng(0)).shape == (n, 5)


def test_negative_sample_size_is_refused():
    with pytest.raises(InputError, match="negative"):
        GraphicalModel(DOMAIN, (), (), 1.0).sample(-1, rng=np.random.default_rng(0))


# --- domain ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.permutations(["a", "c", "e"]))
def test_counts_are_the_brute_force(n, clique):
    rows = np.random.default_rng(n).integers(0, DOMAIN.sizes, size=(n, 5))
    table = np.zeros(DOMAIN.shape(clique), dtype=np.int64)
    for row in rows:
        table[tuple(row[DOMAIN.position[name]] for name in clique)] += 1
    np.testing.assert_array_equal(DOMAIN.count(rows, clique), table)


@given(st.lists(st.lists(st.sampled_from(DOMAIN.names), unique=True, max_size=3).map(tuple), max_size=9), st.booleans())
def test_counting_many_marginals_is_counting_each(cliques, columns_first):
    rows = np.random.default_rng(0).integers(0, DOMAIN.sizes, size=(40, 5))
    given_rows = np.asfortranarray(rows) if columns_first else rows
    for clique, table in zip(cliques, DOMAIN.counts(given_rows, cliques), strict=True):
        np.testing.assert_array_equal(table, DOMAIN.count(rows, clique))
        assert table.shape == DOMAIN.shape(clique)


@pytest.mark.parametrize(
    ("names", "sizes"),
    [((), ()), (("a",), (0,)), (("a",), (2.5,)), (("a", "a"), (2, 2)), (("a", "b"), (2,))],
)
def test_impossible_domains_are_refused(names, sizes):
    with pytest.raises(InputError, match=r"domain"):
        Domain(names, sizes)


@pytest.mark.parametrize(
    "records",
    [np.zeros((3, 4), dtype=np.int64), np.zeros((3, 5)), np.full((3, 5), -1), np.array([[0, 0, 0, 1, 0]])],
    ids=["columns", "type", "negative", "beyond the size"],
)
def test_records_outside_the_domain_are_refused(records):
    with pytest.raises(InputError, match=r"records must be int64|outside the domain"):
        DOMAIN.check(records)


@pytest.mark.parametrize("potential", [np.zeros(3), np.array([0.0, math.inf]), np.zeros(2, dtype=np.float32)])
def test_impossible_potentials_are_refused(potential):
    with pytest.raises(InputError, match="must be finite float64"):
        GraphicalModel(DOMAIN, (("a",),), (potential,), 1.0)


@pytest.mark.parametrize("total", [0.0, -3.0, math.nan, math.inf])
def test_impossible_totals_are_refused(total):
    with pytest.raises(InputError, match="total must be positive"):
        GraphicalModel(DOMAIN, (), (), total)
