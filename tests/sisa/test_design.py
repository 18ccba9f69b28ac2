"""Vectors of rows are a function of the row and the public columns alone, and bear every odd value."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from workbench.schema.column import Column
from workbench.sisa.learners.design import Design

COLUMNS = (
    Column(kind="integer", bounds=(0, 10), bins=(1, 10), missing=True),
    Column(kind="categorical", categories=("a", "b"), missing=True),
    Column(kind="boolean"),
    Column(kind="ordinal", categories=("low", "middle", "high")),
    Column(kind="continuous", bounds=(-4, 4)),
    Column(kind="continuous", bounds=(2, 2), bins=1),
    Column(kind="datetime", bounds=(dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1))),
)
DESIGN = Design(COLUMNS)

features = npst.arrays(
    np.float64,
    st.tuples(st.integers(0, 20), st.just(len(COLUMNS))),
    elements=st.floats(allow_nan=True, allow_infinity=True) | st.integers(-1, 12).map(float),
)


def vector(position, value):
    """What one column makes of a value."""
    return Design(COLUMNS[position : position + 1]).matrix(np.array([[value]]))[0].tolist()


@pytest.mark.parametrize(
    ("position", "value", "expected"),
    [
        (0, 0, [-1, 0]),
        (0, 1, [0, 0]),
        (0, 5.5, [0.5, 0]),
        (0, 10, [1, 0]),
        (0, np.nan, [0, 1]),
        (1, 0, [1, 0, 0]),
        (1, 1, [0, 1, 0]),
        (1, np.nan, [0, 0, 1]),
        (2, 1, [0, 1]),
        (2, np.nan, [0, 0]),
        (3, 2, [0, 0, 1]),
        (3, 3, [0, 0, 0]),
        (4, 0, [0]),
        (4, np.inf, [1]),
        (4, np.nan, [0]),
        (5, 2, [0]),
    ],
)
def test_a_value_becomes_what_the_domain_says(position, value, expected):
    assert vector(position, value) == expected


@given(features)
def test_all_vectors_are_finite_between_the_bounds_and_of_their_own_row(rows):
    matrix = DESIGN.matrix(rows)
    assert matrix.shape == (len(rows), DESIGN.width)
    assert matrix.dtype == np.float32
    assert (np.abs(matrix) <= 1).all()
    for position, row in enumerate(rows):
        np.testing.assert_array_equal(DESIGN.matrix(row[None])[0], matrix[position])
