"""The truth of epsilon: honest generators stay below their claim, and each deliberately broken twin is caught.

Two tables, fixed here, differ by one subject. The auditor sees all that a fit notes: its noisy values and its choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
import pytest
from auditor import Bound, View, audit

import workbench.generators.aim as aim_module
import workbench.generators.marginals.initial_measurements as start_module
import workbench.generators.marginals.measurement_log as rows_module
import workbench.generators.mst as mst_module
from workbench.generators.aim import Aim
from workbench.generators.independent import Independent
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.mst import Mst

DELTA = 1e-5
DOMAIN = Domain(("a", "b", "c"), (3, 3, 2))
# Which two columns depend on each other most changes with the subject, and nobody else has code 2 in column a.
_OTHERS = "000 001 011 020 020 100 100 110 110 110 111 111 111 111 111 111 111 111 120 121"
OTHERS = np.array([[int(code) for code in row] for row in _OTHERS.split()], dtype=np.int64)
SUBJECT = (2, 2, 1)


@dataclass(frozen=True, eq=False)
class Pair(Rows):
    """The rows of a fit, together with the two tables that they may come from."""

    tables: tuple[Rows, Rows] = field(kw_only=True)

    def grouped(self, groups, domain):
        whole, tables = super().grouped(groups, domain), tuple(table.grouped(groups, domain) for table in self.tables)
        return Pair(domain, whole.shards, self.per_subject, tables=tables)


class EnoughError(Exception):
    """All is noted; the rest of a fit is post-processing."""


class Watched(Notebook):
    """A notebook that shows: the likelihood ratio of the noisy counts, what was chosen, which cells there are."""

    def __init__(self, rho):
        super().__init__()
        self._rho, self.ratio, self.outcomes = rho, 0.0, []

    def measure(self, rows, clique, *, rho):
        m = super().measure(rows, clique, rho=rho)
        note = self._notes[-1]
        larger, smaller = (table.count(clique) for table in rows.tables)
        change = larger - smaller
        self.ratio += float((change * (np.array(note["values"]) - smaller - change / 2)).sum() / note["sigma"] ** 2)
        self._show(m.values.shape)
        return m

    def choose(self, scores, *, among, rho, sensitivity):
        chosen = super().choose(scores, among=among, rho=rho, sensitivity=sensitivity)
        self._show(chosen)
        return chosen

    def _show(self, outcome):
        self.outcomes.append(outcome)
        if self.spent > self._rho * (1 - 1e-6):
            raise EnoughError


def pair(larger: bool, *, k: int = 1, shards: int = 1, declared: int | None = None) -> Pair:
    """The table with the subject, who has k rows, or the one without."""
    others = [OTHERS[i::shards] for i in range(shards)]
    with_ = [np.concatenate([others[0], np.tile(SUBJECT, (k, 1))]), *others[1:]]
    tables = tuple(Rows(DOMAIN, tuple(shards), declared or k) for shards in (with_, others))
    own = tables[0 if larger else 1]
    return Pair(own.domain, own.shards, own.per_subject, tables=tables)


def view(generator, rows: Pair, *, share: float) -> View:
    """What one fit of these rows shows until that share of its budget is spent."""
    notebook = Watched(share * generator.rho)
    with pytest.raises(EnoughError):
        generator.fit(rows, notebook)
    return View(notebook.ratio, tuple(notebook.outcomes))


# --- broken twins: each is a way of fitting that a generator might have had ---------------------------------------------


@contextmanager
def half_the_noise() -> Iterator[None]:
    honest = rows_module.gaussian_sigma
    with patch.object(rows_module, "gaussian_sigma", lambda **price: honest(**price) / 2):
        yield


def association(tables: Callable, clique) -> int:
    """How far the columns are from independent, from the rows alone."""
    counts = tables(clique).astype(float)
    single = [counts.sum(axis=tuple(j for j in range(counts.ndim) if j != i)) for i in range(counts.ndim)]
    expected = single[0]
    for other in single[1:]:
        expected = np.multiply.outer(expected, other / counts.sum())
    return round(1024 * np.abs(counts - expected).sum())


@contextmanager
def choices_without_noise() -> Iterator[None]:
    def of_mst(rows, _, pairs):
        tables = lambda clique: rows.count(clique).sum(axis=0)  # noqa: E731
        return {clique: association(tables, clique) for clique in pairs}

    def of_aim(candidates, rows, *_, **__):
        tables = lambda clique: rows.count(clique).sum(axis=0)  # noqa: E731
        return np.array([association(tables, clique) * (len(clique) == 2) for clique in candidates])

    with ExitStack() as patches:
        patches.enter_context(patch.object(rows_module, "choose", lambda scores, **_: int(scores.argmax())))
        patches.enter_context(patch.object(mst_module, "pair_scores", of_mst))
        patches.enter_context(patch.object(aim_module, "_scores", of_aim))
        yield


@contextmanager
def rare_by_true_counts() -> Iterator[None]:
    honest = start_module.start

    def start(rows, notebook, **price):
        def groups(ones, _):
            return tuple(merged(rows.count(m.clique).sum(axis=0)) for m in ones)

        def merged(counts):
            rare = counts < 1
            group = np.cumsum(~rare) - 1
            group[rare] = max(group.max(), 0)
            return group

        with patch.object(start_module, "whole_groups", groups):
            return honest(rows, notebook, **price)

    with ExitStack() as patches:
        for module in (mst_module, aim_module):
            patches.enter_context(patch.object(module, "start", start))
        yield


@contextmanager
def nothing_broken() -> Iterator[None]:
    yield


def categories_that_occur(rows: Pair) -> Pair:
    """The rows in a domain of what occurs in them."""
    occurs = [
        np.isin(np.arange(size), column) for size, column in zip(DOMAIN.sizes, np.vstack(rows.shards).T, strict=True)
    ]
    groups = [np.maximum(np.cumsum(present) - 1, 0) for present in occurs]
    return rows.grouped(groups, Domain(DOMAIN.names, tuple(int(present.sum()) for present in occurs)))


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A way of fitting: what is patched meanwhile, which rows it takes, and how many rows it believes a subject to have."""

    patched: Callable = nothing_broken
    prepared: Callable[[Pair], Pair] = lambda rows: rows
    declared: int | None = None


HONEST = Twin()
BROKEN = {
    "half the noise": Twin(patched=half_the_noise),
    "categories that occur": Twin(prepared=categories_that_occur),
    "rare by true counts": Twin(patched=rare_by_true_counts),
    "choices without noise": Twin(patched=choices_without_noise),
    "subject counted as a row": Twin(declared=1),
}


def found(
    kind, twin: Twin, *, epsilon: float, k: int, runs: int, shards: int = 1, share: float = 1.0
) -> tuple[Bound, float]:
    """What the auditor finds, and the rho that the generator claims.

    An auditor who looks at the first `share` of a fit only sees less of it, sooner; the claim is of the whole fit.
    """
    generator = kind(epsilon=epsilon, delta=DELTA)

    def observe(larger: bool) -> View:
        return view(generator, twin.prepared(pair(larger, k=k, shards=shards, declared=twin.declared)), share=share)

    with twin.patched():
        return audit(observe, runs=runs), generator.rho


# --- the auditor itself -----------------------------------------------------------------------------------------------


def test_the_auditor_comes_close_to_a_gaussian_and_never_above_it():
    rng = np.random.default_rng(0)
    for mu in (0.5, 1.2, 3.0):

        def observe(larger: bool, mu=mu) -> View:
            return View(mu * (rng.normal() + mu * larger - mu / 2), ())

        bound = audit(observe, runs=20_000)
        assert 0.85 * mu - 0.05 < bound.mu < mu
        assert 0.4 * mu**2 / 2 < bound.rho < mu**2 / 2 + 0.001


def test_the_auditor_comes_close_to_randomised_response_and_never_above_it():
    """Rényi divergence of randomised response at any order is at most that of its epsilon: rho <= epsilon^2 / 2."""
    rng = np.random.default_rng(1)
    for epsilon in (0.5, 2.0):

        def observe(larger: bool, epsilon=epsilon) -> View:
            return View(0.0, ((rng.random() < 1 / (1 + np.exp(-epsilon))) == larger,))

        bound = audit(observe, runs=20_000)
        assert 0.75 * epsilon < bound.epsilon(DELTA) < epsilon
        assert bound.rho < epsilon**2 / 2


def test_the_auditor_finds_nothing_where_there_is_nothing():
    rng = np.random.default_rng(2)
    bound = audit(lambda _: View(rng.normal(), (int(rng.integers(5)),)), runs=5_000)
    assert bound.rho == bound.mu == bound.epsilon(DELTA) == 0


# --- the marginal generators ------------------------------------------------------------------------------------------

# Another generator joins with its own way to be viewed: what it shows on either table, its claim and its twins.
QUICK = [
    (Independent, 3, 200),
    (Mst, 3, 60),
    (Aim, 1, 8),
]  # few say little; what every step costs is replayed in test_transcripts.py
LONG = [(Independent, 12_000, 0.8), (Mst, 6_000, 0.65), (Aim, 3_000, 0.5)]  # how near, of the mu that is claimed


@pytest.mark.parametrize(("kind", "k", "runs"), QUICK)
def test_an_honest_generator_stays_below_its_claim(kind, k, runs):
    bound, claimed = found(kind, HONEST, epsilon=6.0, k=k, runs=runs)
    assert bound.rho <= claimed


def test_sharding_costs_nothing():
    bound, claimed = found(Independent, HONEST, epsilon=6.0, k=1, runs=100, shards=2)
    assert bound.rho <= claimed


# The last: the share of the fit that is looked at. A fit shows early which cells there are and what it chose first.
CAUGHT = [
    (Independent, "categories that occur", 1, 120, 1.0),
    (Independent, "subject counted as a row", 3, 400, 1.0),
    (Mst, "categories that occur", 1, 120, 0.1),
    (Mst, "choices without noise", 1, 200, 1.0),
    (Aim, "categories that occur", 1, 120, 0.1),
]


@pytest.mark.parametrize(("kind", "twin", "k", "runs", "share"), CAUGHT)
def test_a_broken_twin_is_caught(kind, twin, k, runs, share):
    bound, claimed = found(kind, BROKEN[twin], epsilon=6.0, k=k, runs=runs, share=share)
    assert bound.rho > claimed


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("kind", "runs", "near"), LONG)
def test_an_honest_generator_comes_close_to_its_claim_in_many_runs(kind, runs, near, k):
    bound, claimed = found(kind, HONEST, epsilon=6.0, k=k, runs=runs)
    assert near * (2 * claimed) ** 0.5 < bound.mu
    assert bound.rho <= claimed


SLOWLY = [
    (Independent, "half the noise", 1, 1200),
    (Mst, "rare by true counts", 1, 400),
    (Mst, "subject counted as a row", 3, 350),
    (Mst, "half the noise", 1, 3000),
    (Aim, "half the noise", 1, 2500),
    (Aim, "categories that occur", 1, 300),
    (Aim, "rare by true counts", 1, 600),
    (Aim, "choices without noise", 1, 600),
    (Aim, "subject counted as a row", 3, 1000),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "twin", "k", "runs"), SLOWLY)
def test_a_broken_twin_is_caught_in_many_runs(kind, twin, k, runs):
    bound, claimed = found(kind, BROKEN[twin], epsilon=6.0, k=k, runs=runs)
    assert bound.rho > claimed
