"""The marginal distance against its definition, computed cell by cell."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.metrics.fidelity import mean_tvd

SIZES = (2, 3, 4)
tables = st.lists(st.tuples(*(st.integers(0, size - 1) for size in SIZES)), min_size=1, max_size=12)


def brute_force(real, synthetic, way):
    distances = []
    for columns in itertools.combinations(range(len(SIZES)), way):
        cells = itertools.product(*(range(SIZES[c]) for c in columns))
        shares = [
            [sum(tuple(row[c] for c in columns) == cell for row in rows) / len(rows) for rows in (real, synthetic)]
            for cell in cells
        ]
        distances.append(sum(abs(p - q) for p, q in shares) / 2)
    return sum(distances) / len(distances)


@given(tables, tables, st.sampled_from([1, 2, 3]))
def test_it_is_half_the_mean_absolute_difference(real, synthetic, way):
    value = mean_tvd(np.array(real), np.array(synthetic), SIZES, way=way)
    assert value == pytest.approx(brute_force(real, synthetic, way), abs=1e-12)
    assert value == pytest.approx(mean_tvd(np.array(synthetic), np.array(real), SIZES, way=way))


@given(tables, st.sampled_from([1, 2, 3]))
def test_a_table_is_at_no_distance_from_itself_its_shuffle_and_its_double(rows, way):
    table = np.array(rows)
    for same in (table, table[::-1], np.vstack([table, table])):
        assert mean_tvd(table, same, SIZES, way=way) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("way", [1, 2, 3])
def test_disjoint_tables_are_at_distance_one(way):
    assert mean_tvd(np.zeros((5, 3), dtype=int), np.ones((7, 3), dtype=int), SIZES, way=way) == pytest.approx(1)
