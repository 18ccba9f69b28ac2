"""What a private table is good for rises with its epsilon, on real records."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.config import CONFIGS
from workbench.data.bundled import bundled_path
from workbench.generators.aim import Aim
from workbench.generators.independent import Independent
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.mst import Mst
from workbench.metrics.fidelity import mean_tvd
from workbench.schema import Codec, read_schema

ROWS = 5_000


@pytest.fixture(scope="module")
def students():
    """Domain and codes of registrations at the Open University."""
    codec = Codec(read_schema(Path(CONFIGS / "datasets" / "oulad.yaml")))
    frame = pd.read_parquet(bundled_path("oulad.parquet")).head(ROWS)
    return Domain(codec.free_names, codec.free_sizes), codec.bin_free(codec.encode(frame).values)


def distance(kind, epsilon, students):
    """Mean distance of the pairs of columns of a table drawn from a fit."""
    domain, codes = students
    fitted = kind(epsilon=epsilon, delta=1e-5).fit(Rows(domain, (codes,), 1), Notebook())
    return mean_tvd(codes, fitted.sample(ROWS, rng=np.random.default_rng(0)), domain.sizes, way=2)


def test_mst_comes_nearer_with_epsilon_and_beats_independent_columns(students):
    far, middle, near = (distance(Mst, epsilon, students) for epsilon in (0.1, 1.0, 30.0))
    assert near < 0.9 * middle < 0.9 * 0.6 * far
    assert near < 0.9 * distance(Independent, 30.0, students)


@pytest.mark.slow
def test_aim_comes_nearer_with_epsilon_and_beats_mst(students):
    far, middle, near = (distance(Aim, epsilon, students) for epsilon in (0.1, 1.0, 10.0))
    assert near < 0.8 * middle < 0.8 * 0.8 * far
    assert near < 0.8 * distance(Mst, 10.0, students)
