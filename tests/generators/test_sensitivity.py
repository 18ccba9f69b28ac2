"""What one subject can change, by brute force over neighbouring tables, and what the notebook of a fit costs and keeps."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench.generators.marginals.measurement_log as rows_module
from workbench.errors import InputError
from workbench.generators.aim import Aim, _scores
from workbench.generators.independent import Independent
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.model import GraphicalModel
from workbench.generators.mst import Mst, pair_scores

DOMAIN = Domain(("a", "b", "c"), (3, 2, 4))
CLIQUES = [("a",), ("b",), ("c",), ("a", "b"), ("c", "a"), ("b", "c"), ("a", "b", "c")]
SEVERAL = [clique for clique in CLIQUES if len(clique) > 1]
PAIRS = [clique for clique in CLIQUES if len(clique) == 2]
GENERATORS = [Independent, Mst, Aim]
UNITS = 1024


def table(n, rng, domain=DOMAIN):
    return rng.integers(0, domain.sizes, size=(n, len(domain.names)), dtype=np.int64)


@st.composite
def neighbours(draw):
    """Two tables, in one to three shards, that differ by one subject with up to k rows; and the subject's shard."""
    k, n_shards = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    without = tuple(table(draw(st.integers(0, 12)), rng) for _ in range(n_shards))
    row = st.tuples(*(st.integers(0, size - 1) for size in DOMAIN.sizes))
    subject = np.array(draw(st.lists(row, min_size=1, max_size=k)), dtype=np.int64)
    home = draw(st.integers(0, n_shards - 1))
    with_ = tuple(np.concatenate([s, subject]) if i == home else s for i, s in enumerate(without))
    return Rows(DOMAIN, without, k), Rows(DOMAIN, with_, k), home


def public_model(seed, domain=DOMAIN):
    """Any model: scores must be safe whatever noise led to it."""
    rng = np.random.default_rng(seed)
    potentials = tuple(rng.normal(scale=2, size=domain.shape(clique)) for clique in CLIQUES)
    return GraphicalModel(domain, tuple(CLIQUES), potentials, float(rng.uniform(1, 60)))


# --- sensitivity ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(neighbours())
def test_a_subject_moves_the_counts_of_its_shard_alone_and_by_its_rows_at_most(pair):
    without, with_, home = pair
    for clique in CLIQUES:
        change = (with_.count(clique) - without.count(clique)).reshape(len(without.shards), -1)
        assert not np.delete(change, home, axis=0).any()
        assert change.sum() == np.abs(change).sum() <= with_.per_subject
        assert (change**2).sum() <= with_.per_subject**2


@settings(max_examples=40)
@given(neighbours(), st.data())
def test_merging_cells_moves_no_count_by_more(pair, data):
    groups, sizes = [], []
    for size in DOMAIN.sizes:
        smaller = data.draw(st.integers(1, size))
        groups.append(np.array([i if i < smaller else data.draw(st.integers(0, smaller - 1)) for i in range(size)]))
        sizes.append(smaller)
    without, with_, home = pair
    small = Domain(DOMAIN.names, tuple(sizes))
    for clique in CLIQUES:
        change = with_.grouped(groups, small).count(clique) - without.grouped(groups, small).count(clique)
        change = change.reshape(len(without.shards), -1)
        assert not np.delete(change, home, axis=0).any()
        assert np.abs(change).sum() <= with_.per_subject


@settings(max_examples=60)
@given(neighbours(), st.integers(0, 2**32 - 1))
def test_a_subject_moves_a_score_of_mst_by_its_rows_at_most(pair, seed):
    without, with_, _ = pair
    before, after = (pair_scores(rows, public_model(seed), PAIRS) for rows in (without, with_))
    assert max(abs(after[clique] - before[clique]) for clique in before) <= UNITS * with_.per_subject


@settings(max_examples=60)
@given(neighbours(), st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_a_subject_moves_a_score_of_aim_by_its_rows_times_the_columns_at_most(pair, seed, noise):
    without, with_, _ = pair
    model = public_model(seed)
    before, after = (
        _scores(SEVERAL, rows, {}, model, model.total, noise=noise, seed=seed % 7) for rows in (without, with_)
    )
    bounds = [UNITS * with_.per_subject * len(clique) for clique in SEVERAL]
    assert (np.abs(after - before) <= bounds).all()


def test_the_bounds_are_reached():
    """k equal rows in a cell where nothing is expected: noise for less than k would not protect this subject."""
    k = 4
    nobody = Rows(DOMAIN, (table(0, np.random.default_rng(0)),), k)
    somebody = Rows(DOMAIN, (np.zeros((k, 3), dtype=np.int64),), k)
    elsewhere = tuple(np.where(np.arange(size) == size - 1, 0.0, -1e3) for size in DOMAIN.sizes)
    model = GraphicalModel(DOMAIN, (("a",), ("b",), ("c",)), elsewhere, 10.0)
    before, after = (pair_scores(rows, model, PAIRS) for rows in (nobody, somebody))
    assert {after[clique] - before[clique] for clique in before} == {UNITS * k}
    drawn = [_scores(SEVERAL, rows, {}, model, 10.0, noise=1.0, seed=0) for rows in (nobody, somebody)]
    assert (drawn[1] - drawn[0]).tolist() == [UNITS * k * len(clique) for clique in SEVERAL]


# --- the notebook: what it costs --------------------------------------------------------------------------------------


@pytest.fixture
def mechanisms(monkeypatch):
    """The two mechanisms, each call on record: its true zCDP price for subjects of `k` rows, by the noise it really adds.

    The noise is repeatable: the n-th call after `calls.clear()` has that of `calls.first` + n.
    """

    class Calls(list):
        k, first, columns, shards = 1, 0, 3, 1

        def rng(self):
            return np.random.default_rng(self.first + len(self))

    calls = Calls()

    def gaussian_counts(counts, *, sigma):
        noisy = counts + np.rint(calls.rng().normal(scale=sigma, size=counts.shape)).astype(np.int64)
        calls.append(calls.k**2 / (2 * sigma**2) / calls.shards)  # a subject is in one of the shards, all alike
        return noisy

    def choose(scores, *, epsilon, sensitivity):
        chosen = int(np.argmax(scores + calls.rng().gumbel(scale=2 * sensitivity / epsilon, size=scores.shape)))
        calls.append((epsilon * UNITS * calls.k * calls.columns / sensitivity) ** 2 / 8)
        return chosen

    monkeypatch.setattr(rows_module, "gaussian_counts", gaussian_counts)
    monkeypatch.setattr(rows_module, "choose", choose)
    return calls


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("n_columns", [1, pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_fit_costs_its_event_and_no_more(kind, n_columns, k, n_shards, mechanisms):
    mechanisms.k, mechanisms.columns, mechanisms.shards = k, 3 if kind is Aim else 1, n_shards
    domain = Domain(DOMAIN.names[:n_columns], DOMAIN.sizes[:n_columns])
    rng = np.random.default_rng(n_columns)
    generator, notebook = kind(epsilon=2.0, delta=1e-5), Notebook()
    generator.fit(Rows(domain, tuple(table(50, rng, domain) for _ in range(n_shards)), k), notebook)
    assert sum(mechanisms) <= generator.rho
    assert sum(mechanisms) == pytest.approx(generator.rho, rel=1e-8)
    assert notebook.spent == pytest.approx(sum(mechanisms), rel=1e-8)


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("seed", range(2))
def test_a_fit_costs_the_same_whatever_the_rows(kind, seed, mechanisms):
    """Empty tables, one row, all rows equal: AIM's number of rounds adapts, its cost doesn't."""
    mechanisms.first, mechanisms.columns = 100 * seed, 3 if kind is Aim else 1
    generator = kind(epsilon=0.5 + seed, delta=1e-6)
    for rows in (
        table(0, np.random.default_rng(0)),
        np.ones((1, 3), dtype=np.int64),
        np.zeros((400, 3), dtype=np.int64),
    ):
        mechanisms.clear()
        generator.fit(Rows(DOMAIN, (rows,), 1), Notebook())
        assert sum(mechanisms) <= generator.rho
        assert sum(mechanisms) == pytest.approx(generator.rho, rel=1e-8)


# --- the notebook: a fit that was cut off -----------------------------------------------------------------------------


class KilledError(BaseException):
    """The end of the process, as far as a fit can tell."""


def killed_after(writes, monkeypatch):
    """Notebooks die after so many writes: announcements and outcomes by turns."""
    write, left = Notebook._write, iter(range(writes))

    def mortal(self, note):
        if next(left, None) is None:
            raise KilledError
        write(self, note)

    monkeypatch.setattr(Notebook, "_write", mortal)


def same(one, other):
    assert one.total == other.total
    assert one.model.cliques == other.model.cliques
    for mine, yours in zip(one.model.potentials, other.model.potentials, strict=True):
        np.testing.assert_array_equal(mine, yours)
    for mine, yours in zip((*one.groups, *one.shares), (*other.groups, *other.shares), strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize(
    ("kind", "n_shards"),
    [  # each round of AIM is cut off at two writes, whatever the shards; these are in the other two
        *((kind, n) for kind in (Independent, Mst) for n in (1, 2)),
        (Aim, 2),
        pytest.param(Aim, 1, marks=pytest.mark.slow),
    ],
)
def test_a_fit_killed_at_any_write_goes_on_where_it_was_or_is_refused(
    kind, n_shards, tmp_path, mechanisms, monkeypatch
):
    generator = kind(epsilon=3.0, delta=1e-5)
    rng = np.random.default_rng(0)
    rows = Rows(DOMAIN, tuple(table(40, rng) for _ in range(n_shards)), 2)
    whole = generator.fit(rows, Notebook(tmp_path / "whole"))
    prices, lines = list(mechanisms), (tmp_path / "whole").read_text().splitlines()
    outcomes = [json.loads(line) for line in lines[1::2]]
    for writes in range(len(lines)):
        path, mechanisms.first = tmp_path / f"cut-{writes}", 0
        mechanisms.clear()
        with monkeypatch.context() as patch:
            killed_after(writes, patch)
            with pytest.raises(KilledError):
                generator.fit(rows, Notebook(path))
        noted = sum(len(outcome.get("values", [0])) for outcome in outcomes[: writes // 2])  # calls, one for each shard
        mechanisms.first = noted  # the noise of the mechanisms that are left is that of the fit that was not cut off
        mechanisms.clear()
        if writes % 2:
            with pytest.raises(InputError, match="cut off"):
                generator.fit(rows, Notebook(path))
            assert not mechanisms
        else:
            same(generator.fit(rows, Notebook(path)), whole)
            assert mechanisms == prices[noted:]
            assert Notebook(path).spent == pytest.approx(generator.rho, rel=1e-8)


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_complete_notebook_needs_no_rows(kind, tmp_path, mechanisms):
    generator = kind(epsilon=3.0, delta=1e-5)
    whole = generator.fit(Rows(DOMAIN, (table(40, np.random.default_rng(0)),), 2), Notebook(tmp_path / "n"))
    mechanisms.clear()
    content = (tmp_path / "n").read_bytes()
    nobody = Rows(DOMAIN, (table(0, np.random.default_rng(0)),), 2)
    same(generator.fit(nobody, Notebook(tmp_path / "n")), whole)
    assert not mechanisms
    assert (tmp_path / "n").read_bytes() == content


@pytest.mark.parametrize("kind", [Mst, Aim])
def test_rows_are_not_even_counted_for_what_is_noted(kind, tmp_path, monkeypatch):
    generator = kind(epsilon=3.0, delta=1e-5)
    rows = Rows(DOMAIN, (table(40, np.random.default_rng(0)),), 2)
    generator.fit(rows, Notebook(tmp_path / "n"))
    monkeypatch.setattr(Rows, "count", lambda *_: pytest.fail("counted"))
    generator.fit(rows, Notebook(tmp_path / "n"))


@pytest.mark.parametrize("missing", [1, 5, 30])
@pytest.mark.parametrize("of", ["announcement", "outcome"])
def test_a_line_that_was_cut_off_counts_as_not_written(of, missing, tmp_path, mechanisms):
    """A torn announcement never ran and is made again; a torn outcome is lost with what it cost."""
    generator = Mst(epsilon=3.0, delta=1e-5)
    rows = Rows(DOMAIN, (table(40, np.random.default_rng(0)),), 2)
    whole = generator.fit(rows, Notebook(tmp_path / "n"))
    lines = (tmp_path / "n").read_text().splitlines(keepends=True)
    (tmp_path / "n").write_text("".join(lines[: 3 if of == "announcement" else 4])[:-missing])
    mechanisms.first = 1
    mechanisms.clear()
    if of == "announcement":
        same(generator.fit(rows, Notebook(tmp_path / "n")), whole)
    else:
        with pytest.raises(InputError, match="cut off"):
            generator.fit(rows, Notebook(tmp_path / "n"))
        assert not mechanisms


OTHERS = {
    "another epsilon": (Mst(epsilon=2.0, delta=1e-5), DOMAIN, 2),
    "another generator": (Independent(epsilon=3.0, delta=1e-5), DOMAIN, 2),
    "other columns": (Mst(epsilon=3.0, delta=1e-5), Domain(("a", "b", "d"), (3, 2, 4)), 2),
    "other subjects": (Mst(epsilon=3.0, delta=1e-5), DOMAIN, 3),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_the_notebook_of_another_fit_is_refused_before_anything_is_read(other, tmp_path, mechanisms):
    codes = (table(40, np.random.default_rng(0)),)
    Mst(epsilon=3.0, delta=1e-5).fit(Rows(DOMAIN, codes, 2), Notebook(tmp_path / "n"))
    mechanisms.clear()
    generator, domain, k = other
    with pytest.raises(InputError, match="another fit"):
        generator.fit(Rows(domain, codes, k), Notebook(tmp_path / "n"))
    assert not mechanisms


def edit(place, **changes):
    """Changes fields of one line of a notebook."""

    def damage(lines):
        return [json.dumps(json.loads(line) | changes) if i == place else line for i, line in enumerate(lines)]

    return damage


FAULTS = {
    "not JSON": lambda lines: [lines[0], "{", *lines[2:]],
    "not an object": lambda lines: [lines[0], "5", *lines[2:]],
    "noise": edit(1, sigma=1.0),
    "price": edit(1, rho=1e-9),
    "clique": edit(1, clique=["c"]),
    "infinite values": edit(1, values=[[math.inf, 2, 3]]),
    "negative choice": edit(7, chosen=-1),
    "null": lambda lines: [*lines[:-1], "null"],
    "values of another shape": edit(1, values=[[1, 2]]),
    "no values": edit(1, values=[]),
    "text for values": edit(1, values=[["x", 2, 3]]),
    "choice out of range": edit(7, chosen=17),
    "text for a choice": edit(7, chosen="x"),
}


# Nothing is read for these either, but the error is Python's own.
@pytest.mark.parametrize("damage", FAULTS.values(), ids=FAULTS.keys())
def test_a_damaged_notebook_is_refused(damage, tmp_path, mechanisms):
    generator = Mst(epsilon=3.0, delta=1e-5)
    rows = Rows(DOMAIN, (table(40, np.random.default_rng(0)),), 2)
    generator.fit(rows, Notebook(tmp_path / "n"))
    lines = (tmp_path / "n").read_text().splitlines()
    assert "chosen" in json.loads(lines[7])
    (tmp_path / "n").write_text("\n".join(damage(lines)) + "\n")
    mechanisms.clear()
    with pytest.raises(InputError):
        generator.fit(rows, Notebook(tmp_path / "n"))
    assert not mechanisms
