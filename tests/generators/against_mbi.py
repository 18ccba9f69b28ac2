"""The inference engine against mbi, by the authors of private-PGM: `make oracle` installs it and runs this file by its name."""

import jax
import mbi
import numpy as np
import pytest

from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import Measurement, estimate, estimate_total
from workbench.generators.marginals.model import GraphicalModel

DOMAIN = Domain(("a", "b", "c", "d", "e", "f"), (2, 5, 3, 4, 1, 6))
CLIQUES = {
    "singles": [(name,) for name in DOMAIN.names],
    "chain": [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f")],
    "star": [("d", "a"), ("d", "b"), ("d", "f")],
    "cycle": [("a", "b"), ("b", "c"), ("c", "f"), ("f", "a")],
    "overlapping triples": [("a", "b", "c"), ("b", "c", "d"), ("f", "d", "a")],
    "one inside another": [("b",), ("b", "c"), ("a", "b", "c"), ("d", "f")],
}
every_shape = pytest.mark.parametrize("cliques", CLIQUES.values(), ids=CLIQUES.keys())
TOTAL = 1000.0


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def theirs(cliques, tables):
    domain = mbi.Domain(DOMAIN.names, DOMAIN.sizes)
    factors = {
        clique: mbi.Factor(domain.project(clique), jax.numpy.asarray(table))
        for clique, table in zip(cliques, tables, strict=True)
    }
    return mbi.CliqueVector(domain, tuple(cliques), factors)


def table_of(factor, clique):
    return np.asarray(factor.transpose(clique).datavector(flatten=False))


@every_shape
@pytest.mark.parametrize("seed", range(3))
def test_marginals_are_those_of_mbi(cliques, seed):
    rng = np.random.default_rng(seed)
    potentials = tuple(rng.normal(scale=3.0, size=DOMAIN.shape(clique)) for clique in cliques)
    ours, known = GraphicalModel(DOMAIN, tuple(cliques), potentials, TOTAL), theirs(cliques, potentials)
    asked = [*cliques, ("a", "f"), ("c", "b"), ("f", "b", "d"), ("e",)]
    for clique in asked:
        found = mbi.marginal_oracles.variable_elimination(known, clique, TOTAL)
        np.testing.assert_allclose(ours.marginal(clique), table_of(found, clique), rtol=1e-6, atol=1e-6)


def misfit(model_marginal, measurements):
    return sum(float(((model_marginal(m.clique) - m.values) ** 2).sum()) / m.sigma**2 for m in measurements) / 2


@every_shape
@pytest.mark.parametrize("sigma", [2.0, 30.0])
def test_without_a_prior_an_estimate_is_as_good_as_that_of_mbi(cliques, sigma):
    """Both minimise the same misfit over the same distributions, theirs by thousands of steps of mirror descent."""
    rng = np.random.default_rng(7)
    rows = np.stack([rng.integers(0, size, 1000) for size in DOMAIN.sizes], axis=1)
    rows[:, 1] = np.where(rng.random(1000) < 0.7, rows[:, 0], rows[:, 1])
    noisy = [
        Measurement(clique, DOMAIN.count(rows, clique) + rng.normal(0, sigma, DOMAIN.shape(clique)), sigma)
        for clique in cliques
    ]
    total = estimate_total(noisy)
    ours = estimate(DOMAIN, noisy, total=total, shrinkage=0.0, iterations=500)
    model = mbi.estimation.MirrorDescent().estimate(
        mbi.Domain(DOMAIN.names, DOMAIN.sizes),
        [mbi.LinearMeasurement(m.values.ravel(), m.clique, m.sigma) for m in noisy],
        known_total=total,
        iters=5000,
    )
    reached = misfit(lambda clique: table_of(model.project(clique), clique), noisy)
    assert misfit(ours.marginal, noisy) == pytest.approx(reached, rel=1e-5)
