"""AIM: what it finds, what it may measure, and that rounds, shards, notes and conditions do what they say."""

import itertools
import json

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.generators.aim import MOST_CANDIDATES, Aim, candidates_of
from workbench.generators.independent import Independent
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.elimination import junction_tree
from workbench.generators.marginals.estimate import Forbidden
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.mst import Mst

DOMAIN = Domain(("a", "b", "c", "d"), (4, 3, 5, 2))
KINDS = [Aim, Mst, Independent]


def correlated(n, seed=0):
    """d is a function of a and b together, of neither alone; c is by itself."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(0, 4, n), rng.integers(0, 3, n), rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.06, 0.04])
    return np.stack([a, b, c, (a + b) % 2], axis=1)


def fit(kind=Aim, epsilon=1.0, records=None, shards=1, notebook=None, **more):
    records = correlated(20_000) if records is None else records
    parts = tuple(np.ascontiguousarray(records[i::shards]) for i in range(shards))
    return kind(epsilon=epsilon, delta=1e-5).fit(Rows(DOMAIN, parts, 1), notebook or Notebook(), **more)


def distance(fitted, records, clique):
    rows = fitted.sample(20_000, rng=np.random.default_rng(1))
    return np.abs(DOMAIN.count(rows, clique) / len(rows) - DOMAIN.count(records, clique) / len(records)).sum() / 2


def test_what_only_three_columns_together_show_is_found():
    records = correlated(20_000)
    assert distance(fit(Aim), records, ("a", "b", "d")) < 0.03
    assert distance(fit(Mst), records, ("a", "b", "d")) > 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_utility_rises_with_epsilon(kind):
    records = correlated(2_000)
    far, near = [
        np.mean([distance(fit(kind, epsilon, records), records, (name,)) for name in DOMAIN.names])
        for epsilon in (0.03, 10.0)
    ]
    assert near < far / 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [1, 4])
def test_the_whole_budget_is_spent_and_no_more(kind, shards):
    notebook = Notebook()
    fit(kind, shards=shards, notebook=notebook)
    rho = kind(epsilon=1.0, delta=1e-5).rho
    assert rho * (1 - 1e-6) < notebook.spent <= rho * (1 + 1e-12)


def test_shards_cost_noise_and_nothing_else():
    """Four shards: the sum of four noisy tables, each from a quarter of the rows."""
    notebook = Notebook()
    fitted = fit(Independent, shards=4, notebook=notebook)
    first = notebook.measurements[0]
    assert np.shape(first["values"]) == (4, 4)
    assert (
        np.abs(np.sum(first["values"], axis=0) - DOMAIN.count(correlated(20_000), ("a",))).max()
        < 6 * 2 * first["sigma"]
    )
    assert abs(fitted.total - 20_000) < 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_was_cut_off_goes_on_from_its_notes_to_the_same_model(kind, tmp_path):
    path = tmp_path / "notes.jsonl"
    whole = fit(kind, notebook=Notebook(path))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2 // 2 * 2]))
    resumed = fit(kind, notebook=Notebook(path))
    assert path.read_text().splitlines(keepends=True)[: len(lines) // 2 // 2 * 2] == lines[: len(lines) // 2 // 2 * 2]
    path.write_text("".join(lines))
    again = fit(kind, notebook=Notebook(path), records=np.zeros((0, 4), dtype=np.int64))  # no row is read
    rows = [model.sample(500, rng=np.random.default_rng(2)) for model in (whole, again)]
    np.testing.assert_array_equal(*rows)
    assert resumed.total > 0


def test_a_mechanism_that_was_cut_off_is_not_run_again(tmp_path):
    path = tmp_path / "notes.jsonl"
    fit(Mst, notebook=Notebook(path))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    with pytest.raises(InputError, match="cut off"):
        fit(Mst, notebook=Notebook(path))
    path.write_text("".join(lines[:3]) + lines[3][:20])  # the outcome was being written
    with pytest.raises(InputError, match="cut off"):
        fit(Mst, notebook=Notebook(path))
    path.write_text("".join(lines[:4]) + lines[4][:20])  # what comes next was being announced: it never ran
    fit(Mst, notebook=Notebook(path))
    with pytest.raises(InputError, match="another fit"):
        fit(Mst, epsilon=2.0, notebook=Notebook(path))


def test_forbidden_cells_are_never_drawn():
    wall = np.zeros((4, 5), dtype=bool)
    wall[0, :3], wall[3, 4] = True, True
    records = correlated(20_000)
    kept = records[~wall[records[:, 0], records[:, 2]]]
    for kind, data in itertools.product(KINDS, [kept, records]):  # also where the rows break the rule
        rows = fit(kind, records=data, forbidden=(Forbidden(("a", "c"), wall),)).sample(
            50_000, rng=np.random.default_rng(3)
        )
        assert DOMAIN.count(rows, ("a", "c"))[wall].sum() == 0
        assert data is records or DOMAIN.count(rows, ("a", "c"))[~wall].min() > 0


def test_a_condition_is_exact():
    """Rows given a condition have the distribution of the unconditional rows that meet it."""
    fitted = fit()
    where = {"a": np.array([0.0, 1, 1, 0]), "c": np.array([1.0, 0, 0, 1, 0.5])}
    given = fitted.sample(100_000, rng=np.random.default_rng(4), where=where)
    assert set(given[:, 0]) == {1, 2}
    assert set(given[:, 2]) == {0, 3, 4}
    free = fitted.sample(400_000, rng=np.random.default_rng(5))
    weight = where["a"][free[:, 0]] * where["c"][free[:, 2]]
    for pair in itertools.combinations(range(4), 2):
        shape = tuple(DOMAIN.sizes[i] for i in pair)
        cells = np.ravel_multi_index(free[:, pair].T, shape)
        expected = np.bincount(cells, weights=weight, minlength=np.prod(shape)) / weight.sum()
        found = np.bincount(np.ravel_multi_index(given[:, pair].T, shape), minlength=np.prod(shape)) / len(given)
        assert np.abs(expected - found).sum() / 2 < 0.02
    assert fitted.probability(where) == pytest.approx(weight.mean(), rel=0.02)


def test_a_condition_that_cannot_be_met_is_refused():
    wall = np.zeros((4, 5), dtype=bool)
    wall[0, :] = True
    fitted = fit(forbidden=(Forbidden(("a", "c"), wall),))
    with pytest.raises(InputError, match="no rows"):
        fitted.sample(5, rng=np.random.default_rng(6), where={"a": np.array([1.0, 0, 0, 0])})
    with pytest.raises(InputError, match="no rows"):
        fitted.sample(5, rng=np.random.default_rng(6), where={"a": np.zeros(4)})


def test_what_may_be_measured_depends_on_the_domain_alone():
    assert len(candidates_of(DOMAIN)) == 6 + 4
    wide = Domain(tuple(f"c{i}" for i in range(60)), (2,) * 60)
    assert {len(c) for c in candidates_of(wide)} == {2}
    with pytest.raises(InputError, match="columns have") as refused:
        candidates_of(Domain(tuple(f"c{i}" for i in range(200)), (2,) * 200))
    assert refused.value.hint == "generator: mst"
    assert MOST_CANDIDATES < 200 * 199 / 2
    long = Domain(("x", "y"), (10_000, 10_000))
    assert candidates_of(long) == [("x", "y")]


def test_a_model_keeps_to_its_size(monkeypatch):
    monkeypatch.setattr("workbench.generators.aim.MODEL_CELLS", 40)
    fitted = fit(epsilon=10.0)
    tree = junction_tree(fitted.model.domain, fitted.model.cliques)
    assert sum(fitted.model.domain.cells(bag.columns) for bag in tree.bags) <= 40


def test_a_notebook_holds_no_row(tmp_path):
    records = np.zeros((1, 4), dtype=np.int64)
    path = tmp_path / "notes.jsonl"
    fit(records=records, epsilon=0.1, notebook=Notebook(path))
    notes = [json.loads(line) for line in path.read_text().splitlines()]
    assert {key for note in notes for key in note} == {"clique", "rho", "sigma", "values", "chosen"}
