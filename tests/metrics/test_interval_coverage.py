"""Intervals hold what they are said to hold, in 95 of 100 simulated evaluations; seeds are fixed."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from workbench.metrics.fidelity.marginals import tvd
from workbench.metrics.jackknife import groups_of, jackknife
from workbench.metrics.sample import Sample
from workbench.metrics.utility.predictions import classification

TRIALS = 300
# What 95 % of them come to in all but one of 500 sets of simulations.
LEAST, MOST = binom.ppf([0.001, 0.999], TRIALS, 0.95)


def table(rng, shares, n, *, rows_each=1):
    """Cells of n rows, where the rows of a subject are alike."""
    cells = np.repeat(rng.choice(len(shares), n // rows_each, p=shares), rows_each)[:, None]
    subjects = np.repeat(np.arange(n // rows_each, dtype=np.uint64), rows_each)
    return Sample(values=cells.astype(float), bins=cells, groups=groups_of(subjects, rng=rng))


def distance(rng, p, q, n, m, rows_each):
    both = table(rng, p, n, rows_each=rows_each), table(rng, q, m)
    return jackknife(tvd(*both, columns=[0], sizes=[len(p)]), n=m, within=(0.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("rows_each", [1, 3])
@pytest.mark.parametrize(
    ("cells", "n", "m", "bias"), [(6, 3000, 3000, 0.0), (60, 1500, 3000, 0.01), (600, 1500, 1500, 0.1)]
)
def test_the_interval_of_a_distance_holds_its_mean_over_samples(cells, n, m, bias, rows_each):
    """Also where cells are many, and the mean is far above the distance of the populations: by this bias or more.

    Of few rows per cell it is wider than it need be.
    """
    rng = np.random.default_rng(cells)
    p, q = rng.dirichlet(np.full(cells, 2.0), 2)
    found = [distance(rng, p, q, n, m, rows_each) for _ in range(TRIALS)]
    mean = np.mean([distance(rng, p, q, n, m, rows_each).value for _ in range(TRIALS)])
    held = sum(estimate.low <= mean <= estimate.high for estimate in found)
    assert held >= LEAST, (held, mean)
    assert held <= MOST or m / cells < 5, (held, mean)
    assert mean - np.abs(p - q).sum() / 2 > bias - 0.001


@pytest.mark.slow
def test_where_cells_are_few_it_holds_the_distance_of_the_populations():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(4, 5.0), 2)
    truth = np.abs(p - q).sum() / 2
    found = [distance(rng, p, q, 4000, 4000, 1) for _ in range(TRIALS)]
    assert LEAST <= sum(estimate.low <= truth <= estimate.high for estimate in found) <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("rows_each", [1, 4])
@pytest.mark.parametrize("advantage", [0.3, 1.5])
def test_the_interval_of_an_auc_holds_that_of_the_population(advantage, rows_each):
    """Scores of two unit normals `advantage` apart have the AUC Φ(advantage / √2); a person's rows are alike."""
    rng, truth = np.random.default_rng(1), norm.cdf(advantage / np.sqrt(2))
    held = 0
    for _ in range(TRIALS):
        labels = np.repeat(rng.integers(0, 2, 400), rows_each)
        scores = norm.cdf(np.repeat(rng.normal(size=400), rows_each) + advantage * labels)
        subjects = np.repeat(np.arange(400, dtype=np.uint64), rows_each)
        auc = classification(labels.astype(float), np.column_stack([1 - scores, scores]), subjects)["auc"]
        held += auc.low <= truth <= auc.high
    assert LEAST <= held <= MOST, held
